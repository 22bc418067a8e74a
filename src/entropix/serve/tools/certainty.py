"""How sure a call is: the probability of calling at all, of the name, and of each argument."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from entropix.serve.tools.speech import Span, WrittenCall
from entropix.types import Step

Spelled = Sequence[tuple[Step, Span]]
"""Each step with the characters that it added."""


def certainties(calls: Sequence[WrittenCall], steps: Spelled, *, forced: bool) -> list[dict[str, Any]]:
    """Of each call `probability`: `call`, `name` and `arguments`, each the product of the probabilities of the tokens
    that write it, under what the grammar allowed there; a token that was forced counts 1. forced: a call was required,
    so that the first has no probability of being made. None stands for what cannot be said: an injected text, or
    arguments that were cut off or are written in another form than JSON."""
    found = []
    for n, call in enumerate(calls):
        said = {
            "call": None if forced and n == 0 else _product(steps, call.lead),
            "name": _product(steps, call.name_span),
            "arguments": {
                name: _product(steps, (call.start + start, call.start + end))
                for name, (start, end) in _members(call).items()
            },
        }
        found.append({"id": call.id, "name": call.name, "probability": said})
    return found


def calling(steps: Sequence[Step], begins: Sequence[str]) -> float | None:
    """The probability with which a text that made no call would have begun one instead of its first token, as far as it
    is among the leading candidates; None without any. begins: what a call begins with."""
    if not steps or not steps[0].leading:
        return None
    return sum(c.before for c in steps[0].leading if any(b.startswith(c.label.strip() or "\0") for b in begins))


def _product(steps: Spelled, span: Span) -> float | None:
    start, end = span
    total = 0.0
    for step, (first, last) in steps:
        if first < end and last > start and last > first:
            if step.logprob is None:
                return None
            total += step.logprob
    return math.exp(total)


def _members(call: WrittenCall) -> dict[str, Span]:
    """Where in the arguments each value stands."""
    if not call.whole:
        return {}
    text, decode = call.arguments, json.JSONDecoder().raw_decode
    found: dict[str, Span] = {}
    at = _skip(text, 1)
    try:
        while text[at] != "}":
            name, at = decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
            _, end = decode(text, at)
            found[name] = (at, end)
            at = _skip(text, end)
            at = _skip(text, at + 1) if text[at] == "," else at
    except (ValueError, IndexError):
        return {}
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
