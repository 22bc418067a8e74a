"""Formats of JSON schemas whose regular expressions in llguidance allow values that do not exist, made exact here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
"""Years that have a 29 February: divisible by 4, and not by 100 unless by 400."""

DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
"""RFC 3339, full-date, of the years 0001 to 9999."""

_ZONE = r"(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
TIME = rf"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?{_ZONE}"
"""RFC 3339, full-time, without the second 60: which minutes had one no expression knows."""

EXACT = {"date": DATE, "time": TIME, "date-time": f"{DATE}[tT]{TIME}"}
LONGEST = {"hostname": 253}
"""Characters; of formats whose expressions bound their parts only."""

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


def with_exact_formats(schema: Any) -> Any:
    """`schema` with patterns in place of the formats in EXACT, in every schema within it; constants stay."""
    if not isinstance(schema, Mapping):
        return schema
    out = dict(schema)
    for name in SCHEMAS:
        if isinstance(out.get(name), Mapping):
            out[name] = with_exact_formats(out[name])
    for name in LISTS:
        if isinstance(out.get(name), list):
            out[name] = [with_exact_formats(part) for part in out[name]]
    for name in MAPS:
        if isinstance(out.get(name), Mapping):
            out[name] = {key: with_exact_formats(part) for key, part in out[name].items()}
    kind = out.get("format")
    if not isinstance(kind, str):
        return out
    if kind in LONGEST and isinstance(out.setdefault("maxLength", LONGEST[kind]), int):
        out["maxLength"] = min(out["maxLength"], LONGEST[kind])
    if kind in EXACT:
        del out["format"]
        anchored = f"^(?:{EXACT[kind]})$"
        if "pattern" in out:
            out["allOf"] = [*out.get("allOf", []), {"pattern": anchored}]
        else:
            out["pattern"] = anchored
    return out
