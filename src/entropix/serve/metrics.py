"""What the server counts. Plain numbers that only the engine's thread writes; they become metrics when asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from entropix.decoding import Job, Status
from entropix.signals import ENTROPY_BOUNDS
from entropix.types import Regime, Step

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SMOOTHING = 0.1


class Histogram:
    """Counts by upper bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many up to it), as Prometheus counts."""
        names = [*map(str, self.bounds), "+Inf"]
        return [(name, float(n)) for name, n in zip(names, accumulate(self.counts), strict=True)]


class Accounts:
    """Everything counted since the server began, and what is so at this moment."""

    def __init__(self) -> None:
        self.queued = self.running = self.kept = self.cells = 0
        self.branches: Mapping[Status, int] = {}
        self.disconnects = self.expired = self.preempted = 0
        self.tokens = 0
        self.prompt_tokens = self.cached_tokens = self.forwarded = 0
        self.regimes = [0] * len(Regime)
        self.entropy = Histogram(ENTROPY_BOUNDS)
        self.first = Histogram(SECONDS)
        self.between = Histogram(SECONDS)
        self.faults: Counter[str] = Counter()
        self.seconds_a_request = 1.0

    def token(self, step: Step) -> None:
        self.tokens += 1
        self.regimes[step.regime] += 1
        if step.entropy is not None:
            self.entropy.observe(step.entropy)

    def wait(self, now: float, last: float | None, arrived: float) -> None:
        """Enter that an answer's next token came `now`."""
        if last is None:
            self.first.observe(now - arrived)
        else:
            self.between.observe(now - last)

    def answer(self, job: Job) -> None:
        """Enter what an answer that has ended has cost."""
        self.prompt_tokens += len(job.request.tokens)
        self.cached_tokens += job.ledger.shared
        self.forwarded += job.ledger.forwarded

    def request(self, seconds: float) -> None:
        self.seconds_a_request += SMOOTHING * (seconds - self.seconds_a_request)


class Collector:
    """Accounts as Prometheus metrics; `requests` counts answers by (path, status)."""

    def __init__(self, accounts: Accounts, requests: Mapping[tuple[str, int], int], cells: int, places: int) -> None:
        self.accounts, self.requests, self.limits = accounts, requests, (cells, places)

    def collect(self) -> Iterator[Metric]:
        a = self.accounts
        cells, places = self.limits
        for name, text, value in (
            ("queue_length", "requests of which nothing runs yet", a.queued),
            ("running", "answers that are decoded now", a.running),
            ("places", "answers that can be decoded at a time", places),
            ("kept_prefixes", "ended answers whose KV cache is kept", a.kept),
            ("kv_cells_used", "KV-cache tokens held", a.cells),
            ("kv_cells", "KV-cache tokens there are", cells),
        ):
            yield GaugeMetricFamily(f"entropix_{name}", text, value)
        branches = GaugeMetricFamily("entropix_branches", "branches by status", labels=["status"])
        for place in Status:
            if place is not Status.ENDED:
                branches.add_metric([place.value], a.branches.get(place, 0))
        yield branches
        for name, text, value in (
            ("tokens", "tokens of answers", a.tokens),
            ("prompt_tokens", "prompt tokens of ended answers", a.prompt_tokens),
            ("cached_tokens", "prompt tokens that a live or kept sequence saved", a.cached_tokens),
            ("forwarded_tokens", "tokens computed for ended answers, with everything abandoned", a.forwarded),
            ("disconnects", "requests whose client went away", a.disconnects),
            ("expired", "requests that reached the time limit", a.expired),
            ("preempted", "choices that made room for another request", a.preempted),
        ):
            yield CounterMetricFamily(f"entropix_{name}", text, value)
        regimes = CounterMetricFamily("entropix_regime_tokens", "tokens by regime", labels=["regime"])
        for regime in Regime:
            regimes.add_metric([regime.label], a.regimes[regime])
        faults = CounterMetricFamily("entropix_faults", "failed steps by what was to blame", labels=["kind"])
        for kind in ("transient", "request", "engine"):
            faults.add_metric([kind], a.faults[kind])
        answers = CounterMetricFamily("entropix_requests", "HTTP answers", labels=["path", "status"])
        for (path, status), n in sorted(self.requests.items()):
            answers.add_metric([path, str(status)], n)
        yield from (regimes, faults, answers)
        for name, text, histogram in (
            ("entropy_nats", "entropy of the next token", a.entropy),
            ("first_token_seconds", "from the arrival of a request to the first token of an answer", a.first),
            ("between_tokens_seconds", "between two deliveries of one answer", a.between),
        ):
            yield HistogramMetricFamily(f"entropix_{name}", text, buckets=histogram.buckets(), sum_value=histogram.sum)
