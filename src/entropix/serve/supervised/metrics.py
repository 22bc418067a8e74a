"""What the process in front counts, beside the metrics of the engine's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from entropix.serve.supervised.front import Front

REQUESTS = "entropix_requests"


class FrontCollector:
    """The front's counts as Prometheus metrics."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def collect(self) -> Iterator[Metric]:
        supervisor = self.front.supervisor
        yield CounterMetricFamily(
            "entropix_restarts", "times the engine's process was started again", supervisor.restarts
        )
        yield GaugeMetricFamily("entropix_waiting", "requests that wait for the engine's process", supervisor.waiting)
        crashes = CounterMetricFamily(
            "entropix_crashed_requests", "requests in a crash by what became of them", labels=["outcome"]
        )
        for outcome in ("resent", "cut", "refused"):
            crashes.add_metric([outcome], self.front.crashes[outcome])
        answers = CounterMetricFamily(REQUESTS, "HTTP answers", labels=["path", "status"])
        for (path, status), n in sorted(self.front.guard.requests.items()):
            answers.add_metric([path, str(status)], n)
        yield from (crashes, answers)


def without_requests(text: bytes) -> bytes:
    """The engine's metrics without the count of answers, which starts anew with each process; ours goes on."""
    lines = text.splitlines(keepends=True)
    return b"".join(line for line in lines if REQUESTS.encode() + b"_" not in line)
