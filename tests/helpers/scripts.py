"""Scripted models that more than one test file asks."""

from __future__ import annotations

import numpy as np

from entropix.engines.scripted import ASSISTANT, END, VOCABULARY
from entropix.types import Array


def seven_or_on_and_on(tokens: tuple[int, ...]) -> Array:
    """Says 7 and ends, or, a little likelier, 8 and goes on for ever."""
    said = tokens[max(i + 1 for i, t in enumerate(tokens) if t == ASSISTANT) :]
    out = np.full(VOCABULARY, -50.0)
    if not said:
        out[ord("7")], out[ord("8")] = 2.0, 2.1
    else:
        out[END if said[0] == ord("7") else ord("x")] = 20.0
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
