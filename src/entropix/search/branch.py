"""branch: fork, run on until every branch is sure again, keep the best. Source: Entropix's branch state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from entropix.parameters import parameter
from entropix.search.compare import Comparing
from entropix.types import Regime, Step


@dataclass(frozen=True, kw_only=True)
class Branching(Comparing):
    """Fork where the policy says branch, go on until every branch is sure again, keep the best."""

    name: ClassVar[str] = "branch"
    summary: ClassVar[str] = "forks where the model is unsure, keeps the best once every branch is sure again"
    regimes: ClassVar[tuple[Regime, ...]] = (Regime.BRANCH,)

    sure: int = parameter(4, 1, 1000, doc="tokens of flow in a row after which a branch is sure again")
    horizon: int = parameter(48, 1, 10000, doc="most tokens before the comparison")

    def settled(self, steps: Sequence[Step]) -> bool:
        if len(steps) >= self.horizon:
            return True
        last = steps[-self.sure :]
        return len(steps) > self.sure and all(step.regime == Regime.FLOW for step in last)
