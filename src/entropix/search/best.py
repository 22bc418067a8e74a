"""best: of n texts the one that scores best (best-of-n), without labels and without an answer to extract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from entropix.parameters import parameter
from entropix.search.ballots import Count, best_of
from entropix.search.record import AnyBallot
from entropix.search.samples import Sampled
from entropix.search.scores import SCORES, score


@dataclass(frozen=True, kw_only=True)
class Best(Sampled):
    """Draw n texts and keep the one with the best score over all its tokens."""

    name: ClassVar[str] = "best"
    summary: ClassVar[str] = "the best of n texts by mean log-probability or another score"

    score: str = parameter("logprob", allowed=SCORES, doc="mean over the tokens of a text")

    def reads_leading(self) -> bool:
        return self.score != "logprob"

    def count(self, ended: Sequence[AnyBallot], outstanding: int, running: int) -> Count[AnyBallot] | None:
        if not ended:
            return None
        for text in ended:
            text.score = score(text, 0, self.score)
        return Count(best_of(ended), None, {}, None, {})
