"""Where the values of a JSON text stand: every string, number, true, false and null with its path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
MOST_DEEP = 200
"""Objects and lists within each other that are read."""


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value that is no object and no list. path: the keys and indices that lead to it; start, end: its characters, of
    a string those between its quotes."""

    path: Path
    start: int
    end: int
    value: Any


class _Broken(Exception):
    """The text is no JSON from here on."""


def scan(text: str, *, partial: bool = False) -> list[JsonValue] | None:
    """The values of a JSON text in order, in time linear in it; None for a text that is no JSON. partial: of a text
    that was cut off, or is none from some place on, the values before."""
    found: list[JsonValue] = []
    try:
        end = _value(text, _skip(text, 0), (), found)
        if _skip(text, end) != len(text):
            raise _Broken
    except _Broken:
        return found if partial else None
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _value(text: str, at: int, path: Path, found: list[JsonValue]) -> int:
    """Read the value that begins at `at`; where it ends."""
    if len(path) > MOST_DEEP:
        raise _Broken
    if text.startswith("{", at):
        return _members(text, at + 1, path, found)
    if text.startswith("[", at):
        return _items(text, at + 1, path, found)
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


def _members(text: str, at: int, path: Path, found: list[JsonValue]) -> int:
    at = _skip(text, at)
    if text.startswith("}", at):
        return at + 1
    while True:
        key = _STRING.match(text, at)
        colon = -1 if key is None else _skip(text, key.end())
        if key is None or not text.startswith(":", colon):
            raise _Broken
        at = _skip(text, _value(text, _skip(text, colon + 1), (*path, json.loads(key[0])), found))
        if text.startswith("}", at):
            return at + 1
        if not text.startswith(",", at):
            raise _Broken
        at = _skip(text, at + 1)


def _items(text: str, at: int, path: Path, found: list[JsonValue]) -> int:
    at = _skip(text, at)
    if text.startswith("]", at):
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
