"""One thread owns the engine and its decoder; any number of requests share it, fairly and within bounds.

Places, the answers decoded at a time, go to requests by this rule: whenever one is free, the next choice of the
waiting request whose client has the fewest places gets it; among those, the request with the fewest places; among
those, the oldest. When none is free and a request with fewer places waits, a request with several choices gives up
its youngest, which continues later as if nothing had happened. A request with a single choice is never interrupted. A
search gets all the places it may need at once, and what comes after it in the line waits until it has them; so do
the questions of a request whose ballots move between them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from entropix.decoding import Decoder, Event, Job, Request
from entropix.engines.base import shared_prefix
from entropix.model import Model
from entropix.serve.errors import LIMIT, ApiError, failed, unavailable
from entropix.serve.faults import EngineBroken, StepGuard, answers
from entropix.serve.metrics import Accounts
from entropix.serve.prefixes import Prefixes
from entropix.serve.progress import Owner, news
from entropix.serve.settings import Settings
from entropix.serve.ticket import MailItem, Ticket

log = logging.getLogger("entropix.serve")

WORTH_SHARING = 16
"""Prompt tokens: who shares as many with a prompt that is being computed waits a step and gets them for nothing."""

KEPT_SHARE = 16
"""By default this part of the cache is kept. A cell that is never read still costs: on llama.cpp every row looks at the
mask of every cell, which takes a tenth of the throughput of a small model for each 1000 of them."""

PROBE_EVERY = 1.0
"""Seconds between two looks at whether a broken engine answers again."""


class Scheduler:
    """Answers tickets on `model`'s engine. `submit`, `cancel` and `drain` may be called from any thread."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings
        capabilities = model.engine.capabilities
        self.places = min(settings.places, capabilities.sequences)
        kept = min(settings.kept, capabilities.sequences - self.places)
        self.spare = capabilities.sequences > self.places + kept
        """Whether a sequence is left beside those of answers and kept ones."""
        cells = capabilities.cells // KEPT_SHARE if settings.kept_cells is None else settings.kept_cells
        self.prefixes = Prefixes(model.engine, kept, cells)
        self.accounts = Accounts()
        self.broken = ""
        """Why nothing can be answered now, "" while all is well."""
        self._decoder = self._new_decoder()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._tickets: list[Ticket] = []
        self._owners: dict[Job, Owner] = {}
        self._lock = threading.Lock()
        self._in_flight = 0
        self._numbers = self._turns = 0
        self._idle = False
        self._draining = False
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="entropix-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def keeps(self) -> bool:
        """Whether ended answers leave their KV cache behind."""
        return self.prefixes.most > 0 and self.prefixes.cells > 0

    # any thread

    @property
    def progress(self) -> tuple[int, float] | None:
        """How far the engine's thread has come: in turns, each of which is a step as a rule, and in seconds of a
        processor, which a long step takes too. None while it has nothing to do, or is to end."""
        if self._idle or self._draining:
            return None
        return self._turns, processor_seconds(self._thread)

    def check_open(self) -> None:
        """Raise the ApiError that a new request would get now."""
        if self._draining:
            raise unavailable("the server is shutting down", retry=10, code="shutting_down")
        if self.broken:
            raise unavailable(self.broken, code="engine_failed")
        if self._in_flight >= self.places + self.settings.queue:
            raise ApiError(
                429,
                f"the queue is full, with {self._in_flight} answered or waiting; try again later",
                kind=LIMIT,
                code="queue_full",
                retry=self.accounts.seconds_a_request * self._in_flight / self.places,
            )

    def submit(self, ticket: Ticket) -> None:
        """Put a ticket in the line. Raises ApiError when there is no room."""
        with self._lock:
            self.check_open()
            self._in_flight += 1
            self._inbox.put(partial(self._accept, ticket))

    def cancel(self, ticket: Ticket) -> None:
        """The client is gone: give back at once whatever the ticket holds. Nothing is left in its mailbox."""
        self._inbox.put(partial(self._abandon, ticket))

    def drain(self, grace: float) -> None:
        """Take no further tickets; end those that still run after `grace` seconds."""
        with self._lock:
            self._draining = True
        until = time.perf_counter() + grace
        self._stop_at = until if self._stop_at is None else min(self._stop_at, until)
        self._inbox.put(lambda: None)

    def stop(self) -> None:
        """End everything now and wait for the engine's thread."""
        self.drain(0)
        if self._thread.ident is not None:
            self._thread.join(timeout=30)

    # the engine's thread

    def _run(self) -> None:
        while True:
            self._receive()
            self._turns += 1
            if self._stop_at is not None and (not self._tickets or time.perf_counter() >= self._stop_at):
                break
            try:
                if self.broken:
                    self._recover()
                    continue
                self._expire()
                self._fill()
                self._hand_out(self._guard.step())
                self._post(news(self._owners))
                self._observe()
            except EngineBroken as error:
                self._break("the model's engine has failed; the server is trying to bring it back", error)
            except Exception as error:
                self._break("the server has failed and is starting again", error)
        self._fail_all(unavailable("the server is shutting down", retry=10, code="shutting_down"))
        self.prefixes.clear()
        self._observe()

    def _new_decoder(self) -> Decoder:
        decoder = Decoder(self.model.engine, reclaim=self.prefixes.reclaim, isolate=True)
        self._guard = StepGuard(decoder, self.prefixes.clear, self._report)
        return decoder

    def _receive(self) -> None:
        """Carry out what other threads want; wait for it when there is nothing else to do."""
        with contextlib.suppress(queue.Empty):
            if not self._tickets and self._stop_at is None:
                self._idle = not self.broken
                try:
                    work = self._inbox.get(timeout=PROBE_EVERY if self.broken else None)
                finally:
                    self._idle = False
                work()
            while True:
                self._inbox.get_nowait()()

    def _accept(self, ticket: Ticket) -> None:
        self._numbers += 1
        ticket.number = self._numbers
        self._tickets.append(ticket)

    def _abandon(self, ticket: Ticket) -> None:
        if ticket not in self._tickets:
            return
        self._remove(ticket)
        self.accounts.disconnects += 1

    def _remove(self, ticket: Ticket) -> None:
        """Take a ticket out with all it holds."""
        for job in [*ticket.running, *ticket.parked]:
            self._owners.pop(job, None)
            self._decoder.cancel(job)
            if job.sequence is not None:
                self.model.engine.close(job.sequence)
        ticket.waiting.clear()
        ticket.parked.clear()
        ticket.running.clear()
        self._close(ticket)

    def _close(self, ticket: Ticket) -> None:
        self._tickets.remove(ticket)
        with self._lock:
            self._in_flight -= 1
        self.accounts.request(time.perf_counter() - ticket.arrived)

    def _expire(self) -> None:
        """End what has taken longer than a request may."""
        now = time.perf_counter()
        for ticket in [t for t in self._tickets if now >= t.deadline]:
            self.accounts.expired += 1
            if not ticket.begun:
                self._fail(ticket, unavailable("the request has waited for its whole time limit", code="timeout"))
                continue
            while ticket.waiting:
                self._begin(ticket)
            jobs = [*ticket.parked, *ticket.running]
            for job in ticket.parked:
                ticket.running[job] = self._owners[job].choice
            ticket.parked.clear()
            for job in jobs:
                job.notes.append(f"the answer was cut at the time limit of {self.settings.time_limit:g} s")
                self._hand_out(self._decoder.cancel(job))

    # places

    def _fill(self) -> None:
        """Give places to those who wait, by the rule that stands at the top of this file."""
        waiting = [t for t in self._tickets if t.waits]
        fresh: list[Request] = [job.request for job in self._owners if not job.tokens]
        while waiting:
            places: Counter[str] = Counter()
            for ticket in self._tickets:
                places[ticket.client] += ticket.places
            ticket = min(waiting, key=lambda t: (places[t.client], t.places, t.number))
            used = sum(places.values())
            if used + ticket.need > self.places and not (ticket.need == 1 and self._preempt(ticket)):
                return
            if ticket.together:
                while ticket.waiting:
                    fresh.append(self._begin(ticket).request)
                waiting.remove(ticket)
                continue
            if not ticket.parked and self._shares(ticket, fresh):
                waiting.remove(ticket)
                continue
            if ticket.parked:
                job = ticket.parked.pop(0)
                ticket.running[job] = self._owners[job].choice
                self._decoder.unpark(job)
            else:
                fresh.append(self._begin(ticket).request)
            if not ticket.waits:
                waiting.remove(ticket)

    def _shares(self, ticket: Ticket, fresh: list[Request]) -> bool:
        """Whether the next choice's prompt begins like one that is about to be computed."""
        tokens = ticket.requests[ticket.waiting[0]].tokens
        return any(shared_prefix(tokens, other.tokens) >= WORTH_SHARING for other in fresh)

    def _begin(self, ticket: Ticket) -> Job:
        choice = ticket.waiting.popleft()
        job = self._decoder.submit(ticket.requests[choice], choice)
        ticket.running[job] = choice
        ticket.begun = True
        self._owners[job] = Owner(ticket, choice)
        return job

    def _preempt(self, ticket: Ticket) -> bool:
        """Make a place free for `ticket`; False when no client has more than it would then have."""
        several = [t for t in self._tickets if any(j.request.search is None for j in t.running)]
        richest = max(several, key=lambda t: (t.places, t.number), default=None)
        if richest is None or richest.places - 1 < ticket.places + 1:
            return False
        job = [j for j in richest.running if j.request.search is None][-1]
        del richest.running[job]
        richest.parked.append(job)
        self._decoder.park(job, keep=False)
        self.accounts.preempted += 1
        return True

    # the outcome

    def _hand_out(self, events: list[Event]) -> None:
        """Put every event into its client's mailbox, all of one step in one call into the event loop."""
        now = time.perf_counter()
        out: dict[Ticket, dict[int, MailItem]] = {}
        failures: dict[Ticket, ApiError] = {}
        for event in events:
            job, step = event.job, event.step
            owner = self._owners.get(job)
            if owner is None:
                continue
            ticket = owner.ticket
            if step is not None:
                self.accounts.token(step)
                if owner.last != now:
                    self.accounts.wait(now, owner.last, ticket.arrived)
                    owner.last = now
                if ticket.streams:
                    out.setdefault(ticket, {}).setdefault(owner.choice, MailItem(owner.choice)).steps.append(step)
                continue
            self._ended(job, ticket)
            if job.finish_reason == "error":
                failures[ticket] = failed(job.error)
            else:
                out.setdefault(ticket, {}).setdefault(owner.choice, MailItem(owner.choice)).job = job
        for ticket in failures:
            if ticket in self._tickets:
                self._remove(ticket)
            out.pop(ticket, None)
        self._post(
            [(t, list(items.values()), None) for t, items in out.items()] + [(t, [], e) for t, e in failures.items()]
        )

    def _ended(self, job: Job, ticket: Ticket) -> None:
        del self._owners[job]
        ticket.running.pop(job, None)
        self.accounts.answer(job)
        if job.finish_reason == "error" and job.error is not None:
            log.error("a request failed", exc_info=job.error, extra={"event": "request_failed"})
        if job.sequence is not None:
            if job.finish_reason in ("error", "cancelled"):
                self.model.engine.close(job.sequence)
            else:
                self.prefixes.keep(job.sequence)
        if ticket.ended:
            self._close(ticket)

    def _fail(self, ticket: Ticket, error: ApiError) -> None:
        self._remove(ticket)
        self._post([(ticket, [], error)])

    def _fail_all(self, error: ApiError) -> None:
        for ticket in list(self._tickets):
            self._fail(ticket, error)

    @staticmethod
    def _post(mail: Sequence[tuple[Ticket, list[MailItem], ApiError | None]]) -> None:
        if not mail:
            return

        def deliver() -> None:
            for ticket, items, failure in mail:
                ticket.put(items, failure)

        with contextlib.suppress(RuntimeError):  # the loop is closed: no client waits any more
            mail[0][0].loop.call_soon_threadsafe(deliver)

    def _observe(self) -> None:
        self.accounts.queued = sum(not t.begun for t in self._tickets)
        self.accounts.running = len(self._owners) - sum(len(t.parked) for t in self._tickets)
        self.accounts.branches = self._decoder.statuses()
        self.accounts.kept = len(self.prefixes)
        self.accounts.cells = self.model.engine.cells_used()

    # trouble

    def _report(self, error: Exception, kind: str) -> None:
        self.accounts.faults[kind] += 1
        log.error("a step failed", exc_info=error, extra={"event": "step_failed", "kind": kind})

    def _break(self, reason: str, error: Exception) -> None:
        """Nothing can be answered: say so to everybody, and begin anew."""
        log.error(reason, exc_info=error, extra={"event": "engine_failed"})
        with self._lock:
            self.broken = reason
        with contextlib.suppress(Exception):
            self._decoder.close()
        for ticket in self._tickets:
            ticket.running.clear()
            ticket.parked.clear()
        self._owners.clear()
        self._fail_all(unavailable(reason, code="engine_failed"))
        with contextlib.suppress(Exception):
            self.prefixes.clear()
        self._decoder = self._new_decoder()

    def _recover(self) -> None:
        if answers(self._decoder):
            with self._lock:
                self.broken = ""
            log.warning("the engine answers again", extra={"event": "engine_recovered"})
        else:
            time.sleep(PROBE_EVERY)


def processor_seconds(thread: threading.Thread) -> float:
    """What a thread has had of the processors; where a system does not say it of threads, its process."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time()
    if thread.ident is None or not thread.is_alive():
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
