"""vote: the answer that most texts give, of independent samples or of a tree's leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from entropix.answers import EXTRACTORS, Extractor, extractor
from entropix.parameters import parameter
from entropix.search.ballots import Count, count
from entropix.search.record import AnyBallot
from entropix.search.samples import SAMPLES, Sampled
from entropix.search.scores import TRACES
from entropix.search.stopping import RULES, Standing, StopRule, parse_stop

if TYPE_CHECKING:
    from entropix.search.spec import SearchPlan

WEIGHTS = ("count", "confidence", "path")


@dataclass(frozen=True, kw_only=True)
class Vote(Sampled):
    """Draw n texts and keep the likeliest of those that give the most frequent answer."""

    name: ClassVar[str] = "vote"
    summary: ClassVar[str] = "the most frequent answer of n texts, with the share that agrees"

    weight: str = parameter(
        "count", allowed=WEIGHTS, doc="what a ballot weighs: 1, its trace's confidence, its path's probability"
    )
    trace: str = parameter("lowest", allowed=TRACES, doc="confidence of a trace from its windows")
    keep: float = parameter(1.0, 0, 1, doc="share of the surest ballots that count")
    floor: int = parameter(3, 1, 1024, doc="never fewer ballots than this count, if so many are cast")
    stop: str = parameter("overtake", check=parse_stop, doc=f"when no more ballots are cast: {RULES}; docs/effort.md")
    wave: int = parameter(
        0, 0, 1024, doc="ballots drawn at a time, where the rule is asked; 0: as many as it needs to stop"
    )
    first: str = parameter(
        "sample", allowed=("sample", "greedy"), doc="how the first ballot is decoded; greedy: its likeliest tokens"
    )
    answer: str | Extractor = parameter(  # noqa: RUF009 - it is a field, whose default is a text
        "none",
        check=extractor,
        doc="what a text answers: " + ", ".join(EXTRACTORS) + "; in Python any function",
    )

    @property
    def is_vote_of_samples(self) -> bool:  # type: ignore[override]
        """Whether every one of n samples is one ballot, whatever the others are: the first few are a smaller vote."""
        n = self.n or SAMPLES
        return self.weight == "count" and math.ceil(self.keep * n) >= n and not self.greedy_first

    def about(self, question: str) -> Self:
        return replace(self, answer=extractor(self.answer, question) or "none")

    def reads_leading(self) -> bool:
        return self.weight == "confidence" or self.keep < 1

    @property
    def reads(self) -> str | Extractor:
        return self.answer

    def rule_in_words(self, plan: SearchPlan) -> str:
        parts = [f"{self.stop} of {plan.samples}", *self.waves_in_words]
        parts += ["greedy first"] if self.greedy_first else []
        parts += [f"weight {self.weight}"] if self.weight != "count" else []
        parts += [f"keep {self.keep:g}"] if self.keep < 1 else []
        parts += [f"{plan.max_tokens} tokens"] if plan.max_tokens else []
        return ", ".join(parts)

    @property
    def waves_in_words(self) -> list[str]:
        """How its ballots are drawn, for `rule_in_words`."""
        return [f"waves of {self.wave}"] if self.wave else []

    @property
    def rule(self) -> StopRule:
        return parse_stop(self.stop)

    @property
    def greedy_first(self) -> bool:  # type: ignore[override]
        return self.first == "greedy"

    @property
    def in_waves(self) -> bool:
        return bool(self.wave) or not self.rule.exact

    def next_wave(self, counted: Count[AnyBallot] | None, left: int) -> int:
        now = counted.standing if counted is not None and counted.standing is not None else Standing(0, 0, left)
        return min(self.wave or self.rule.soonest(now), left)

    def count(self, ended: Sequence[AnyBallot], outstanding: int, running: int) -> Count[AnyBallot] | None:
        return count(ended, self, outstanding, running)
