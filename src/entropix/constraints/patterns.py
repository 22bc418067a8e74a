"""Regular expressions of JSON schemas that the matcher does not know, left out where a schema need not be kept whole.

Schemas come with JavaScript's expressions (zod's of an e-mail address looks ahead), the matcher has Rust's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entropix.constraints.parts import mapped


def without_patterns(schema: Any, problem_of: Callable[[str], str]) -> tuple[Any, tuple[str, ...]]:
    """`schema` without the patterns that have a problem, and what was left out and why.

    problem_of: why a pattern cannot be kept, "" if it can."""
    left_out: dict[str, None] = {}

    def unknown(pattern: Any) -> bool:
        problem = problem_of(pattern) if isinstance(pattern, str) else ""
        if problem:
            left_out[f"the pattern {pattern!r}: {problem}"] = None
        return bool(problem)

    def known(part: dict[str, Any]) -> dict[str, Any]:
        if unknown(part.get("pattern")):
            del part["pattern"]
        named = part.get("patternProperties")
        if isinstance(named, dict):
            part["patternProperties"] = {key: value for key, value in named.items() if not unknown(key)}
            if len(part["patternProperties"]) < len(named):
                # what these names allowed would be forbidden as being none of the schema's
                part.pop("additionalProperties", None)
                part.pop("unevaluatedProperties", None)
        return part

    return mapped(schema, known), tuple(left_out)
