"""A vote that shares its ballots with other questions: the least decided gets the next one. docs/effort.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from entropix.errors import ParameterError
from entropix.numeric import is_integer
from entropix.search.host import ended
from entropix.search.moving import Question, draws
from entropix.search.samples import DrawSamples
from entropix.search.stopping import standing
from entropix.search.vote import Vote

if TYPE_CHECKING:
    from entropix.search.exploration import Exploration
    from entropix.search.spec import SearchPlan


class Pool:
    """The ballots of several questions, by the rule of `moving.allot`. each: ballots per question; most: of one.

    Raises ParameterError."""

    def __init__(self, each: int, most: int) -> None:
        if not is_integer(each) or not 1 <= each <= most:
            raise ParameterError(f"ballots={each!r} is out of range; allowed is an integer from 1 to {most}")
        self.each, self.most, self.first = each, most, min(2, each)
        self.budget = 0
        self.members: list[Member] = []
        self._named: list[int] | None = None

    def join(self) -> Member:
        """One more question, which is voted on."""
        self.budget += self.each
        self.members.append(Member(self, len(self.members)))
        return self.members[-1]

    def answer_once(self) -> None:
        """One more question, which takes one text and leaves the others the rest."""
        self.budget += self.each - 1

    def changed(self) -> None:
        """A ballot has begun or ended."""
        self._named = None

    @property
    def named(self) -> list[int]:
        """Whose ballots are to be drawn now."""
        if self._named is None:
            self._named = draws([member.question for member in self.members], self.budget, self.most, self.first)
        return self._named

    @property
    def spent(self) -> bool:
        """Whether no ballot runs and none will be drawn."""
        return not self.named and not any(member.question.running for member in self.members)


class Member:
    """One question of a pool."""

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool, self.number = pool, number
        self.question = Question()
        self.closed = False

    def report(self, leads: Sequence[float], running: int = 0) -> None:
        """leads: after each ballot that has ended; running: further ones that have begun."""
        if not self.closed:
            self.question = Question(tuple(leads), running)
            self.pool.changed()

    def close(self) -> None:
        """It takes no further ballot."""
        if not self.closed:
            known = (*self.question.leads, *[math.inf] * (self.pool.first - len(self.question.leads)))
            self.report((*known[:-1], math.inf))
            self.closed = True

    @property
    def due(self) -> int:
        """How many ballots it draws now."""
        return 0 if self.closed else self.pool.named.count(self.number)

    @property
    def waits(self) -> bool:
        """Whether it may still get a ballot."""
        return not self.closed and not self.pool.spent


@dataclass(frozen=True, kw_only=True)
class PooledVote(Vote):
    """A vote whose ballots come from a pool."""

    pooled: ClassVar[bool] = True

    member: Member = field(compare=False)

    @property
    def in_waves(self) -> bool:
        return True

    @property
    def waves_in_words(self) -> list[str]:
        return [*super().waves_in_words, f"{self.member.pool.each} ballots per question"]

    def begin(self, plan: SearchPlan) -> DrawPooled:
        return DrawPooled(self, self.samples(plan), self.member)


class DrawPooled(DrawSamples):
    """Draws the ballots that the pool gives to its question."""

    def __init__(self, settings: PooledVote, samples: int, member: Member) -> None:
        super().__init__(settings, samples, keep=False)
        self.member = member
        self._counted = 0
        """Ballots that have been reported."""

    def begin(self, search: Exploration) -> None:
        self.member.report((), 1)
        self._draw_due(search)

    def after(self, search: Exploration) -> None:
        while all(map(ended, search.lines)):
            if self._counted < len(search.lines):
                self._report(search)
            if not self.member.due:
                return
            for line in search.lines[1:]:
                search.host.release(line)
            self._draw_due(search)

    def waits(self, search: Exploration) -> bool:
        return self.member.waits and all(map(ended, search.lines))

    def end(self) -> None:
        self.member.close()

    def _draw_due(self, search: Exploration) -> None:
        wanted, before = self.member.due, len(search.lines)
        self._draw(search, wanted)
        begun = len(search.lines) - before
        self.member.report(self.member.question.leads, self.member.question.running + begun)
        if begun < wanted:  # no budget of tokens is left
            self.member.close()

    def _report(self, search: Exploration) -> None:
        counted = search.count()
        answers, ends = [b.answer for b in search.lines], [b.finish_reason for b in search.lines]
        self._counted = len(ends)
        self.member.report([standing(answers[:n], ends[:n], 1).lead for n in range(1, len(ends) + 1)])
        if counted is None or counted.decided:
            self.member.close()
