"""The probability of every option of an enum, by fork and forward: of all of them, not of those in a top-k."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from entropix.engines import Engine
from entropix.engines.scoring import finished, scoring
from entropix.errors import ParameterError
from entropix.types import Step
from entropix.uncertainty.values import Path, scan


@dataclass(frozen=True, slots=True)
class EnumOptions:
    """An enum's options where an answer has chosen one. probabilities: of each, among the options; mass: what the model
    gives all of them together without a constraint; chosen: the option that the answer has."""

    probabilities: dict[Any, float]
    mass: float
    chosen: Any


def enums(schema: Mapping[str, Any], path: Path) -> list[Any] | None:
    """The options that a JSON schema allows at a path: its `enum`, or both truth values of a boolean; None where there
    are none, or where that depends on other values."""
    at: Any = schema
    for key in path:
        at = referred(schema, at)
        if isinstance(key, str):
            at = at.get("properties", {}).get(key) if isinstance(at, Mapping) else None
        else:
            prefix = at.get("prefixItems", []) if isinstance(at, Mapping) else []
            at = prefix[key] if key < len(prefix) else at.get("items") if isinstance(at, Mapping) else None
        if not isinstance(at, Mapping):
            return None
    at = referred(schema, at)
    if not isinstance(at, Mapping):
        return None
    if isinstance(at.get("enum"), Sequence):
        return [v for v in at["enum"] if v is None or isinstance(v, (str, int, float, bool))]
    return [True, False] if at.get("type") == "boolean" else None


def referred(schema: Mapping[str, Any], at: Any) -> Any:
    """What stands where `$ref` of `at` points to within a JSON schema; `at` itself without one."""
    for _ in range(20):  # a reference to a reference, but not for ever
        if not isinstance(at, Mapping) or not str(at.get("$ref", "")).startswith("#/"):
            return at
        target: Any = schema
        for part in at["$ref"][2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            target = target.get(part) if isinstance(target, Mapping) else None
        at = target
    return at


def options_of(
    engine: Engine, prompt: Sequence[int], text: str, steps: Sequence[Step], schema: Mapping[str, Any]
) -> dict[Path, EnumOptions]:
    """Of every value of a JSON answer that is one of a schema's options, what the model gives each of them there.

    prompt: the tokens before the answer. Every option stands in the answer's place with what ends it, in the
    tokenizer's own tokens, and is forwarded from the shared prefix; no token is drawn. Raises ParameterError for a text
    that is no JSON, CapacityError where the engine has no room."""
    return finished(weighing(engine, prompt, text, steps, schema))


def weighing(
    engine: Engine,
    prompt: Sequence[int],
    text: str,
    steps: Sequence[Step],
    schema: Mapping[str, Any],
    *,
    sequences: int | None = None,
    chunk: int | None = None,
) -> Generator[int, None, dict[Path, EnumOptions]]:
    """`options_of` beside others that use the engine, as `engines.scoring.scoring`."""
    found = scan(text, partial=True)
    if not found:
        raise ParameterError("options are read off a JSON answer, and this text is none")
    ends = list(accumulate(len(step.text) for step in steps))
    made = {}
    for value in found:
        allowed = enums(schema, value.path)
        if not allowed or value.value not in allowed:
            continue
        begin = value.start - isinstance(value.value, str)
        first = next(n for n, end in enumerate(ends) if end > begin)
        lead = text[ends[first] - len(steps[first].text) : begin]
        # a number or a word is ended by what stands behind it in the answer, or could go on
        behind = "" if isinstance(value.value, str) else text[value.end : value.end + 1]
        texts = [lead + json.dumps(v, ensure_ascii=False) + behind for v in allowed]
        context = [*prompt, *(step.token for step in steps[:first])]
        pairs = [(context, engine.tokenizer.encode(t)) for t in texts]
        scored = yield from scoring(engine, pairs, sequences=sequences, chunk=chunk)
        sums = np.asarray([score.logprob for score in scored])
        total = float(np.logaddexp.reduce(sums))
        made[value.path] = EnumOptions(
            {v: math.exp(s - total) for v, s in zip(allowed, sums.tolist(), strict=True)},
            math.exp(min(total, 0.0)),
            value.value,
        )
    return made
