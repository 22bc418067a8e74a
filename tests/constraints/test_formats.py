"""Formats allow what exists: every value that a constraint lets through is one."""

from __future__ import annotations

import calendar
import re
from datetime import date
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix import Model
from entropix.constraints import json_schema
from entropix.constraints.formats import DATE, IPV6, TIME, with_exact_formats
from entropix.engines.scripted import END, ScriptedEngine

MODEL = Model(ScriptedEngine())


def takes(schema: dict[str, Any], text: str) -> bool:
    """Whether the constraint lets a string with this content through, to its end."""
    matcher = MODEL.constraint(json_schema(schema)).begin()
    for byte in f'"{text}"'.encode():
        allowed = matcher.allowed()
        if allowed is None or not allowed[byte]:
            return False
        matcher.accept(byte)
    allowed = matcher.allowed()
    return matcher.complete or (allowed is not None and bool(allowed[END]))


@given(st.ip_addresses(v=6), st.booleans())
def test_every_address_is_one_of_the_format_in_both_ways_of_writing(address: IPv6Address, is_whole: bool) -> None:
    text = address.exploded if is_whole else address.compressed
    assert re.fullmatch(IPV6, text)
    assert re.fullmatch(IPV6, f"{text}:") is None


@given(st.text("0123af:.", max_size=24))
def test_a_text_is_an_address_where_python_says_so(text: str) -> None:
    try:
        IPv6Address(text)
        exists = True
    except ValueError:
        exists = False
    assert bool(re.fullmatch(IPV6, text)) == exists


def test_every_day_of_ten_thousand_years_is_a_date_exactly_if_it_exists() -> None:
    pattern = re.compile(DATE)
    for year in range(10_000):
        for month in range(14) if year % 100 < 5 else (2,):
            exists = 1 <= month <= 12 and year > 0
            last = calendar.monthrange(year, month)[1] if exists else 0
            for day in (0, 1, 9, 10, 19, 20, 28, 29, 30, 31, 32):
                text = f"{year:04}-{month:02}-{day:02}"
                assert bool(pattern.fullmatch(text)) == (1 <= day <= last), text
                if 1 <= day <= last:
                    date.fromisoformat(text)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("date", ["2024-02-29", "2000-02-29", "2023-02-28"], ["2023-02-29", "1900-02-29", "2023-04-31", "0000-01-01"]),
        (
            "date-time",
            ["2024-02-29T23:59:59Z", "2023-12-31t00:00:00.123+14:00"],
            ["2023-02-29T00:00:00Z", "2024-02-29T24:00:00Z", "2024-02-29T23:59:60Z", "2024-02-29T23:59:59"],
        ),
        ("time", ["00:00:00Z", "23:59:59.9-03:30"], ["23:59:60Z", "24:00:00Z", "12:60:00Z", "12:00:00"]),
        ("duration", ["P1Y", "P1W", "PT1H30M"], ["P", "PT", "P1Y1D", "P1WT1H"]),
        ("email", ["a@b.c", "a.b@c"], ["a@b..c", ".a@b", "a.@b", "a@-b.c", "a"]),
        ("hostname", ["a.b", "a" * 63], ["a-", "-a", "a" * 64, "...", ("a" * 60 + ".") * 5 + "b"]),
        ("ipv4", ["255.255.255.255", "0.0.0.0"], ["256.1.1.1", "01.1.1.1", "1.1.1"]),
        (
            "ipv6",
            ["::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:192.168.0.1", "1:2::192.168.0.1", "1:2:3:4:5:6:7::"],
            ["1::2::3", "1:2:3", "12345::", "::ffff:192.168.01.1", "1:2:3:4:1.2.3.4", "1.2.3.4::", "fe80::1%lo", ":1"],
        ),
        ("uuid", ["00000000-0000-0000-0000-00000000000f"], ["00000000-0000-0000-0000-00000000000g", "0"]),
        ("uri", ["http://a/b?c#d", "mailto:a@b"], ["a", "http://a b", "http://a/%zz"]),
    ],
)
def test_a_format_lets_through_what_is_one(name: str, right: list[str], wrong: list[str]) -> None:
    schema = {"type": "string", "format": name}
    assert [text for text in right if not takes(schema, text)] == []
    assert [text for text in wrong if takes(schema, text)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "date", "pattern": "^2023"},
        {"type": "string", "format": "date", "allOf": [{"pattern": "^2023"}]},
        {"allOf": [{"type": "string", "format": "date"}, {"pattern": "^2023"}]},
        {"$ref": "#/$defs/day", "$defs": {"day": {"type": "string", "format": "date", "pattern": "^2023"}}},
    ],
)
def test_a_date_beside_other_demands_keeps_them_all(schema: dict[str, Any]) -> None:
    assert takes(schema, "2023-02-28")
    assert not takes(schema, "2023-02-29")
    assert not takes(schema, "2024-02-29")


def test_what_only_looks_like_a_format_stays_as_it_is() -> None:
    for schema in ({"const": {"format": "date"}}, {"enum": [{"format": "time"}]}, {"format": 7}, True):
        assert with_exact_formats(schema) == schema
    named = {"properties": {"format": {"type": "string", "format": "time"}, "const": {"format": "date"}}}
    made = with_exact_formats(named)["properties"]
    assert made["format"] == {"type": "string", "pattern": f"^(?:{TIME})$"}
    assert set(made["const"]) == {"pattern"}
