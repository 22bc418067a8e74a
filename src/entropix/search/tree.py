"""tree: every fork is one more ballot. Forks at once (EAGer, Entropy-Tree), or at the best places of texts that have
ended, so that a fork can be chosen with the whole text known and costs only what comes after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from entropix.parameters import parameter
from entropix.search.host import Place, ended
from entropix.search.record import Ballot
from entropix.search.strategy import Tactic
from entropix.search.trigger import Triggered, fires
from entropix.types import Regime

if TYPE_CHECKING:
    from entropix.search.exploration import Exploration
    from entropix.search.spec import SearchPlan

UNSURE = (Regime.BRANCH, Regime.RESAMPLE)


@dataclass(frozen=True, kw_only=True)
class Tree(Triggered):
    """Fork where the model is unsure; every leaf is a ballot."""

    name: ClassVar[str] = "tree"
    summary: ClassVar[str] = "forks where the model is unsure, and lets all the texts vote"
    opens_ballots: ClassVar[bool] = True

    when: str = parameter(
        "now", allowed=("now", "end"), doc="fork at once, or at the best places of a text that has ended"
    )
    ballots: int = parameter(0, 0, 1024, doc="most leaves; 0: max_sequences")
    patience: int = parameter(1000, 1, 10**6, doc="tokens without a fork after which a branch forks no more")
    rounds: int = parameter(2, 1, 1024, doc="leaves opened together, for when=end")
    late: float = parameter(0.0, 0, 4, doc="for when=end: how much a place near the end is preferred, as it costs less")

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        return frozenset({"fork" if self.when == "now" else "fork_at"})

    def branches(self, plan: SearchPlan) -> int:
        return 4

    def begin(self, plan: SearchPlan) -> Tactic:
        ballots = self.ballots or plan.max_sequences
        return Fork(self, ballots) if self.when == "now" else ForkLater(self, ballots)


def worth(entropy: float, left: int, late: float) -> float:
    """How much a place promises where the entropy was `entropy` and after which `left` tokens follow."""
    return entropy / math.pow(max(left, 1), late)


class Fork(Tactic):
    """Forks at once: the parent keeps its token, the child takes the next likeliest."""

    def __init__(self, settings: Tree, ballots: int) -> None:
        self.settings, self.ballots = settings, ballots
        self.last: dict[int, int] = {}

    def before(self, search: Exploration, place: Place) -> None:
        branch, settings = place.branch, self.settings
        idle = place.at - self.last.get(branch.number, branch.origin)
        if search.busy(branch) or idle > settings.patience or len(search.lines) >= self.ballots:
            return
        if not fires(settings, place, UNSURE) or search.room(1) < 1:
            return
        why = f"{place.step.regime.label}, H {place.step.entropy:.2f}"
        for alternative in place.alternatives(1, settings.ratio):
            child = search.add(search.host.fork(place, alternative, why))
            if child is not None:
                self.last[branch.number] = self.last[child.number] = place.at

    def certain(self, search: Exploration) -> int | None:
        return min((line.origin for line in search.lines if line.parent is not None), default=None)

    def outstanding(self, search: Exploration) -> int:
        return max(self.ballots - len(search.lines), 0)


@dataclass(eq=False)
class Promise:
    """A place where another token was possible, and the entropy there."""

    line: Ballot
    at: int
    alternative: Any
    entropy: float


class ForkLater(Tactic):
    """Remembers the alternatives and opens the most valuable once every text so far has ended."""

    def __init__(self, settings: Tree, ballots: int) -> None:
        self.settings, self.ballots = settings, ballots
        self.promises: list[Promise] = []

    def before(self, search: Exploration, place: Place) -> None:
        if search.busy(place.branch) or not fires(self.settings, place, (*UNSURE, Regime.ADAPT)):
            return
        for alternative in place.alternatives(1, self.settings.ratio):
            self.promises.append(Promise(place.branch, place.at, alternative, place.step.entropy or 0.0))

    def after(self, search: Exploration) -> None:
        if not all(map(ended, search.lines)) or search.decided():
            return
        left = min(self.settings.rounds, self.ballots - len(search.lines))
        for promise in sorted(self._possible(), key=self._value, reverse=True):
            if left < 1 or search.room(1) < 1:
                return
            self.promises.remove(promise)
            why = f"afterwards, H {promise.entropy:.2f}"
            if search.add(search.host.fork_at(promise.line, promise.at, promise.alternative, why)) is not None:
                left -= 1

    def _possible(self) -> list[Promise]:
        return [p for p in self.promises if not p.line.gone and p.at < len(p.line.steps)]

    def _value(self, promise: Promise) -> tuple[float, int, int]:
        left = len(promise.line.steps) - promise.at
        return worth(promise.entropy, left, self.settings.late), -promise.line.number, -promise.at

    def cut(self, branch: Ballot, at: int) -> None:
        self.promises = [p for p in self.promises if p.line is not branch or p.at < at]

    def certain(self, search: Exploration) -> int | None:
        return 0

    def outstanding(self, search: Exploration) -> int:
        return max(self.ballots - len(search.lines), 0)
