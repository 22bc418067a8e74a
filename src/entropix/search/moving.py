"""Ballots that move between questions: the next goes to the question that is least decided. Source: this project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """How far one question of a batch is. cast: its ballots that have ended; running: those that have not; lead: its
    winner's, in ballots."""

    cast: int
    running: int = 0
    lead: float = 0.0


def draws(questions: Sequence[Question], budget: int, most: int, first: int = 2) -> list[int]:
    """Which questions get one more ballot now, most urgent first.

    The rule: `first` ballots each, in order; then always one for the question with the smallest lead (of equals the one
    with fewer ballots, then the one that comes first), at most `most` each, none where the winner cannot be overtaken
    within `most`, until `budget` ballots have been cast over all questions.

    A question is named only when the rule comes to it whatever the running ballots say and however they end. So the
    same ballots are drawn in any batch, in any order of finishing, as if one were drawn at a time. Where nothing runs
    the first one named is the next draw of the rule, and an empty list means that there is none."""
    left = budget - sum(q.cast + q.running for q in questions)
    named: list[int] = []
    for n, q in enumerate(questions):
        opening = min(first, most) - q.cast - q.running
        for _ in range(min(max(opening, 0), left)):
            named.append(n)
            left -= 1
    if left <= 0 or any(q.cast + q.running < min(first, most) for q in questions):
        return named
    # what may be drawn before a question's turn: all that the running ones and the less decided ones can still take
    before = sum(most - q.cast - q.running for q in questions if q.running)
    settled = [n for n, q in enumerate(questions) if not q.running and q.cast < most and q.lead <= most - q.cast]
    for n in sorted(settled, key=lambda n: (questions[n].lead, questions[n].cast, n)):
        if before >= left:
            break
        named.append(n)
        before += most - questions[n].cast
    return named
