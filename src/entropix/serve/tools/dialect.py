"""Arguments as Gemma writes them: JSON whose keys are bare and whose strings stand between marks of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from entropix.errors import ParameterError
from entropix.uncertainty.options import referred

SCALARS = {
    "integer": r"/-?(0|[1-9][0-9]{0,15})/",
    "number": r"/-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,3})?/",
    "boolean": '("true" | "false")',
    "null": '"null"',
}
DEEPEST = 12
KEY = re.compile(r"[^\s:{}\[\],\"<>]+")


def dialect_rules(name: str, schema: Mapping[str, Any], quote: str) -> list[str]:
    """Lark rules for arguments of `schema`, the first called `name`. quote: the mark around strings, as a Lark literal.

    Kept: type, properties, required, items, enum, const, anyOf, oneOf and $ref within; the rest of a schema has no
    counterpart in this dialect. Raises ParameterError for keys that it cannot write."""
    maker = _Rules(name, schema, quote)
    maker.rule(name, schema, 0)
    return maker.rules


class _Rules:
    def __init__(self, name: str, document: Mapping[str, Any], quote: str) -> None:
        self.name, self.document, self.quote = name, document, quote
        self.rules: list[str] = []
        self.count = 0

    def rule(self, name: str, schema: Any, depth: int) -> None:
        self.rules.append(f"{name}: {self.body(schema, depth)}")

    def body(self, schema: Any, depth: int) -> str:
        if depth > DEEPEST:
            raise ParameterError(f"tools: a schema is nested more than {DEEPEST} levels deep")
        schema = referred(self.document, schema)
        if not isinstance(schema, Mapping):
            schema = {}
        choices = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(choices, list) and choices:
            return f"({' | '.join(self.body(choice, depth + 1) for choice in choices)})"
        if "const" in schema or isinstance(schema.get("enum"), list):
            values = schema.get("enum", [schema.get("const")])
            return f"({' | '.join(self._constant(value) for value in values)})"
        kinds = schema.get("type", "object" if "properties" in schema else ["string", "number", "boolean", "null"])
        listed = kinds if isinstance(kinds, list) else [kinds]
        return f"({' | '.join(self._of_type(kind, schema, depth) for kind in listed)})"

    def _of_type(self, kind: Any, schema: Mapping[str, Any], depth: int) -> str:
        if kind in SCALARS:
            return SCALARS[kind]
        if kind == "array":
            item = self._named(schema.get("items"), depth)
            return f'"[" ({item} ("," {item})*)? "]"'
        if kind == "object":
            return self._object(schema, depth)
        return f"{self.quote} /[^<]*/ {self.quote}"

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            return '"{" "}"'
        required = schema.get("required", [])
        members = []
        for key, part in properties.items():
            if not KEY.fullmatch(key):
                raise ParameterError(f"tools: this model's format cannot write the parameter name {key!r}")
            members.append((f'"{key}:" {self._named(part, depth)}', key in required))
        return f'"{{" {self._members(members)} "}}"'

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """Members in order, those not required left out or not, with commas between those that are there."""
        starts, tail = [], ""
        for n, (member, needed) in enumerate(members):
            following = self._after(members[n + 1 :])
            starts.append(f"{member}{following}")
            if needed:
                break
        else:
            tail = "?"
        return f"({' | '.join(starts)}){tail}"

    def _after(self, members: list[tuple[str, bool]]) -> str:
        return "".join(f' ("," {member}){"" if needed else "?"}' for member, needed in members)

    def _named(self, schema: Any, depth: int) -> str:
        self.count += 1
        name = f"{self.name}_{self.count}"
        self.rule(name, schema, depth + 1)
        return name

    def _constant(self, value: Any) -> str:
        if isinstance(value, str):
            return f"{self.quote} {json.dumps(value, ensure_ascii=False)} {self.quote}" if value else (self.quote * 2)
        return json.dumps(json.dumps(value))


def from_dialect(text: str, mark: str) -> str:
    """Whole arguments in this dialect as JSON text. Raises ValueError for what is not of it."""
    value, end = _value(text, 0, mark)
    if text[end:].strip():
        raise ValueError(f"more text behind the arguments: {text[end : end + 20]!r}")
    return json.dumps(value, ensure_ascii=False)


def _value(text: str, at: int, mark: str) -> tuple[Any, int]:
    if text.startswith(mark, at):
        end = text.index(mark, at + len(mark))
        return text[at + len(mark) : end], end + len(mark)
    if text[at : at + 1] == "{":
        members: dict[str, Any] = {}
        at += 1
        while text[at : at + 1] != "}":
            if text.startswith(mark, at):
                key, at = _value(text, at, mark)
                colon = at
            else:
                colon = text.index(":", at)
                key = text[at:colon]
            members[key], at = _value(text, colon + 1, mark)
            at += text[at : at + 1] == ","
        return members, at + 1
    if text[at : at + 1] == "[":
        items = []
        at += 1
        while text[at : at + 1] != "]":
            item, at = _value(text, at, mark)
            items.append(item)
            at += text[at : at + 1] == ","
        return items, at + 1
    found = re.compile(r"[^,}\]\s]+").match(text, at)
    if found is None:
        raise ValueError(f"no value at character {at}")
    return json.loads(found[0]), found.end()
