"""lookahead: roll several candidates out for a few tokens or to the end of a sentence, keep the best.

Sources: Entropix's multi-sample state; CNTP (cautious next-token prediction)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from entropix.parameters import parameter
from entropix.search.compare import Comparing
from entropix.types import Regime, Step

SENTENCE_ENDS = (".", "!", "?", "\n", "。")


@dataclass(frozen=True, kw_only=True)
class Lookahead(Comparing):
    """Roll several candidates out where the policy adapts or branches, keep the best."""

    name: ClassVar[str] = "lookahead"
    summary: ClassVar[str] = "rolls several candidates out where the model is unsure, keeps the best"
    regimes: ClassVar[tuple[Regime, ...]] = (Regime.ADAPT, Regime.BRANCH)

    horizon: int = parameter(12, 1, 10000, doc="most tokens each is rolled out, or to the end of a sentence")

    def settled(self, steps: Sequence[Step]) -> bool:
        return len(steps) >= self.horizon or any(mark in s.text for s in steps[1:] for mark in SENTENCE_ENDS)
