"""Claim-conditioned probability: how sure the model is of what a token says, whatever way it says it.

At a place the chosen token and the recorded alternatives are classed. Those that say the same as the chosen one count
for it, those that say something else of the same kind against it, and the rest (punctuation, function words, tokens of
another kind) do not count. Fadeeva et al., arXiv 2403.04696, with equality in place of an NLI model: this project.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from entropix.types import Step

Claim: TypeAlias = tuple[str, str]
"""(kind, value) of what a token says."""

SAME, OTHER, NEITHER = "same", "other", "neither"

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_NUMBER = re.compile(r"^[+-]?\d+(?:[.,]\d+)*$")
_WORDS = """
    a an the this that these those some any each is are was were be been being has have had do does did will would
    can could may might shall should must of in on at by to for from with into about as than then so and or but nor if
    when while because since it its he she they we you i him her them us me his their our your my there here which who
    whom whose what also not just only very more most such
"""
FUNCTION_WORDS = frozenset(_WORDS.split())
"""English words that say nothing by themselves."""


@lru_cache(maxsize=65536)
def claim_of(label: str) -> Claim | None:
    """What a token says: a number, an option A … J that stands alone, or a word; None for one that says nothing by
    itself."""
    word = _EDGES.sub("", label)
    if not word:
        return None
    if _NUMBER.match(word):
        return "number", word.replace(",", "").lstrip("0") or "0"
    if len(word) == 1 and "A" <= word <= "J":
        return "option", word
    if not any(c.isalpha() for c in word):
        return None
    word = word.casefold()
    return None if word in FUNCTION_WORDS else ("word", word)


def relation(chosen: Claim | None, other: Claim | None) -> str:
    """Whether an alternative says the `SAME` as the chosen token, something `OTHER` of its kind, or `NEITHER`."""
    if chosen is None or other is None or chosen[0] != other[0]:
        return NEITHER
    return SAME if chosen == other else OTHER


def position(chosen: tuple[str, float], alternatives: Iterable[tuple[str, float]]) -> float:
    """ln of p(the chosen and those that say the same) / p(those and the ones that say something else), at most 0.

    chosen, alternatives: (label, probability); the alternatives without the chosen one."""
    claim, same, other = claim_of(chosen[0]), chosen[1], 0.0
    if claim is None or same <= 0:
        return 0.0
    for label, p in alternatives:
        found = relation(claim, claim_of(label))
        if found == SAME:
            same += p
        elif found == OTHER:
            other += p
    return -math.log1p(other / same)


def conditioned(steps: Sequence[Step]) -> float | None:
    """−Σ of `position` over the model's own tokens, nats; None where no alternatives were recorded."""
    total, seen = 0.0, False
    for step in steps:
        if step.logprob is None or not step.leading:
            continue
        seen = True
        total -= position(
            (step.label, math.exp(step.logprob)),
            ((c.label, c.before) for c in step.leading if c.token != step.token),
        )
    return total if seen else None
