"""What is asked for is checked at once, and what cannot be kept is refused by name before any text."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from entropix import Model
from entropix.constraints import Grammar, json_schema, lark, regex
from entropix.engines.scripted import ScriptedEngine
from entropix.errors import CapabilityError, ParameterError


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(ScriptedEngine())


def nested(depth: int) -> str:
    return '{"items":' * depth + "true" + "}" * depth


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "obj"}, "Invalid type: obj"),
        ({"type": "array", "uniqueItems": True}, r'\["uniqueItems"\]; docs/constraints.md'),
        ({"not": {"type": "string"}}, r'Unimplemented keys: \["not"\]'),
        ({"type": "string", "format": "colour"}, "Unknown format: colour"),
        ({"oneOf": [{"minimum": 0}, {"maximum": 5}]}, "oneOf.*not supported; docs/constraints.md"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "pattern": "[a"}, "unclosed character class"),
        ({"type": "string", "minLength": 5, "maxLength": 3}, "Unsatisfiable"),
        ({"enum": []}, "Unsatisfiable"),
        ({"$ref": "http://localhost/schema"}, "does not fetch"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"$ref": "#"}, "no text can satisfy it"),
        (False, "allows no text"),
        ("{'type': 'string'}", "not JSON: Expecting property name.* line 1, column 2"),
        ("", "not JSON"),
        ('{"minimum": NaN}', "NaN"),
        ({"minimum": float("inf")}, "cannot be written as JSON"),
        ({"const": object()}, "cannot be written as JSON"),
        ("[1]", "an object or true, not list"),
        (7, "an object or true, not int"),
        (nested(100_000), "nested too deeply|at most"),
        (nested(500), "recursion limit"),
        ({"const": "x" * 300_000}, "at most 262144"),
        ({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}}, "items; max is 2000"),
        ({"type": "integer", "multipleOf": 999_983}, "multipleOf.*999983.*at most 10000"),
        ({"allOf": [{"multipleOf": p} for p in (97, 101, 103, 107)]}, "multipleOf"),
        ({"type": "number", "multipleOf": 1e-30}, "multipleOf"),
        ({"type": "string", "x-guidance": {"lenient": True}, "contentEncoding": "base64", "not": {}}, "Unimplemented"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_with_its_reason(model: Model, schema: Any, message: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(ParameterError, match=message) as error:
        model.constraint(json_schema(schema))
    assert str(error.value).startswith("constraint: ")
    assert "\n" not in str(error.value)
    assert time.perf_counter() - begun < 10, "a schema must not hold up everybody else"
    assert model.engine.forwards == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda: regex("(a"), "regular expression cannot be used: .*unclosed group"),
        (lambda: regex(""), "regex is empty"),
        (lambda: regex("a\ud800"), "not valid Unicode: lone surrogate at character 1"),
        (lambda: regex(7), "takes a string, not int"),  # type: ignore[arg-type]
        (lambda: lark('start: "a" b'), "unknown name"),
        (lambda: lark("x" * 300_000), "at most 262144"),
        (lambda: "[0-9]+", "constraint is a JSON schema.* not str"),
    ],
)
def test_a_regex_or_grammar_that_cannot_be_kept_is_refused(model: Model, asked: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        model.constraint(asked())


def test_a_lenient_schema_leaves_out_what_cannot_be_kept_and_says_so(model: Model) -> None:
    schema = {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
    result = model.generate("hi", constraint=json_schema(schema, lenient=True), seed=1)
    assert result.finish_reason == "end"
    assert any("left out" in note and "uniqueItems" in note for note in result.notes)


LOOKS_AHEAD = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
"""An e-mail address as zod 4 writes it into schemas."""


@pytest.mark.parametrize("pattern", [LOOKS_AHEAD, r"^\bfoo\b$", r"^(a)\1$", "["])
def test_a_lenient_schema_leaves_out_patterns_that_the_matcher_does_not_know(model: Model, pattern: str) -> None:
    schema = {
        "type": "object",
        "properties": {"to": {"type": "array", "items": {"type": "string", "pattern": pattern, "maxLength": 5}}},
        "patternProperties": {pattern: {"type": "integer"}},
        "additionalProperties": False,
    }
    for within in (schema, {"$defs": {"mail": schema}, "anyOf": [{"$ref": "#/$defs/mail"}]}):
        made = model.constraint(json_schema(within, lenient=True))
        assert made.notes[0].startswith(f"constraint: left out: the pattern {pattern!r}: ")
        assert "\n" not in made.notes[0]
        assert made.begin().allowed() is not None
        with pytest.raises(ParameterError, match="cannot be used"):
            model.constraint(json_schema(within))


def test_a_pattern_that_the_matcher_knows_and_a_constant_that_looks_like_one_are_kept(model: Model) -> None:
    schema = {"anyOf": [{"type": "string", "pattern": "^b+$", "maxLength": 3}, {"const": {"pattern": "(?=a)"}}]}
    made = model.constraint(json_schema(schema, lenient=True))
    assert made.notes == ()
    assert json.loads(made.grammar.text) == schema


@pytest.mark.parametrize(
    "schema", [{"type": "string", "format": "colour"}, {"oneOf": [{"minimum": 0}, {"maximum": 5}]}]
)
def test_lenience_extends_to_formats_and_to_overlapping_choices(model: Model, schema: Any) -> None:
    assert model.constraint(json_schema(schema, lenient=True)).begin().allowed() is not None


KEYWORDS = {
    "type": "string",
    "enum": [1],
    "const": 1,
    "anyOf": [{}],
    "allOf": [{}],
    "oneOf": [{"type": "string"}, {"type": "null"}],
    "$ref": "#/$defs/a",
    "properties": {},
    "required": ["a"],
    "additionalProperties": False,
    "patternProperties": {"^a": {}},
    "minProperties": 1,
    "maxProperties": 1,
    "items": {},
    "prefixItems": [{}],
    "minItems": 1,
    "maxItems": 2,
    "minLength": 1,
    "maxLength": 2,
    "pattern": "a",
    "minimum": 1,
    "maximum": 3,
    "exclusiveMinimum": 1,
    "exclusiveMaximum": 4,
    "multipleOf": 2,
    "$defs": {"a": {}},
}
REFUSED = {
    "not": {},
    "if": {},
    "propertyNames": {},
    "dependentRequired": {},
    "dependentSchemas": {},
    "unevaluatedProperties": False,
    "unevaluatedItems": False,
    "uniqueItems": True,
    "contains": {},
    "$dynamicRef": "#a",
}
FORMATS = ("date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid")


def test_the_documentation_lists_what_is_supported(model: Model) -> None:
    text = (Path(__file__).parents[2] / "docs" / "constraints.md").read_text(encoding="utf-8")
    lists = re.findall(r"^- (Keywords|Formats|Refused): ((?:.|\n  )+)", text, re.MULTILINE)
    listed = {name: set(re.findall(r"`([^`]+)`", items)) for name, items in lists}
    assert listed == {"Keywords": set(KEYWORDS) | {"format"}, "Refused": set(REFUSED), "Formats": set(FORMATS)}
    for name, value in KEYWORDS.items():
        model.constraint({"$defs": {"a": {}}, name: value})
    for name in FORMATS:
        model.constraint({"type": "string", "format": name})
    for name, value in REFUSED.items():
        with pytest.raises(ParameterError, match=re.escape(f'["{name}"]')):
            model.constraint({name: value})


def test_whitespace_is_bounded(model: Model) -> None:
    matcher = model.constraint({"type": "array"}).begin()
    for byte in b"[\n" + b" " * 24:
        matcher.accept(byte)
    assert not matcher.problem
    allowed = matcher.allowed()
    assert allowed is not None
    assert not any(allowed[byte] for byte in b" \n\t")
    assert allowed[ord("]")]


def test_a_schema_may_be_a_dict_a_text_or_made_already(model: Model) -> None:
    made = model.constraint({"const": 1})
    for asked in ({"const": 1}, json_schema('{"const": 1}'), made):
        assert model.generate("hi", constraint=asked).text == "1"
    assert model.constraint(made) is made
    assert json_schema({"const": 1}) == Grammar("json_schema", '{"const": 1}')


def test_the_vocabulary_is_read_once_a_model(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.constraint({"const": 1})
    monkeypatch.setattr(model.tokenizer, "piece", None)
    model.constraint({"const": 2})


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(CapabilityError, match=r"pip install 'entropix-llm\[constrained\]'"):
        Model(ScriptedEngine()).generate("hi", constraint={"type": "object"})
