"""Scripted models, and searches, that more than one test file asks."""

from __future__ import annotations

import numpy as np

from entropix.engines.scripted import ASSISTANT, END, VOCABULARY
from entropix.types import Array

SEARCHES = (
    "vote:n=3,answer=text",
    "lookahead:trigger=entropy,threshold=0.5,horizon=5",
    "branch:trigger=entropy,threshold=0.5,horizon=6,sure=2",
    "backtrack:trigger=entropy,threshold=0.8",
    "tree:trigger=entropy,threshold=0.5,max_sequences=4",
)
"""A search of every kind, that acts often where a script is unsure."""


def seven_or_on_and_on(tokens: tuple[int, ...]) -> Array:
    """Says 7 and ends, or, a little likelier, 8 and goes on for ever."""
    said = tokens[max(i + 1 for i, t in enumerate(tokens) if t == ASSISTANT) :]
    out = np.full(VOCABULARY, -50.0)
    if not said:
        out[ord("7")], out[ord("8")] = 2.0, 2.1
    else:
        out[END if said[0] == ord("7") else ord("x")] = 20.0
    return out


def one_after_the_other(tokens: tuple[int, ...]) -> Array:
    """Says 2, 5 or 9, and blanks until the text is so long."""
    said = tokens[max(i + 1 for i, t in enumerate(tokens) if t == ASSISTANT) :]
    out = np.full(VOCABULARY, -50.0)
    if not said:
        out[[ord(digit) for digit in "259"]] = 2.0, 2.1, 2.0
    else:
        out[ord(" ") if len(said) < int(chr(said[0])) else END] = 20.0
    return out


def seven_or_eight(tokens: tuple[int, ...]) -> Array:
    """Says 7, or nearly as often 8, and ends."""
    said = tokens[max(i + 1 for i, t in enumerate(tokens) if t == ASSISTANT) :]
    out = np.full(VOCABULARY, -50.0)
    if not said:
        out[ord("7")], out[ord("8")] = 2.0, 1.9
    else:
        out[END] = 20.0
    return out
