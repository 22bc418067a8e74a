"""lookahead and branch: run several continuations of one place side by side, keep the best, go on.

Sources: Entropix's multi-sample and branch states; CNTP (cautious next-token prediction)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entropix.decoding import Branch, Decoder, Proposal
from entropix.search import config
from entropix.search.scores import score
from entropix.search.tactics import Tactic
from entropix.search.trigger import fires
from entropix.types import Regime

if TYPE_CHECKING:
    from entropix.search.explorer import Exploration

SENTENCE_ENDS = (".", "!", "?", "\n", "。")


@dataclass
class Contest:
    """Branches that differ from answer position `start` on; `members[0]` is the one they were opened from."""

    members: list[Branch]
    start: int
    settled: set[int] = field(default_factory=set)


class Compare(Tactic):
    """Opens a contest where the trigger fires; members that have come far enough wait for the others."""

    def __init__(self, settings: config.Lookahead | config.Branch) -> None:
        self.settings = settings
        self.contests: list[Contest] = []
        looks = isinstance(settings, config.Lookahead)
        self.regimes = (Regime.ADAPT, Regime.BRANCH) if looks else (Regime.BRANCH,)

    def busy(self, branch: Branch) -> bool:
        return any(branch in contest.members for contest in self.contests)

    def before(self, search: Exploration, decoder: Decoder, proposal: Proposal) -> None:
        branch = proposal.branch
        if search.busy(branch) or not fires(self.settings, proposal, self.regimes):
            return
        room = search.room(self.settings.width - 1)
        others = proposal.alternatives(room, self.settings.ratio) if room > 0 else []
        if not others:
            return
        why = f"{proposal.step.regime.label}, H {proposal.step.entropy:.2f}"
        start = len(branch.tokens)
        children = [search.fork(decoder, proposal, step, why) for step in others]
        self.contests.append(Contest([branch, *children], start))

    def after(self, search: Exploration, decoder: Decoder) -> None:
        for contest in list(self.contests):
            for member in contest.members:
                if member.number not in contest.settled and self._settled(member, contest.start):
                    contest.settled.add(member.number)
                    if not member.finish_reason:
                        decoder.pause(member)
            if len(contest.settled) == len(contest.members):
                self.contests.remove(contest)
                self._decide(search, decoder, contest)

    def _decide(self, search: Exploration, decoder: Decoder, contest: Contest) -> None:
        for member in contest.members:
            member.score = score(member, contest.start, self.settings.score)
        best = max(contest.members, key=lambda m: (m.score or 0.0, -m.number))
        for member in contest.members:
            if member is not best:
                decoder.drop(member, f"branch {best.number} scored better", start=contest.start)
        search.replace(contest.members[0], best)
        if not best.finish_reason:
            decoder.resume(best)

    def _settled(self, branch: Branch, start: int) -> bool:
        steps = branch.steps[start:]
        if branch.finish_reason or len(steps) >= self.settings.horizon:
            return True
        if isinstance(self.settings, config.Lookahead):
            return any(mark in step.text for step in steps[1:] for mark in SENTENCE_ENDS)
        last = steps[-self.settings.sure :]
        return len(steps) > self.settings.sure and all(step.regime == Regime.FLOW for step in last)

    def certain(self, search: Exploration) -> int | None:
        return min((c.start for c in self.contests if search.trunk in c.members), default=None)
