"""Independent samples of one prompt: what `vote` and `best` draw and decide between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from entropix.parameters import parameter
from entropix.search.strategy import Strategy, Tactic

if TYPE_CHECKING:
    from entropix.search.exploration import Exploration
    from entropix.search.spec import SearchPlan

SAMPLES = 4
"""Samples where no number is given."""


@dataclass(frozen=True, kw_only=True)
class Sampled(Strategy):
    """A strategy that draws n texts and decides between all that have ended, those of a tree included."""

    part: ClassVar[str] = "decides"

    n: int = parameter(0, 0, 1024, doc=f"samples; 0: {SAMPLES}, or 1 where a tree makes the ballots")

    def samples(self, plan: SearchPlan) -> int:
        return self.n or (1 if plan.opens_ballots else SAMPLES)

    def branches(self, plan: SearchPlan) -> int:
        return self.samples(plan)

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        return frozenset({"sample"}) if self.samples(plan) > 1 else frozenset()

    def begin(self, plan: SearchPlan) -> Tactic:
        return Draw(self.samples(plan))


class Draw(Tactic):
    """Draws all samples at the beginning."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def begin(self, search: Exploration) -> None:
        search.sample(self.samples - 1)

    def certain(self, search: Exploration) -> int | None:
        return 0 if self.samples > 1 else None
