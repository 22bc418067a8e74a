"""Ballots that move between questions: the next goes to the question that is least decided. Source: this project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """How far one question of a batch is. leads: its winner's lead, in ballots, after its first ballot, its first two,
    and so on, as far as they have all ended. running: its further ballots that have begun."""

    leads: Sequence[float] = ()
    running: int = 0

    @property
    def begun(self) -> int:
        return len(self.leads) + self.running

    def lead(self, ballots: int) -> float:
        """After so many ballots."""
        return self.leads[ballots - 1] if ballots else 0.0


def draws(questions: Sequence[Question], budget: int, most: int, first: int = 2) -> list[int]:
    """Which questions get one more ballot now, most urgent first; the rule is that of `allot`."""
    _, named = allot(questions, budget, most, first)
    return named


def allot(questions: Sequence[Question], budget: int, most: int, first: int = 2) -> tuple[list[int], list[int]]:
    """How many ballots each question gets for certain, and which questions' next ballots are to be drawn now.

    The rule: `first` ballots each, in order; then always one for the question with the smallest lead (of equals the one
    with fewer ballots, then the one that comes first), at most `most` each, none where the winner cannot be overtaken
    within `most`, until `budget` ballots have been cast over all questions.

    The rule is followed from its beginning. Where it comes to a ballot that has not ended, it continues with the other
    questions as long as it will come to them whatever that question's ballots say: as all that those can still take
    leaves something of the budget. So the same ballots are drawn in any batch, in any order of finishing, as if one
    were drawn at a time. Where nothing runs the first one named is the next draw of the rule, and an empty list means
    that there is none."""
    used, unknown, named = [0] * len(questions), set(), []
    left = budget

    def take(n: int) -> None:
        nonlocal left
        used[n] += 1
        left -= 1
        if used[n] > len(questions[n].leads):
            unknown.add(n)
        if used[n] > questions[n].begun:
            named.append(n)

    for n in range(len(questions)):
        for _ in range(min(first, most, left)):
            take(n)
    while True:
        known = [n for n in range(len(questions)) if n not in unknown and used[n] < most]
        undecided = [n for n in known if questions[n].lead(used[n]) <= most - used[n]]
        if not undecided or left <= sum(most - used[n] for n in unknown):
            return used, named
        take(min(undecided, key=lambda n: (questions[n].lead(used[n]), used[n], n)))
