"""Where in a text its answer stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
