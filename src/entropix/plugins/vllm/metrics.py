"""How what a worker of vLLM counts reaches vLLM's own `/metrics`, which another process answers.

The worker writes files of the format of prometheus-client's multiprocess mode. With several API servers vLLM runs in
that mode itself and reads every file of `PROMETHEUS_MULTIPROC_DIR`, so ours go there. With one API server it does not;
then they go to a directory of our own, and a collector in that server's registry reads them whenever it is asked."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.mmap_dict import MmapedDict

DIRECTORY = "ENTROPIX_VLLM_METRICS"
"""The environment variable by which processes pass on to those they start where to write. Not for people."""

SHARED = "PROMETHEUS_MULTIPROC_DIR"
RESERVED = 1 << 14

# vLLM gives handlers to its own loggers only
log = logging.getLogger("vllm.entropix")


@cache
def register() -> None:
    """Make this process ready to show what the workers it starts will count.

    vLLM calls it in each of its processes, and in the first one already while options are read, so that it cannot
    know yet who will be an API server. Therefore every process registers, and directories are nested as processes
    are: a server reads what stands under its own, and no other server's workers write there. A second call does
    nothing. Never raises."""
    try:
        if SHARED in os.environ:
            return
        from prometheus_client import REGISTRY

        directory = _make_directory()
        REGISTRY.register(WorkerCollector(directory))
        os.environ[DIRECTORY] = str(directory)
    except Exception:
        log.warning("Entropix: its numbers will be missing from /metrics", exc_info=True)


def find_directory() -> Path | None:
    """Where this process has to write, or None where it would not be read."""
    name = os.environ.get(SHARED) or os.environ.get(DIRECTORY)
    return Path(name) if name and Path(name).is_dir() else None


class WorkerCollector:
    """What stands in the files under `directory`, summed over them, as Prometheus metrics."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.failed = False

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.multiprocess import MultiProcessCollector

        try:
            files = [str(file) for file in sorted(self.directory.rglob("*.db"))]
            return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
        except Exception:
            # an exception here would take all of vLLM's metrics with it
            if not self.failed:
                log.warning("Entropix: its numbers are missing from /metrics", exc_info=True)
            self.failed = True
            return []


class Files:
    """Files of counters and histograms that one process writes and others read.

    Raises OSError where there is no room for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kinds: dict[str, MmapedDict] = {}

    def count(self, name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Set a counter; its sample is called `name`_total."""
        self._write("counter", name, f"{name}_total", text, value, labels or {})

    def histogram(self, name: str, text: str, buckets: Mapping[str, float], total: float) -> None:
        """Set a histogram: {upper bound: how many between it and the one below}, and the sum of what was observed."""
        for bound, value in buckets.items():
            self._write("histogram", name, f"{name}_bucket", text, value, {"le": bound})
        self._write("histogram", name, f"{name}_sum", text, total, {})

    def _write(self, kind: str, name: str, sample: str, text: str, value: float, labels: Mapping[str, str]) -> None:
        from prometheus_client.mmap_dict import mmap_key

        if kind not in self.kinds:
            self.kinds[kind] = _make_file(self.directory, kind)
        key = mmap_key(name, sample, list(labels), list(labels.values()), text)
        self.kinds[kind].write_value(key, value, 0.0)  # type: ignore[no-untyped-call]


def _make_directory() -> Path:
    above = os.environ.get(DIRECTORY)
    if above and Path(above).is_dir():
        path = Path(above, str(os.getpid()))
        path.mkdir(mode=0o700, exist_ok=True)
        return path
    path = Path(tempfile.mkdtemp(prefix="entropix-vllm-"))
    atexit.register(_remove, path, os.getpid())
    return path


def _remove(path: Path, owner: int) -> None:
    # a fork of the owner inherits its exit handlers
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def _make_file(directory: Path, kind: str) -> MmapedDict:
    from prometheus_client.mmap_dict import MmapedDict

    descriptor, name = tempfile.mkstemp(".db", f"{kind}_entropix-{os.getpid()}-", directory)
    # written and not only cut to length: on a full disk a hole under a mapping kills the process (SIGBUS)
    with open(descriptor, "wb") as file:
        file.write(bytes(RESERVED))
    return MmapedDict(name)  # type: ignore[no-untyped-call]
