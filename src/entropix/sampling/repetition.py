"""Penalties on what has been said already, applied to logits before anything is measured.

repetition, presence and frequency as llama.cpp and vLLM have them; DRY as llama.cpp has it. They change the logits of
tokens that have occurred, and no others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from entropix.parameters import check_parameters, fitted, parameter, parse_spec, spec_of
from entropix.types import Array

BREAKERS = ("\n", ":", '"', "*")
"""Texts that end a repetition: a token that holds one is never penalised by DRY, and no repetition reaches over it."""

LARGEST_LOG = 88.7228391
"""ln of the largest float32, beyond which DRY's penalty grows no further."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """Settings of the penalties; the defaults switch each off. presence and frequency are of the answer, repetition
    and DRY of prompt and answer."""

    name: ClassVar[str] = "repetition"

    repetition: float = parameter(
        1.0, 0.01, 10.0, doc="divides positive logits of what has occurred, multiplies others"
    )
    presence: float = parameter(0.0, -2.0, 2.0, doc="subtracted once from the logit of a token of the answer")
    frequency: float = parameter(0.0, -2.0, 2.0, doc="subtracted for every time that a token stands in the answer")
    last: int = parameter(-1, -1, 1_000_000, doc="how many of the last tokens repetition and DRY look at; -1: all")
    dry_multiplier: float = parameter(0.0, 0.0, 100.0, doc="strength of DRY; 0 switches it off")
    dry_base: float = parameter(1.75, 1.0, 100.0, doc="DRY's penalty grows by this with every repeated token")
    dry_allowed_length: int = parameter(2, 0, 100_000, doc="how many tokens may be repeated for nothing")

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def active(self) -> bool:
        return (self.repetition, self.presence, self.frequency, self.dry_multiplier) != (1.0, 0.0, 0.0, 0.0)

    def __str__(self) -> str:
        return spec_of(self).partition(":")[2]


def make_repetition(asked: Repetition | str | None) -> Repetition:
    """Penalties from "repetition=1.1,dry_multiplier=0.8". Raises ParameterError."""
    if isinstance(asked, Repetition):
        return asked
    _, values = parse_spec(f"repetition:{asked or ''}")
    return Repetition(**fitted("repetition", Repetition, values))


def penalise(
    line: Array,
    settings: Repetition,
    prompt: Sequence[int],
    answer: Sequence[int],
    xp: Any,
    breaks: Callable[[int], bool],
) -> None:
    """Apply the penalties to one row of logits, `(vocabulary,)`, in place. breaks: whether a token holds one of
    BREAKERS."""
    everything = [*prompt, *answer]
    seen = everything[-settings.last :] if settings.last > 0 else everything if settings.last else []
    if settings.repetition != 1:
        ids = sorted(set(seen))
        z = line[ids]
        line[ids] = xp.where(z <= 0, z * settings.repetition, z / settings.repetition)
    if settings.presence or settings.frequency:
        counts = Counter(answer)
        less = [n * settings.frequency + settings.presence for n in counts.values()]
        _subtract(xp, line, list(counts), less)
    if settings.dry_multiplier:
        found = repeated(seen, settings.dry_allowed_length, breaks)
        most = LARGEST_LOG / math.log(settings.dry_base) if settings.dry_base > 1 else math.inf
        less = [
            settings.dry_multiplier * settings.dry_base ** min(length - settings.dry_allowed_length, most)
            for length in found.values()
        ]
        _subtract(xp, line, list(found), less)


def _subtract(xp: Any, line: Array, ids: list[int], less: list[float]) -> None:
    if ids:
        line[ids] = line[ids] - xp.asarray(less, dtype=line.dtype, device=getattr(line, "device", None))


def repeated(tokens: Sequence[int], allowed: int, breaks: Callable[[int], bool]) -> dict[int, int]:
    """For each token that would go on with a repetition: how many tokens before it repeat an earlier place. Only
    repetitions of at least `allowed` tokens that reach over no breaker."""
    n = len(tokens)
    if n <= allowed:
        return {}
    most = next((back for back in range(n) if breaks(tokens[n - 1 - back])), n)
    if most < allowed:
        return {}
    found: dict[int, int] = {}
    array = np.asarray(tokens)
    # places behind which the text goes on as it now might; without a token that is repeated each is one
    ends = np.flatnonzero(array[:-1] == array[-1]) if most else np.empty(0, np.int64)
    lengths = {int(end): _length(tokens, int(end), most) for end in ends}
    places = range(n - 1) if allowed == 0 else lengths
    for end in places:
        length, token = lengths.get(end, 0), tokens[end + 1]
        if length >= allowed and length > found.get(token, -1) and not breaks(token):
            found[token] = length
    return found


def _length(tokens: Sequence[int], end: int, most: int) -> int:
    """How many tokens up to `end` are those at the end of all, at most `most`."""
    length, last = 1, len(tokens) - 1
    while length < most and length <= end and tokens[end - length] == tokens[last - length]:
        length += 1
    return length
