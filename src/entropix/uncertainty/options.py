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
from entropix.uncertainty.values import Path, same, scan

_LISTED: Mapping[str, list[Any]] = {"boolean": [True, False], "null": [None]}
"""What a type allows that has so few values."""


@dataclass(frozen=True, slots=True)
class EnumOptions:
    """An enum's options where an answer has chosen one. weighed: each with its probability among the options; mass:
    what the model gives all of them together without a constraint; chosen: the option that the answer has."""

    weighed: tuple[tuple[Any, float], ...]
    mass: float
    chosen: Any

    @property
    def probabilities(self) -> dict[Any, float]:
        """By option. Of 1 and true, which are one key in Python, `weighed` has both."""
        return dict(self.weighed)


def enums(schema: Mapping[str, Any], path: Path) -> list[Any] | None:
    """The options that a JSON schema allows at a path: those of its `enum` or `const`, both truth values of a boolean,
    null; under `anyOf` and `oneOf` those of all. None where another value is allowed too, or where that depends on
    other values."""
    at: Any = schema
    for key in path:
        beneath = [inner for one in alternatives(schema, at) if (inner := _beneath(one, key)) is not None]
        if len(beneath) != 1:
            return None
        at = beneath[0]
    found: list[Any] = []
    for one in alternatives(schema, at):
        options = _options(one)
        if options is None:
            return None
        found += [v for v in options if not any(same(v, other) for other in found)]
    return found or None


def _beneath(schema: Mapping[str, Any], key: str | int) -> Any:
    """The schema of an object's or a list's value; None for none."""
    if isinstance(key, str):
        found = (schema.get("properties") or {}).get(key, schema.get("additionalProperties"))
    else:
        prefix = schema.get("prefixItems") or []
        found = prefix[key] if key < len(prefix) else schema.get("items")
    return found if isinstance(found, Mapping) else None


def _options(schema: Mapping[str, Any]) -> list[Any] | None:
    """What a schema without alternatives allows, where that can be listed."""
    if "const" in schema:
        listed: Any = [schema["const"]]
    elif "enum" in schema:
        listed = schema["enum"]
    else:
        kinds = schema.get("type")
        each = [_LISTED.get(str(kind)) for kind in (kinds if isinstance(kinds, list) else [kinds])]
        listed = None if None in each else [v for values in each for v in values or ()]
    if not isinstance(listed, list) or any(isinstance(v, (dict, list)) for v in listed):
        return None
    return listed


def alternatives(schema: Mapping[str, Any], at: Any, deep: int = 8) -> list[Mapping[str, Any]]:
    """The schemas of which a value at `at` keeps to one: what `$ref`, `anyOf`, `oneOf` and an `allOf` of one lead to,
    `{}` for what is not followed. Optional fields and enumerations of Pydantic are written so."""
    at = referred(schema, at)
    if not isinstance(at, Mapping) or not deep:
        return [{}]
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(inner := at.get(name), list) and (name != "allOf" or len(inner) == 1):
            return [found for one in inner for found in alternatives(schema, one, deep - 1)]
    return [at]


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
        if not allowed or not any(same(value.value, option) for option in allowed):
            continue
        begin = value.start - isinstance(value.value, str)
        first = next(n for n, end in enumerate(ends) if end > begin)
        lead = text[ends[first] - len(steps[first].text) : begin]
        # a number or a word is ended by what stands behind it in the answer, or could go on
        after = value.end + isinstance(value.value, str)
        behind = "" if all(isinstance(v, str) for v in allowed) else text[after : after + 1]
        texts = [lead + json.dumps(v, ensure_ascii=False) + behind for v in allowed]
        context = [*prompt, *(step.token for step in steps[:first])]
        pairs = [(context, engine.tokenizer.encode(t)) for t in texts]
        scored = yield from scoring(engine, pairs, sequences=sequences, chunk=chunk)
        sums = np.asarray([score.logprob for score in scored])
        total = float(np.logaddexp.reduce(sums))
        made[value.path] = EnumOptions(
            tuple((v, math.exp(s - total)) for v, s in zip(allowed, sums.tolist(), strict=True)),
            math.exp(min(total, 0.0)),
            value.value,
        )
    return made
