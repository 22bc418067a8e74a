"""What a worker of vLLM counts at every step: tokens by regime, entropies, injections, requests by policy."""

from __future__ import annotations

import logging
from collections import Counter
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

import numpy as np

from entropix.plugins.vllm.metrics import Files, find_directory
from entropix.signals import ENTROPY_BOUNDS
from entropix.types import Array, Regime

REGIMES = len(Regime)
# the last bucket takes what is no number
BUCKETS = len(ENTROPY_BOUNDS) + 2
EDGES = np.array([*ENTROPY_BOUNDS, np.finfo(np.float64).max])
TABLE = (REGIMES + 1) * BUCKETS
SIZE = TABLE + REGIMES + 1 + 1
INTERVAL = 1.0

log = logging.getLogger("vllm.entropix")


class Counts(NamedTuple):
    """A moment's totals. `entropies` is `(len(ENTROPY_BOUNDS) + 1,)`: how many up to each bound
    and above the one before, then those above all; `total` is their sum in nats; `regimes` is `(len(Regime),)`."""

    regimes: np.ndarray[Any, Any]
    entropies: np.ndarray[Any, Any]
    total: float
    injections: int


class Tally:
    """Totals of NumPy arrays.

    `host` is `(SIZE,)` in float64, exact up to 2⁵³: a table of regimes by buckets of entropy, the sum of entropies by
    regime, injections. The table has a row more than there are regimes, for rows that are not to be counted."""

    def __init__(self) -> None:
        self.host = np.zeros(SIZE)

    def add(self, regimes: Array, entropies: Array, injected: Array | None) -> None:
        row = regimes.astype(np.int64, copy=False).clip(-1, REGIMES) % (REGIMES + 1)
        finite = np.isfinite(entropies)
        column = np.searchsorted(EDGES, np.where(finite, entropies, np.inf))
        self.host[:TABLE] += np.bincount(row * BUCKETS + column, minlength=TABLE)
        self.host[TABLE:-1] += np.bincount(row, np.where(finite, entropies, 0.0), REGIMES + 1)
        if injected is not None:
            self.host[-1] += np.count_nonzero(injected & (row < REGIMES))


class TensorTally:
    """Totals of torch tensors, kept on their device; nothing here waits for it.

    Every step ends with an asynchronous copy of the totals (some 700 bytes) to pinned memory, `host`. Copying less
    often would hide the last steps before a pause until the next request; fetching those from another thread would
    mean CUDA calls that break a graph being captured by the first. `host` is read without asking the device: its
    words are whole, so a reader sees each total as it was after some step, and all of the last one once it is done."""

    def __init__(self, device: Any) -> None:
        import torch

        # what is made in inference mode can only be added to in that mode
        with torch.inference_mode(False):
            self.device = torch.zeros(SIZE, dtype=torch.float64, device=device)
            self.edges = torch.tensor(EDGES, device=device)
            self.one = torch.ones((), dtype=torch.float64, device=device)
            # pageable memory would make the copy wait for the device
            self.pinned = (
                torch.zeros_like(self.device, device="cpu", pin_memory=True) if device.type != "cpu" else self.device
            )
        self.host: np.ndarray[Any, Any] = self.pinned.numpy()

    def add(self, regimes: Array, entropies: Array, injected: Array | None) -> None:
        from torch import bucketize, float64, inf, int64

        values = entropies.to(float64)
        row = regimes.to(int64).clamp(-1, REGIMES).remainder(REGIMES + 1)
        column = bucketize(values.nan_to_num(inf, inf, inf), self.edges)
        self.device[:TABLE].scatter_add_(0, row * BUCKETS + column, self.one.expand(row.shape))
        self.device[TABLE:-1].scatter_add_(0, row, values.nan_to_num(0.0, 0.0, 0.0))
        if injected is not None:
            self.device[-1] += (injected & (row < REGIMES)).sum()
        if self.pinned is not self.device:
            self.pinned.copy_(self.device, non_blocking=True)


