"""Where the values of a JSON text stand: every string, number, true, false and null with its path."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_FENCE = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)(?:^ {0,3}```|\Z)", re.DOTALL | re.MULTILINE)
MOST_DEEP = 200
"""Objects and lists within each other that are read."""


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value that holds no other: a string, a number, true, false, null, or an empty object or list. path: the keys
    and indices that lead to it; start, end: its characters, of a string those between its quotes."""

    path: Path
    start: int
    end: int
    value: Any

    @property
    def is_empty(self) -> bool:
        """Whether it is an object or a list, of which nothing stands in it."""
        return isinstance(self.value, (dict, list))


class _Broken(Exception):
    """The text is no JSON from here on."""


def same(one: Any, other: Any) -> bool:
    """Whether two values without others in them are the same in JSON, where 1 is 1.0 and not true."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def blocks(text: str) -> list[tuple[int, int]]:
    """The characters of a text that may be JSON: all of it, or what stands in its fences."""
    if text.lstrip()[:1] in ("{", "["):
        return [(0, len(text))]
    return [m.span(1) for m in _FENCE.finditer(text) if m[1].lstrip()[:1] in ("{", "[")]


def scan(text: str, start: int = 0, end: int | None = None, *, partial: bool = False) -> list[JsonValue] | None:
    """The values of a JSON text in order, in time linear in it; None for a text that is no JSON. start, end: where it
    stands in `text`. partial: of a text that was cut off, or is none from some place on, the values before. Where an
    object has a key twice the last counts, as it does for whoever reads the text."""
    end = len(text) if end is None else end
    found: list[JsonValue | None] = []
    whole = False
    with suppress(_Broken):
        whole = _skip(text, _value(text, _skip(text, start), (), found)) >= end
    return [value for value in found if value is not None] if whole or partial else None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _value(text: str, at: int, path: Path, found: list[JsonValue | None]) -> int:
    """Read the value that begins at `at`; where it ends."""
    if len(path) > MOST_DEEP:
        raise _Broken
    if text.startswith("{", at):
        return _members(text, at, path, found)
    if text.startswith("[", at):
        return _items(text, at, path, found)
    if match := _STRING.match(text, at):
        found.append(JsonValue(path, at + 1, match.end() - 1, json.loads(match[0])))
    elif match := _SCALAR.match(text, at):
        try:
            found.append(JsonValue(path, at, match.end(), json.loads(match[0])))
        except ValueError:  # more digits than Python reads
            raise _Broken from None
    else:
        raise _Broken
    return match.end()


def _members(text: str, begin: int, path: Path, found: list[JsonValue | None]) -> int:
    at = _skip(text, begin + 1)
    if text.startswith("}", at):
        found.append(JsonValue(path, begin, at + 1, {}))
        return at + 1
    read: dict[str, tuple[int, int]] = {}
    while True:
        key = _STRING.match(text, at)
        colon = -1 if key is None else _skip(text, key.end())
        if key is None or not text.startswith(":", colon):
            raise _Broken
        name, first = json.loads(key[0]), len(found)
        for n in range(*read.get(name, (0, 0))):  # the same key before
            found[n] = None
        at = _skip(text, _value(text, _skip(text, colon + 1), (*path, name), found))
        read[name] = first, len(found)
        if text.startswith("}", at):
            return at + 1
        if not text.startswith(",", at):
            raise _Broken
        at = _skip(text, at + 1)


def _items(text: str, begin: int, path: Path, found: list[JsonValue | None]) -> int:
    at = _skip(text, begin + 1)
    if text.startswith("]", at):
        found.append(JsonValue(path, begin, at + 1, []))
        return at + 1
    n = 0
    while True:
        at = _skip(text, _value(text, at, (*path, n), found))
        n += 1
        if text.startswith("]", at):
            return at + 1
        if not text.startswith(",", at):
            raise _Broken
        at = _skip(text, at + 1)
