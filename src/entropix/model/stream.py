"""Answers as they come: tokens in the order in which they become certain."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entropix.decoding import Decoder, Job
from entropix.errors import EntropixError
from entropix.types import Result, SearchRecord, Step

if TYPE_CHECKING:
    from entropix.model.core import Model


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a stream: which prompt it answers, its text (may be empty) and why it is there."""

    index: int
    text: str
    step: Step


def raise_failures(jobs: Sequence[Job]) -> None:
    """Raise why answers failed if none is left of them, or if it was a bug; an answer of several that fails alone
    only says so in its result."""
    errors = [job.error for job in jobs if job.error is not None]
    bugs = [error for error in errors if not isinstance(error, EntropixError)]
    if bugs or (errors and len(errors) == len(jobs)):
        raise (bugs or errors)[0]


def finish(model: Model, job: Job) -> None:
    """Ask what is still to be known of an answer that has ended, on the sequences that it has given back."""
    for _ in model.ask_about(job, sequences=max(job.reserve - job.request.keep, 1)):
        pass


class Stream:
    """The tokens of one or several answers, as they become certain.

    Iterate over it; afterwards `results` has one answer per prompt and `result` the only one. `close` (also at the
    end of a `with`) cancels what still runs and keeps what was said. An answer that fails alone ends with
    finish_reason "error", and `failures` says why; the iteration raises at its end when every answer has failed.
    """

    def __init__(self, model: Model, decoder: Decoder, jobs: list[Job]) -> None:
        self._model = model
        self._decoder = decoder
        self._jobs = jobs
        self._open = True
        self._turn = threading.RLock()
        self.watch: Callable[[], bool] | None = None
        """Called after every model call, also while a search holds tokens back; False ends the answers."""
        self._tokens = self._iterate()

    def _iterate(self) -> Generator[Token]:
        try:
            while self._decoder.busy:
                for event in self._decoder.step():
                    if event.step is not None:
                        yield Token(event.job.index, event.step.text, event.step)
                    else:
                        finish(self._model, event.job)
                if not self._open or (self.watch is not None and not self.watch()):
                    return
            raise_failures(self._jobs)
        finally:
            self._end()

    def _end(self) -> None:
        self._decoder.close()
        if self._open:
            self._open = False
            self._ended()

    def _ended(self) -> None:
        """Called once, when no further token comes."""

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Token:
        with self._turn:  # of several threads that read one stream each gets the next token
            return next(self._tokens)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what still runs; any thread may. What was said stays in the results."""
        with contextlib.suppress(ValueError):  # another thread is in it, and sees after its step that this is the end
            self._tokens.close()
        self._end()  # an iteration that never began has nothing to close

    @property
    def results(self) -> list[Result]:
        """One result a prompt, in order; those of answers that still run are as far as they have come."""
        return [self._model.result(job) for job in self._jobs]

    @property
    def failures(self) -> dict[int, Exception]:
        """Why answers have failed, by the prompt's number from 0 on."""
        return {n: job.error for n, job in enumerate(self._jobs) if job.error is not None}

    @property
    def prefilled(self) -> tuple[int, int]:
        """Tokens of the prompts that have been read, and all of them, over the answers that have said nothing yet."""
        silent = [job for job in self._jobs if not job.steps and not job.finish_reason]
        lengths = [len(job.request.tokens) for job in silent]
        return sum(min(job.trunk.cached, of) for job, of in zip(silent, lengths, strict=True)), sum(lengths)

    @property
    def searches(self) -> list[SearchRecord | None]:
        """What each answer's search has tried so far; None for an answer without one."""
        return [job.search or (job.explorer.record() if job.explorer else None) for job in self._jobs]

    @property
    def result(self) -> Result:
        """The only answer's result. Raises ValueError when there are several prompts."""
        if len(self._jobs) != 1:
            raise ValueError(f"this stream has {len(self._jobs)} answers; read `results`")
        return self.results[0]
