"""Independent samples of one prompt: what `vote` and `best` draw and decide between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from entropix.parameters import parameter
from entropix.search.host import ended
from entropix.search.strategy import Strategy, Tactic

if TYPE_CHECKING:
    from entropix.search.ballots import Count
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

    @property
    def in_waves(self) -> bool:
        """Whether samples are drawn wave by wave; otherwise all at the beginning."""
        return False

    def next_wave(self, counted: Count[Any] | None, left: int) -> int:
        """How many of the `left` samples are drawn next, at least one. counted: the ballots cast, None for none."""
        return left

    def branches(self, plan: SearchPlan) -> int:
        samples = self.samples(plan)
        # the first text's sequence stays where the next wave begins
        return min(self.next_wave(None, samples) + 1, samples) if self.in_waves else samples

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        if self.samples(plan) == 1:
            return frozenset()
        later = self.in_waves and self.next_wave(None, self.samples(plan)) < self.samples(plan)
        return frozenset({"sample", "sample_later"} if later else {"sample"})

    def begin(self, plan: SearchPlan) -> Tactic:
        return DrawSamples(self, self.samples(plan), keep=plan.opens_ballots)


class DrawSamples(Tactic):
    """Draws the samples, wave by wave. keep: ended texts keep their sequences, since others are forked from them."""

    def __init__(self, settings: Sampled, samples: int, *, keep: bool) -> None:
        self.settings, self.samples, self.keep = settings, samples, keep
        self.left = samples - 1

    def begin(self, search: Exploration) -> None:
        wave = self.settings.next_wave(None, self.samples) if self.settings.in_waves else self.samples
        self._draw(search, wave - 1)

    def after(self, search: Exploration) -> None:
        while self.left and all(map(ended, search.lines)):  # again where a wave's texts end with their first token
            counted = search.count()
            if counted is not None and counted.decided:
                self.left = 0
                return
            if not self.keep:
                for line in search.lines[1:]:
                    search.host.release(line)
            self._draw(search, self.settings.next_wave(counted, self.left))

    def _draw(self, search: Exploration, wanted: int) -> None:
        begun = search.sample(wanted)
        self.left = self.left - begun if begun or not wanted else 0  # no budget is left for more

    def outstanding(self, search: Exploration) -> int:
        return self.left

    def certain(self, search: Exploration) -> int | None:
        return 0 if self.samples > 1 else None
