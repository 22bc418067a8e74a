"""One HTTP request in flight: what it asks, what runs of it, and the mailbox through which its answer comes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from entropix.decoding import Job, Request
from entropix.errors import EntropixError
from entropix.serve.errors import ApiError
from entropix.types import Step


@dataclass(slots=True)
class MailItem:
    """What became certain of one choice in one step. job: set when the choice has ended. progress: how its search
    stands, None where that is not news."""

    choice: int
    steps: list[Step] = field(default_factory=list)
    job: Job | None = None
    progress: Mapping[str, Any] | None = None


class Ticket:
    """requests: one per choice. client: who asks, for fairness. streams: whether steps are wanted as they come.
    progress: whether it is wanted how searches stand.

    The engine's thread owns `waiting`, `parked`, `running` and `begun`; the rest belongs to the event loop's.
    """

    def __init__(
        self, requests: Sequence[Request], *, client: str, time_limit: float, streams: bool, progress: bool = False
    ) -> None:
        self.requests = requests
        self.client = client
        self.streams = streams
        self.progress = progress and streams
        self.arrived = time.perf_counter()
        self.deadline = self.arrived + time_limit
        self.number = 0
        self.together = any(request.search is not None and request.search.pooled for request in requests)
        """Whether all choices begin at once: what one does depends on the others, which no other request may stop."""
        self.waiting = deque(range(len(requests)))
        self.parked: list[Job] = []
        self.running: dict[Job, int] = {}
        self.begun = False
        self.loop = asyncio.get_running_loop()
        self._items: list[MailItem] = []
        self._failure: EntropixError | ApiError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def places(self) -> int:
        """Sequences that the running choices may need."""
        return sum(job.reserve for job in self.running)

    @property
    def waits(self) -> bool:
        return bool(self.waiting or self.parked)

    @property
    def need(self) -> int:
        """Places the next choice needs, or all choices where they begin together."""
        if self.parked:
            return self.parked[0].reserve
        wanted = [self.requests[n].search for n in (self.waiting if self.together else [self.waiting[0]])]
        return sum(1 if search is None else search.max_sequences for search in wanted)

    @property
    def ended(self) -> bool:
        return not self.waits and not self.running

    # the event loop's side

    def put(self, items: Sequence[MailItem], failure: ApiError | None = None) -> None:
        """Leave items, or the error that ends it all. Only in the event loop's thread."""
        self._items += items
        self._failure = self._failure or failure
        self.wake()

    async def get(self, timeout: float | None = None) -> list[MailItem]:
        """What has come since the last call, empty when nothing came within `timeout` seconds. Raises the ApiError
        that ends the request."""
        if not self._items and self._failure is None:
            self._waiter = self.loop.create_future()
            timer = None if timeout is None else self.loop.call_later(timeout, self.wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        items, self._items = self._items, []
        if self._failure is not None and not items:
            raise self._failure
        return items

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
