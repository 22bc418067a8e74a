"""One answer's search: several tactics on one set of branches, under one budget, on any host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entropix.search.ballots import Count, recognised
from entropix.search.host import Host, Place, ended
from entropix.search.record import Ballot, search_record
from entropix.search.strategy import Tactic
from entropix.types import SearchRecord

if TYPE_CHECKING:
    from entropix.search.spec import SearchPlan


class Exploration:
    """lines: the texts that are going to be ballots; where continuations are compared, the one they came from.

    The host calls `begin` once, `instead` and `before` at every place, `after` when all branches have taken their
    tokens, and `settle` to learn whether the answer is decided."""

    def __init__(self, plan: SearchPlan, host: Host) -> None:
        self.plan, self.host = plan, host
        self.lines: list[Any] = [host.trunk]
        self.tactics: list[Tactic] = [] if plan.max_sequences == 1 else [s.begin(plan) for s in plan.strategies]
        self.counted: Count[Any] | None = None
        self.notes: list[str] = []
        self.stopped = False
        """Whether the answer was ended from outside: by its reader, or a time limit."""
        self.ends: dict[int, int] = {}
        """By the number of each text that has ended, how many had ended before it."""

    def begin(self) -> None:
        for tactic in self.tactics:
            tactic.begin(self)

    def instead(self, place: Place) -> bool:
        """Whether something else was done than taking the proposed token."""
        return any(tactic.instead(self, place) for tactic in self.tactics)

    def before(self, place: Place) -> None:
        for tactic in self.tactics:
            tactic.before(self, place)

    def after(self) -> None:
        for tactic in self.tactics:
            tactic.after(self)

    def settle(self) -> Count[Any] | None:
        """The count, if it decides the answer: whatever else may come, or as all texts have ended."""
        if any(line.finish_reason for line in self.lines):
            self.counted = self.count()
        decides = self.counted is not None and (
            self.counted.decided or (all(map(ended, self.lines)) and not self.waits)
        )
        return self.counted if decides else None

    def decided(self) -> bool:
        """Whether the ballots cast decide the vote whatever else may come."""
        counted = self.count()
        return counted is not None and counted.decided

    @property
    def waits(self) -> bool:
        """Whether every text has ended, and other answers decide if there will be more."""
        return any(tactic.waits(self) for tactic in self.tactics)

    @property
    def cast(self) -> list[Any]:
        """The texts that have ended, which are the ballots."""
        return [line for line in self.lines if line.finish_reason]

    def count(self) -> Count[Any] | None:
        """The count of the texts that have ended; None without any."""
        self._note_ends()
        running = sum(not ended(line) for line in self.lines)
        outstanding = running + sum(tactic.outstanding(self) for tactic in self.tactics)
        return self.plan.decider.count(self.cast, outstanding, running)

    def close(self) -> Count[Any] | None:
        """The last count, where no further text will end; None without any that has."""
        self._note_ends()
        self.counted = self.plan.decider.count(self.cast, 0, 0)
        return self.counted

    def _note_ends(self) -> None:
        so_far = len(self.ends)
        self.ends |= {line.number: so_far for line in self.cast if line.number not in self.ends}

    def certain(self) -> int | None:
        """How many of the trunk's first tokens every possible answer shares; None for all."""
        return min((c for c in (tactic.certain(self) for tactic in self.tactics) if c is not None), default=None)

    def end(self) -> None:
        """The answer has ended, however."""
        for tactic in self.tactics:
            tactic.end()

    def record(self, branches: list[Any]) -> SearchRecord:
        """What has been tried, for the trace. branches: all there ever were."""
        said = [self.counted.note] if self.counted and self.counted.note else []  # so far: more texts may change it
        notes, trunk = [*self.notes, *recognised(self.plan), *said], self.host.trunk
        return search_record(self.plan.spec, branches, trunk, self.counted, notes, self.ends, self.stopped)

    # what a tactic can do beside what the host does

    def busy(self, branch: Ballot) -> bool:
        """Whether `branch` is being compared."""
        return any(tactic.busy(branch) for tactic in self.tactics)

    def room(self, wanted: int) -> int:
        """How many of `wanted` further branches the budgets allow."""
        return max(min(wanted, self.plan.max_sequences - self.host.live, self.host.affordable(wanted)), 0)

    def sample(self, wanted: int) -> int:
        """Draw as many of `wanted` further samples as the budgets allow, and say how many; each is a ballot."""
        return sum(self.add(child) is not None for child in self.host.sample(self.room(wanted)))

    def add(self, child: Any) -> Any:
        """A branch that was opened, or None, becomes a ballot."""
        if child is not None:
            self.lines.append(child)
        return child

    def rewind(self, branch: Ballot, at: int) -> None:
        """Take back what `branch` says from position `at` on."""
        self.host.rewind(branch, at)
        self.cut(branch, at)

    def cut(self, branch: Ballot, at: int) -> None:
        """Report to all tactics that `branch` has taken back its tokens from position `at` on."""
        for tactic in self.tactics:
            tactic.cut(branch, at)

    def replace(self, old: Ballot, new: Ballot) -> None:
        """`new` goes on in the place of `old`."""
        if old is new:
            return
        self.lines[self.lines.index(old)] = new
        if self.host.trunk is old:
            self.host.trunk = new
        for tactic in self.tactics:
            tactic.replaced(old, new)
