"""The schemas within a JSON schema, kept apart from its constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SCHEMAS = (
    "items",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
)
LISTS = ("prefixItems", "allOf", "anyOf", "oneOf")
MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def mapped(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """`schema` with `change` made to copies of itself and of every schema within it, the inner ones first."""
    if not isinstance(schema, Mapping):
        return schema
    out = dict(schema)
    for name in SCHEMAS:
        if isinstance(out.get(name), Mapping):
            out[name] = mapped(out[name], change)
    for name in LISTS:
        if isinstance(out.get(name), list):
            out[name] = [mapped(part, change) for part in out[name]]
    for name in MAPS:
        if isinstance(out.get(name), Mapping):
            out[name] = {key: mapped(part, change) for key, part in out[name].items()}
    return change(out)
