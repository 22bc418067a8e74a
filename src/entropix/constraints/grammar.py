"""What is asked of a text, before any model is known, and the checks that need no model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from entropix.constraints.endless import endless_inside, is_endless
from entropix.errors import ParameterError

LARGEST = 256 * 1024
"""Most characters of a schema or grammar. Beyond it a single step of the matcher can take half a second."""

MOST_MULTIPLES = 10_000
"""Largest least common multiple of a schema's multipleOf values: each is a state of an automaton that is built
before the text begins, and nothing else in llguidance bounds that (999,983 took 6 s and 450 MB)."""

_ENDLESS = (
    "constraint: no text can satisfy it but one that never ends: this JSON schema requires a property or an "
    "item that requires another of its own kind; make one of them optional"
)


@dataclass(frozen=True, slots=True)
class Grammar:
    """A constraint as it is asked for. Make one with `json_schema`, `regex` or `lark`.

    kind: "json_schema", "regex" or "lark"; text: in that language. lenient: leave out what a schema asks for and
    the matcher cannot keep, with a note, instead of refusing it. left_out: what has been, and why.
    """

    kind: str
    text: str
    lenient: bool = False
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.text:
            raise ParameterError(f"constraint: the {self.kind} is empty; give at least one character")
        if len(self.text) > LARGEST:
            raise ParameterError(f"constraint: the {self.kind} has {len(self.text)} characters; at most {LARGEST}")
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise ParameterError(
                f"constraint: the {self.kind} is not valid Unicode: lone surrogate at character {error.start}"
            ) from None


def json_schema(schema: Mapping[str, Any] | bool | str, *, lenient: bool = False) -> Grammar:
    """The text is JSON that this schema allows. schema: an object, true, or the JSON text of either.

    {"type": "object"} stands for any JSON object. Raises ParameterError; keywords that cannot be kept are refused
    when the constraint meets a model, unless `lenient`.
    """
    if isinstance(schema, str):
        schema = _parsed(schema)
    if schema is False:
        raise ParameterError("constraint: the JSON schema false allows no text at all")
    if schema is True:
        schema = {}
    if not isinstance(schema, Mapping):
        raise ParameterError(f"constraint: a JSON schema is an object or true, not {type(schema).__name__}")
    try:
        text = json.dumps(dict(schema), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"constraint: the JSON schema cannot be written as JSON: {error}") from None
    except RecursionError:
        raise ParameterError("constraint: the JSON schema is nested too deeply") from None
    grammar = Grammar("json_schema", text, lenient)
    common = _common_multiple(schema)
    if common > MOST_MULTIPLES:
        raise ParameterError(
            "constraint: the least common multiple of the JSON schema's multipleOf values, at their finest decimal, "
            f"is {common if common < 10**15 else 'above 10^15'}; allowed is at most {MOST_MULTIPLES}"
        )
    if is_endless(schema):
        raise ParameterError(_ENDLESS)
    return grammar


def regex(pattern: str) -> Grammar:
    """The text matches this regular expression from its beginning to its end. Syntax: Rust's `regex`, which has no
    look-around and no references to groups."""
    return Grammar("regex", _text(pattern, "regex"))


def lark(grammar: str) -> Grammar:
    """The text is derived from `start` in this grammar. Syntax: llguidance's variant of Lark."""
    asked = Grammar("lark", _text(grammar, "lark"))
    if endless_inside(grammar):
        raise ParameterError(_ENDLESS)
    return asked


def make_grammar(asked: Grammar | Mapping[str, Any]) -> Grammar:
    """A grammar as it is, a mapping as a JSON schema. Raises ParameterError."""
    if isinstance(asked, Grammar):
        return asked
    if isinstance(asked, Mapping):
        return json_schema(asked)
    raise ParameterError(
        f"constraint is a JSON schema (a dict), or json_schema(…), regex(…) or lark(…) of entropix.constraints, "
        f"not {type(asked).__name__}"
    )


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ParameterError(f"constraint: {what} takes a string, not {type(value).__name__}")
    return value


def _parsed(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ParameterError(f"constraint: {name} in the JSON schema is not JSON")

    if len(text) > LARGEST:
        raise ParameterError(f"constraint: the JSON schema has {len(text)} characters; at most {LARGEST}")
    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ParameterError(
            f"constraint: the JSON schema is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ParameterError("constraint: the JSON schema is nested too deeply") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise ParameterError(f"constraint: the JSON schema cannot be read: {error}") from None


def _common_multiple(schema: Any) -> int:
    """The least common multiple of all multipleOf values, counted in their finest decimal: of 0.25 and 3 it is 300."""
    values = [Decimal(str(value)) for value in _multiples(schema) if value > 0]
    digits = max((-int(v.as_tuple().exponent) for v in values), default=0)
    if digits > 15 or any(v > 10**15 for v in values):
        return 10**15
    return math.lcm(*(int(v.scaleb(max(digits, 0))) for v in values))


def _multiples(schema: Any) -> Iterator[int | float]:
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, Mapping):
            value = part.get("multipleOf")
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield value
            left += part.values()
        elif isinstance(part, (list, tuple)):
            left += part
