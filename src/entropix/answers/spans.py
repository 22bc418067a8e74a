"""Where in a text its answer stands, and how likely the text and its answer are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from entropix.types import BranchRecord, Step

NEAR = 64
"""Tokens from the end that are looked at one by one; answers before them are found by halving."""


def answer_span(pieces: Sequence[str], answer: str, extract: Callable[[str], str | None]) -> range | None:
    """Which tokens of a text its extractor reads the answer from, by the extractor alone; None for a text that does not
    give that answer.

    pieces: what each token adds to the text. The span ends with the token that completes the last reading of the answer
    and is the shortest run up to it that reads as the answer by itself. Where none of `NEAR` tokens does, as with an
    extractor that wants the whole text, it begins with the text. Source: this project."""

    def reads(start: int, end: int) -> bool:
        return extract("".join(pieces[start:end])) == answer

    end = len(pieces)
    if not reads(0, end):
        return None
    near = max(end - NEAR, 0)
    while end > near + 1 and reads(0, end - 1):
        end -= 1
    if end == near + 1 and reads(0, near):
        before, end = 0, near  # reads(0, before) does not hold, reads(0, end) does
        while end - before > 1:
            middle = (before + end) // 2
            before, end = (before, middle) if reads(0, middle) else (middle, end)
    start = next((n for n in range(end - 1, max(end - NEAR, 0) - 1, -1) if reads(n, end)), 0)
    return range(start, end)


class Likelihood(NamedTuple):
    """Log-probabilities of the model's own tokens of a stretch of text, nats, before temperature: their sum, mean and
    least, and how many they are."""

    sum: float
    mean: float
    least: float
    tokens: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Likelihood | None:
        """None where there is no token of the model's own, as in a text that was injected whole."""
        own = [v for v in values if v is not None]
        if not own:
            return None
        total = sum(own)
        return cls(round(total, 6), round(total / len(own), 6), round(min(own), 6), len(own))


def measured(
    pieces: Sequence[str],
    logprobs: Sequence[float | None],
    answer: str | None,
    extract: Callable[[str], str | None] | None,
) -> dict[str, Any]:
    """What is kept of a text beside its answer: its length, and the likelihood of the whole and of its answer."""
    span = None if answer is None or extract is None else answer_span(pieces, answer, extract)
    part = logprobs[span.start : span.stop] if span else ()
    return {"length": len(pieces), "whole": Likelihood.of(logprobs), "span": Likelihood.of(part)}


def branch_texts(
    branches: Sequence[BranchRecord],
    extract: Callable[[str], str | None] | None,
) -> list[dict[str, Any]]:
    """`measured` of every branch, each with what it shares with its parents."""
    return [
        measured([s.text for s in steps], [s.logprob for s in steps], b.answer, extract)
        for b, steps in zip(branches, whole_steps(branches), strict=True)
    ]


def whole_steps(branches: Sequence[BranchRecord]) -> list[tuple[Step, ...]]:
    """The steps of every branch from the answer's first token on, with those that it shares with its parents."""
    steps: dict[int, tuple[Step, ...]] = {}
    for b in branches:
        steps[b.number] = (*(steps[b.parent][: b.origin] if b.parent is not None else ()), *b.steps)
    return [steps[b.number] for b in branches]