class Meter:
    """Counts of one worker process, published about once per second from a thread of their own.

    No method raises: what goes wrong is logged once, and the counts end there."""

    def __init__(self, files: Files | None, *, requests: bool = True) -> None:
        """`files` None makes a meter that counts nothing. requests: whether it counts requests, too."""
        self.files, self.counts_requests = files, requests
        self.tally: Tally | TensorTally | None = None
        self.requests: Counter[str] = Counter()
        self.published: tuple[bytes, Counter[str]] | None = None
        self.thread: Thread | None = None
        self.stopped = Event()
        self.writing = Lock()
        self.publish()

    @classmethod
    def from_config(cls, vllm_config: Any) -> Meter:
        """The meter of the worker that has `vllm_config`.

        Of the workers that have the same requests (tensor and context parallelism) the first counts; the others, too,
        where vLLM deals the rows out among them. Every replica of data parallelism counts: its requests are its
        own."""
        try:
            parallel = vllm_config.parallel_config
            alike = parallel.tensor_parallel_size * getattr(parallel, "prefill_context_parallel_size", 1)
            first = parallel.rank % alike == 0
            if not first and not getattr(parallel, "enable_batch_sharded_sampling", False):
                return cls(None)
            directory = find_directory()
        except Exception:
            log.warning("Entropix: its numbers will be missing from /metrics", exc_info=True)
            return cls(None)
        if directory is None:
            log.info("Entropix: no server reads what is counted here; VLLM_PLUGINS, if set, must name entropix")
            return cls(None)
        return cls(Files(directory), requests=first)

    def record(self, regimes: Array, entropies: Array, injected: Array | None = None) -> None:
        """Count one step's rows, all `(rows,)`, NumPy arrays or torch tensors of one device.

        regimes: values of `Regime`; a row with another value (−1, say) is not counted. entropies: nats; what is not
        finite is left out of the histogram. injected: true where the row begins an injection."""
        if self.files is None:
            return
        try:
            if self.tally is None:
                self.tally = Tally() if isinstance(regimes, np.ndarray) else TensorTally(regimes.device)
                self._start()
            self.tally.add(regimes, entropies, injected)
        except Exception:
            self._give_up()

    def request(self, policy: str) -> None:
        """Count a request by the name of its policy."""
        if self.files is not None and self.counts_requests:
            self.requests[policy] += 1
            self._start()

    @property
    def counts(self) -> Counts:
        host = np.zeros(SIZE) if self.tally is None else self.tally.host.copy()
        table = host[:TABLE].reshape(REGIMES + 1, BUCKETS)[:-1].astype(np.int64)
        return Counts(table.sum(1), table.sum(0)[:-1], float(host[TABLE:-2].sum()), int(host[-1]))

    def publish(self) -> None:
        """Write what was counted, if that is not there already."""
        if self.files is None:
            return
        try:
            with self.writing:
                counts, requests = self.counts, self.requests.copy()
                if self.published == (now := (b"".join(np.asarray(c).tobytes() for c in counts), requests)):
                    return
                self._write(self.files, counts, requests)
                self.published = now
        except Exception:
            self._give_up()

    def close(self) -> None:
        """Publish a last time and end the thread."""
        self.publish()
        self.stopped.set()

    def _write(self, files: Files, counts: Counts, requests: Counter[str]) -> None:
        # names, texts and bounds are those of entropix.serve.metrics
        files.count("entropix_tokens", "tokens of answers", float(counts.regimes.sum()))
        for regime in Regime:
            label = {"regime": regime.label}
            files.count("entropix_regime_tokens", "tokens by regime", float(counts.regimes[regime]), label)
        files.count("entropix_injections", "texts injected", counts.injections)
        for policy, n in requests.items():
            files.count("entropix_policy_requests", "requests by policy", n, {"policy": policy})
        bounds = [*map(str, ENTROPY_BOUNDS), "+Inf"]
        buckets = dict(zip(bounds, counts.entropies.tolist(), strict=True))
        files.histogram("entropix_entropy_nats", "entropy of the next token", buckets, counts.total)

    def _start(self) -> None:
        if self.thread is None:
            self.thread = Thread(target=self._run, name="entropix-metrics", daemon=True)
            self.thread.start()

    def _run(self) -> None:
        while self.files is not None and not self.stopped.wait(INTERVAL):
            self.publish()

    def _give_up(self) -> None:
        self.files = None
        log.warning("Entropix: its numbers in /metrics end here", exc_info=True)
