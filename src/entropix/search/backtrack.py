"""backtrack: take the last choice back where the model has lost its way, ban it, choose again.

Sources: Entropix's resample state; entropy-gated branching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from entropix.parameters import parameter
from entropix.search.host import Place
from entropix.search.record import Ballot
from entropix.search.strategy import Tactic
from entropix.search.trigger import Triggered, fires
from entropix.types import Action, Regime

if TYPE_CHECKING:
    from entropix.search.exploration import Exploration
    from entropix.search.spec import SearchPlan


@dataclass(frozen=True, kw_only=True)
class Backtrack(Triggered):
    """Go back to the last choice where the model has lost its way, ban what was chosen there, choose again."""

    name: ClassVar[str] = "backtrack"
    summary: ClassVar[str] = "takes the last unsure choice back, bans it, chooses again"

    window: int = parameter(1, 1, 1000, doc="tokens whose mean entropy is compared with threshold, for trigger entropy")
    reach: int = parameter(16, 1, 1000, doc="how many tokens it goes back at most")
    retries: int = parameter(2, 1, 100, doc="times at one place")
    rewinds: int = parameter(8, 1, 1000, doc="times in an answer")

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        return frozenset({"rewind"})

    def branches(self, plan: SearchPlan) -> int:
        return 2  # one is written at a time, but max_sequences=1 is plain decoding

    def begin(self, plan: SearchPlan) -> Tactic:
        return GoBack(self)


class GoBack(Tactic):
    """Never loops: `retries` per place, `rewinds` per answer, and never behind what is certain."""

    def __init__(self, settings: Backtrack) -> None:
        self.settings = settings
        self.used = 0
        self.behind: dict[int, int] = {}
        """By branch: the answer position before which nothing is taken back."""

    def instead(self, search: Exploration, place: Place) -> bool:
        branch, settings = place.branch, self.settings
        least = max(place.at - settings.reach, self.behind.get(branch.number, branch.origin), 0)
        self.behind[branch.number] = least
        if search.busy(branch) or self.used >= settings.rewinds or search.host.affordable(2) < 2:
            return False
        at = self._choice(branch, least) if self._lost(place) else None
        if at is None:
            return False
        self.used += 1
        search.rewind(branch, at)
        return True

    def _lost(self, place: Place) -> bool:
        settings = self.settings
        if settings.trigger == "entropy" and settings.window > 1 and place.step.entropy is not None:
            last = [s.entropy for s in place.branch.steps[1 - settings.window :] if s.entropy is not None]
            window = [*last, place.step.entropy]
            return len(window) == settings.window and sum(window) / len(window) > settings.threshold
        return fires(settings, place, (Regime.RESAMPLE,))

    def _choice(self, branch: Ballot, least: int) -> int | None:
        """The last place from `least` on where the model was not sure and may still choose differently."""
        for at in range(len(branch.steps) - 1, least - 1, -1):
            step = branch.steps[at]
            if step.action == Action.INJECT:
                return None
            if step.regime != Regime.FLOW and len(branch.banned.get(at, ())) < self.settings.retries:
                return at
        return None

    def certain(self, search: Exploration) -> int | None:
        if self.used >= self.settings.rewinds:
            return None
        trunk = search.host.trunk
        return max(len(trunk.steps) - self.settings.reach, self.behind.get(trunk.number, 0), 0)

    def replaced(self, old: Ballot, new: Ballot) -> None:
        self.behind[new.number] = self.behind.get(old.number, 0)
