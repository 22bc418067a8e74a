"""JSON schemas that only endless text can keep: of objects that must hold objects of their own kind, and so on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urljoin

_JSON = re.compile(r"%json\s*(?=\{)")
SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})


def endless_inside(grammar: str) -> bool:
    """Whether a Lark grammar has a `%json` schema that no finite text can keep to."""
    for place in _JSON.finditer(grammar):
        try:
            schema, _ = json.JSONDecoder().raw_decode(grammar, place.end())
        except (ValueError, RecursionError):  # which the matcher refuses
            continue
        if is_endless(schema):
            return True
    return False


def is_endless(schema: Any) -> bool:
    """Whether no finite text can keep to `schema`. False where that cannot be seen."""
    try:
        return not _Refs(schema).finite("#")
    except RecursionError:  # of a schema that is nested too deeply, which the matcher refuses
        return False


class _Refs:
    """Which `$ref`s of a document can be kept by a finite text: the least fixed point over all that are in reach."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.known: set[str] = set()
        self._waiting: dict[str, set[str]] = {}
        self._named: dict[str, list[Any]] = {}
        for name, part in _names(document, ""):
            self._named.setdefault(name, []).append(part)

    def finite(self, start: str) -> bool:
        left, seen = [start], {start}
        while left:
            ref = left.pop()
            if ref in self.known:
                continue
            needed: set[str] = set()

            def has(other: str, needed: set[str] = needed) -> bool:
                needed.add(other)
                return other in self.known

            if self._resolved(ref, has):
                self.known.add(ref)
                left += self._waiting.pop(ref, ())
                continue
            for other in needed:
                self._waiting.setdefault(other, set()).add(ref)
                if other not in seen:
                    seen.add(other)
                    left.append(other)
        return start in self.known

    def _resolved(self, ref: str, has: Callable[[str], bool]) -> bool:
        """Whether what a reference within the document points at has a finite text; True for what is not found."""
        name, _, pointer = ref.partition("#")
        if pointer and not pointer.startswith("/"):
            name, pointer = ref, ""
        named = self._named.get(name, []) if name else [self.document]
        if len(named) != 1:
            return True
        part = named[0]
        for name in pointer.split("/")[1:]:
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping) and key in part:
                part = part[key]
            elif isinstance(part, list) and key.isdigit() and int(key) < len(part):
                part = part[int(key)]
            else:
                return True
        return _finite(part, has)


def _names(part: Any, base: str) -> Iterator[tuple[str, Any]]:
    """The schemas of a document that a reference may name by their $id or $anchor, as it may be written."""
    if isinstance(part, Mapping):
        own = part.get("$id")
        if isinstance(own, str):
            base = urljoin(base, own).removesuffix("#")
            yield from ((name, part) for name in {base, own.removesuffix("#")})
        if isinstance(anchor := part.get("$anchor"), str):
            yield from ((name, part) for name in {f"#{anchor}", f"{base}#{anchor}"})
    inside = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    for one in inside:
        yield from _names(one, base)


def _finite(schema: Any, has: Callable[[str], bool]) -> bool:
    """Whether a finite text can keep to `schema`, given which references have one."""
    if not isinstance(schema, Mapping):
        return schema is not False
    if "const" in schema or "enum" in schema:
        return True
    ref = schema.get("$ref")
    # every one is asked, so that `has` hears of all that are needed
    parts = [has(ref)] if isinstance(ref, str) else []
    parts += [_finite(part, has) for part in _listed(schema, "allOf")]
    for name in ("anyOf", "oneOf"):
        choices = [_finite(part, has) for part in _listed(schema, name)]
        parts += [any(choices)] if choices else []
    return all(parts) and _some_type(schema, has)


def _some_type(schema: Mapping[str, Any], has: Callable[[str], bool]) -> bool:
    kinds = schema.get("type")
    named = {kinds} if isinstance(kinds, str) else set(kinds) if isinstance(kinds, list) else SCALARS
    if named & SCALARS or not named <= {"object", "array"}:
        return True
    found = [_object(schema, has)] if "object" in named else []
    return any(found + ([_array(schema, has)] if "array" in named else []))


def _object(schema: Mapping[str, Any], has: Callable[[str], bool]) -> bool:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    patterns = schema.get("patternProperties")
    patterns = patterns if isinstance(patterns, Mapping) else {}
    others = schema.get("additionalProperties", True)
    required = [name for name in _listed(schema, "required") if isinstance(name, str)]
    # which pattern a name matches is for the matcher to say, so that one with an end is enough
    unnamed = [_finite(part, has) for part in (*patterns.values(), others)]
    anything = any(unnamed)
    needed = [_finite(properties[name], has) if name in properties else anything for name in required]
    least = schema.get("minProperties", 0)
    if not isinstance(least, (int, float)) or least <= len(required):
        return all(needed)
    further = [_finite(part, has) for part in properties.values()]
    return all(needed) and any(further + unnamed)


def _array(schema: Mapping[str, Any], has: Callable[[str], bool]) -> bool:
    least = schema.get("minItems", 0)
    least = least if isinstance(least, (int, float)) else 0
    first = _listed(schema, "prefixItems")
    needed = [_finite(part, has) for n, part in enumerate(first) if n < least]
    return all(needed) and (least <= len(first) or _finite(schema.get("items", True), has))


def _listed(schema: Mapping[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []
