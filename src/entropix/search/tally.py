"""Adding up ballots: which of them vote, and what each answer weighs."""

from __future__ import annotations

from collections.abc import Sequence

CUT_OFF = ("length", "context", "constraint")


def voting(ends: Sequence[str]) -> list[bool]:
    """Which ballots vote, by how their texts ended: one that was cut off mentions numbers without having answered, and
    abstains unless all were cut off."""
    whole = [end not in CUT_OFF for end in ends]
    return whole if any(whole) else [True] * len(whole)


def tally(answers: Sequence[str | None], weights: Sequence[float], ends: Sequence[str]) -> dict[str, float]:
    """Each answer's weight, largest first, of equals the one cast first. One entry per ballot, in order of casting."""
    sums: dict[str, float] = {}
    for answer, weight, votes in zip(answers, weights, voting(ends), strict=True):
        if answer is not None and votes:
            sums[answer] = sums.get(answer, 0.0) + weight
    return {answer: sums[answer] for answer in sorted(sums, key=lambda a: -sums[a])}
