"""One request's failure touches no other: a step that fails is done again without the request that made it fail."""

from __future__ import annotations

from collections.abc import Callable

from entropix.decoding import Decoder, Event, Job
from entropix.errors import CapacityError


class EngineBroken(Exception):
    """The engine fails whatever it is asked."""


class StepGuard:
    """Steps a decoder. forget: called after a failure, gives back what is kept beside the running answers. report:
    called with each exception and what it was taken for: "transient", "request" or "engine".

    A failed step has changed nothing, so it is tried again as it is. If it fails again and the engine still answers
    a probe, the answers are stepped in halves until the one that fails is alone; noise depends on the position only,
    so the others' text does not depend on how they were stepped."""

    def __init__(self, decoder: Decoder, forget: Callable[[], None], report: Callable[[Exception, str], None]) -> None:
        self.decoder = decoder
        self.forget = forget
        self.report = report

    def step(self) -> list[Event]:
        """One step of every answer. Raises EngineBroken when no answer is to blame."""
        try:
            return self.decoder.step()
        except Exception as error:
            first = error
        self.forget()
        try:
            events = self.decoder.step()
        except Exception as error:
            self._probe(error)
            return self._apart(error)
        self.report(first, "transient")
        return events

    def _apart(self, error: Exception) -> list[Event]:
        """One step of every answer, in groups that fail or succeed together."""
        jobs = self.decoder.jobs
        for job in jobs:
            self.decoder.park(job)
        events = []
        try:
            if len(jobs) == 1:
                return self._blame(jobs[0], error)
            middle = len(jobs) // 2
            for part in (jobs[:middle], jobs[middle:]):
                events += self._attempt(part)
        finally:
            for job in self.decoder.jobs:
                self.decoder.unpark(job)
        return events

    def _attempt(self, jobs: list[Job]) -> list[Event]:
        for job in jobs:
            self.decoder.unpark(job)
        try:
            return self.decoder.step()
        except Exception as error:
            if len(jobs) == 1:
                self._probe(error)
                return self._blame(jobs[0], error)
        finally:
            for job in jobs:
                if not job.finish_reason:
                    self.decoder.park(job)
        middle = len(jobs) // 2
        return self._attempt(jobs[:middle]) + self._attempt(jobs[middle:])

    def _blame(self, job: Job, error: Exception) -> list[Event]:
        self.report(error, "request")
        job.error = error
        return self.decoder.cancel(job, "error")

    def _probe(self, error: Exception) -> None:
        if not answers(self.decoder):
            self.report(error, "engine")
            raise EngineBroken(str(error)) from error


def answers(decoder: Decoder) -> bool:
    """Whether the engine can still compute a token. An engine that is merely full counts."""
    engine = decoder.engine
    token = (engine.tokenizer.encode("a") or [0])[0]
    try:
        sequence = engine.open([token])
        try:
            engine.forward([(sequence, [token])])
        finally:
            engine.close(sequence)
    except CapacityError:
        return True
    except Exception:
        return False
    return True
