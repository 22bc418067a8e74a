"""How different texts are from one another, and how much a text repeats itself. docs/evaluation.md."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text without their case; punctuation and white space are none."""
    return _WORD.findall(text.casefold())


def distinct(texts: Sequence[str], n: int = 2) -> float | None:
    """Distinct-n (Li et al. 2016): of all n-grams of words of these texts, the share that differ from one another.
    It falls with the length of the texts, so only texts of like length are compared. None where no text has n words.

    Raises ValueError for n below 1."""
    found = [gram for text in texts for gram in _grams(words(text), n)]
    return len(set(found)) / len(found) if found else None


def repeated(text: str, n: int = 4) -> float | None:
    """Seq-rep-n (Welleck et al. 2020): the share of a text's n-grams of words that stood in it before. None where it
    has fewer than n words.

    Raises ValueError for n below 1."""
    share = distinct([text], n)
    return None if share is None else 1 - share


def _grams(found: Sequence[str], n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise ValueError(f"n={n} is out of range; allowed is a number from 1 up")
    return list(zip(*(found[k:] for k in range(n)), strict=False))
