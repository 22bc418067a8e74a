"""Formats of JSON schemas whose regular expressions in llguidance allow values that do not exist or lack some that do,
made exact here."""

from __future__ import annotations

from typing import Any

from entropix.constraints.parts import mapped

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

_GROUP = "[0-9a-fA-F]{1,4}"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LAST = rf"(?:{_GROUP}:{_GROUP}|(?:{_BYTE}\.){{3}}{_BYTE})"
IPV6 = "|".join(
    (
        f"(?:{_GROUP}:){{6}}{_LAST}",
        f"::(?:{_GROUP}:){{5}}{_LAST}",
        *(f"(?:(?:{_GROUP}:){{0,{n}}}{_GROUP})?::(?:{_GROUP}:){{{4 - n}}}{_LAST}" for n in range(5)),
        f"(?:(?:{_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}",
        f"(?:(?:{_GROUP}:){{0,6}}{_GROUP})?::",
    )
)
"""RFC 3986, IPv6address: also with the last 32 bits as an IPv4 address, which llguidance's expression leaves out."""

EXACT = {"date": DATE, "time": TIME, "date-time": f"{DATE}[tT]{TIME}", "ipv6": IPV6}
LONGEST = {"hostname": 253}
"""Characters; of formats whose expressions bound their parts only."""


def with_exact_formats(schema: Any) -> Any:
    """`schema` with patterns in place of the formats in EXACT, in every schema within it; constants stay."""
    return mapped(schema, _exact)


def _exact(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("format")
    if not isinstance(kind, str):
        return schema
    if kind in LONGEST and isinstance(schema.setdefault("maxLength", LONGEST[kind]), int):
        schema["maxLength"] = min(schema["maxLength"], LONGEST[kind])
    if kind in EXACT:
        del schema["format"]
        anchored = f"^(?:{EXACT[kind]})$"
        if "pattern" in schema:
            schema["allOf"] = [*schema.get("allOf", []), {"pattern": anchored}]
        else:
            schema["pattern"] = anchored
    return schema
