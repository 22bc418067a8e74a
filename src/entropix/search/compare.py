"""Run several continuations of one place side by side, keep the best, go on: what `lookahead` and `branch` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from entropix.parameters import parameter
from entropix.search.host import Place
from entropix.search.record import Ballot
from entropix.search.scores import SCORES, score
from entropix.search.strategy import Tactic
from entropix.search.trigger import Triggered, fires
from entropix.types import Regime, Step

if TYPE_CHECKING:
    from entropix.search.exploration import Exploration
    from entropix.search.spec import SearchPlan


@dataclass(frozen=True, kw_only=True)
class Comparing(Triggered):
    """A strategy that compares continuations and keeps one."""

    part: ClassVar[str] = "compares at once"
    regimes: ClassVar[tuple[Regime, ...]] = ()
    """Those that fire for trigger=regime."""

    width: int = parameter(3, 1, 64, doc="continuations compared")
    score: str = parameter("logprob", allowed=SCORES, doc="mean over the tokens that are compared")

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        return frozenset({"fork", "pause"})

    def branches(self, plan: SearchPlan) -> int:
        return self.width

    def begin(self, plan: SearchPlan) -> Compare:
        return Compare(self)

    def settled(self, steps: Sequence[Step]) -> bool:
        """Whether a continuation has come far enough to be compared. steps: its own, at least one."""
        raise NotImplementedError


@dataclass
class Contest:
    """Branches that differ from answer position `start` on; `members[0]` is the one they were opened from."""

    members: list[Ballot]
    start: int
    settled: set[int] = field(default_factory=set)


class Compare(Tactic):
    """Opens a contest where the trigger fires; members that have come far enough wait for the others."""

    def __init__(self, settings: Comparing) -> None:
        self.settings = settings
        self.contests: list[Contest] = []

    def busy(self, branch: Ballot) -> bool:
        return any(branch in contest.members for contest in self.contests)

    def before(self, search: Exploration, place: Place) -> None:
        branch = place.branch
        if search.busy(branch) or not fires(self.settings, place, self.settings.regimes):
            return
        room = search.room(self.settings.width - 1)
        others = place.alternatives(room, self.settings.ratio) if room > 0 else []
        if not others:
            return
        why = f"{place.step.regime.label}, H {place.step.entropy:.2f}"
        start = place.at
        children = [search.host.fork(place, other, why) for other in others]
        self.contests.append(Contest([branch, *children], start))

    def after(self, search: Exploration) -> None:
        for contest in list(self.contests):
            for member in contest.members:
                if member.number not in contest.settled and self._settled(member, contest.start):
                    contest.settled.add(member.number)
                    if not member.finish_reason:
                        search.host.pause(member)
            if len(contest.settled) == len(contest.members):
                self.contests.remove(contest)
                self._decide(search, contest)

    def _decide(self, search: Exploration, contest: Contest) -> None:
        for member in contest.members:
            member.score = score(member, contest.start, self.settings.score)
        best = max(contest.members, key=lambda m: (m.score or 0.0, -m.number))
        for member in contest.members:
            if member is not best:
                search.host.drop(member, f"branch {best.number} scored better", contest.start)
        search.replace(contest.members[0], best)
        if not best.finish_reason:
            search.host.resume(best)

    def _settled(self, branch: Ballot, start: int) -> bool:
        return bool(branch.finish_reason) or self.settings.settled(branch.steps[start:])

    def certain(self, search: Exploration) -> int | None:
        return min((c.start for c in self.contests if search.host.trunk in c.members), default=None)
