"""vote: the answer that most texts give, of independent samples or of a tree's leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from entropix.parameters import parameter
from entropix.search.answers import Extractor, extractor
from entropix.search.ballots import Count, count
from entropix.search.record import AnyBallot
from entropix.search.samples import SAMPLES, Sampled
from entropix.search.scores import TRACES

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
    floor: int = parameter(3, 1, 1024, doc="never fewer ballots than this, if so many are cast")
    share: float = parameter(0.95, 0.5, 1, doc="stop early when one answer holds this share of at least floor ballots")
    early: str = parameter(
        "yes", allowed=("yes", "no"), doc="end as soon as the winner is certain; no: cast every ballot"
    )
    answer: str | Extractor = parameter(  # noqa: RUF009 - it is a field, whose default is a text
        "none", check=extractor, doc="what a text answers: number, choice, boxed, code, text; in Python any function"
    )

    @property
    def is_vote_of_samples(self) -> bool:  # type: ignore[override]
        """Whether every one of n samples is one ballot, whatever the others are: the first few are a smaller vote."""
        n = self.n or SAMPLES
        return self.weight == "count" and math.ceil(self.keep * n) >= n

    def reads_leading(self) -> bool:
        return self.weight == "confidence" or self.keep < 1

    def count(self, ended: Sequence[AnyBallot], outstanding: int) -> Count[AnyBallot] | None:
        return count(ended, self, outstanding)
