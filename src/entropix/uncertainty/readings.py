"""What estimators read of texts: of steps that were just decoded, or of what a run has stored of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from entropix.answers.spans import Likelihood, answer_span, whole_steps
from entropix.search.scores import trace_confidence
from entropix.types import BranchRecord, SearchRecord, Step
from entropix.uncertainty.claims import conditioned

ALTERNATIVES = 20
"""Likeliest tokens of a step whose mean log-probability is its confidence, if so many were recorded (DeepConf)."""


class Reading(Protocol):
    """One text. What is not known of it is None: an estimator that needs it then has no value.

    length: its tokens. ended: how, as `Result.finish_reason`. whole, span: log-probabilities of all its own tokens, and
    of those that give its answer. entropy: mean of its steps, nats. bottom: mean of the lowest tenth of sliding-window
    confidences, nats. claimed: −ln of the claim-conditioned probability, nats."""

    @property
    def answer(self) -> str | None: ...
    @property
    def ended(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def whole(self) -> Likelihood | None: ...
    @property
    def span(self) -> Likelihood | None: ...
    @property
    def entropy(self) -> float | None: ...
    @property
    def bottom(self) -> float | None: ...
    @property
    def claimed(self) -> float | None: ...


class StepsReading:
    """A text read off its steps; each property is computed when it is asked for, in time linear in the steps.

    answer: what the text answers, None for nothing; extract: what found it, None where nothing did."""

    def __init__(
        self,
        steps: Sequence[Step],
        answer: str | None = None,
        ended: str = "end",
        extract: Callable[[str], str | None] | None = None,
    ) -> None:
        self.steps, self.answer, self.ended = steps, answer, ended
        self._extract = extract

    @property
    def length(self) -> int:
        return len(self.steps)

    @cached_property
    def whole(self) -> Likelihood | None:
        return Likelihood.of([s.logprob for s in self.steps])

    @cached_property
    def place(self) -> range | None:
        """The tokens that give the answer."""
        if self.answer is None or self._extract is None:
            return None
        return answer_span([s.text for s in self.steps], self.answer, self._extract)

    @cached_property
    def span(self) -> Likelihood | None:
        place = self.place
        return None if place is None else Likelihood.of([s.logprob for s in self.steps[place.start : place.stop]])

    @cached_property
    def entropy(self) -> float | None:
        found = [s.entropy for s in self.steps if s.entropy is not None]
        return math.fsum(found) / len(found) if found else None

    @cached_property
    def bottom(self) -> float | None:
        """Over the `ALTERNATIVES` likeliest tokens of a step, or as many as were recorded. A step of which fewer are
        left, since a constraint forbids the others, does not count: forced text would look like a lost model's."""
        most = min(max((len(s.leading) for s in self.steps), default=0), ALTERNATIVES)
        if most < 2:
            return None
        found = []
        for step in self.steps:
            leading = step.leading[:most]
            if len(leading) == most and leading[-1].before > 0:
                found.append(-sum(math.log(c.before) for c in leading) / most)
        return trace_confidence(found, "bottom") if found else None

    @cached_property
    def claimed(self) -> float | None:
        return conditioned(self.steps)


@dataclass(frozen=True)
class Observed:
    """What is known of one answer. text: the one that is given; others: further texts of the same model to the same
    question, without it; assessed: the probability that the model itself gives the answer among those of all texts,
    None where it was not asked."""

    text: Reading
    others: tuple[Reading, ...] = ()
    assessed: float | None = None

    @property
    def texts(self) -> tuple[Reading, ...]:
        return (self.text, *self.others)


def observed(
    steps: Sequence[Step],
    ended: str,
    search: SearchRecord | None = None,
    extract: Callable[[str], str | None] | None = None,
    assessed: float | None = None,
) -> Observed:
    """An answer as `Result` has it: its steps and how it ended, and the search that found it. extract: what read the
    ballots' answers, or what reads this one's where there was no vote; assessed: what the model gives the answer."""
    if search is None or not search.ballots:
        answer = None if extract is None else extract("".join(s.text for s in steps))
        return Observed(StepsReading(steps, answer, ended, extract), (), assessed)
    read = list(zip(search.branches, branch_readings(search.branches, extract), strict=True))
    others = tuple(text for b, text in read if b.weight is not None and not b.kept)
    kept = next((b for b in search.branches if b.kept), None)
    return Observed(StepsReading(steps, None if kept is None else kept.answer, ended, extract), others, assessed)


def branch_readings(
    branches: Sequence[BranchRecord], extract: Callable[[str], str | None] | None
) -> list[StepsReading]:
    """A reading of every branch, each with the steps that it shares with its parents."""
    whole = zip(branches, whole_steps(branches), strict=True)
    return [StepsReading(steps, b.answer, b.ended, extract) for b, steps in whole]
