"""Grammars and schemas without an end: refused where that can be known, else the answer ends with the reason."""

from __future__ import annotations

import json
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix import Model
from entropix.constraints import json_schema, lark, regex
from entropix.constraints.endless import is_endless
from entropix.constraints.forcing import MOST_FORCED, Words
from entropix.engines.scripted import VOCABULARY, ScriptedEngine, hashed
from entropix.errors import ParameterError, PromptError


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(ScriptedEngine(hashed(2.0), context=32_768))


@pytest.mark.parametrize(
    "grammar",
    [
        'start: /x+/ "x"',
        'start: /x*/ "xy"',
        'start: A B\nA: "x"+\nB: "x"',
        'start: /é+/ "é"',
        'start: /😀+/ "😀"',
        'start: /(ab)+/ "ab"',
        'start: /((ab){2,}){2,}/ "ab"',
        'start: "begin" /x+/ "x"',
        'start: "a" start',
        'start: one\none: "a" other\nother: "b" one',
        "start: /x{20000}/",
    ],
)
def test_a_grammar_that_forces_text_for_ever_is_refused(model: Model, grammar: str) -> None:
    with pytest.raises(ParameterError, match=rf"Lark grammar cannot be used: it forces more than {MOST_FORCED} bytes"):
        model.constraint(lark(grammar))


def test_a_regex_that_forces_too_much_is_refused(model: Model) -> None:
    with pytest.raises(ParameterError, match="forces more than"):
        model.constraint(regex("a{20000}"))


@pytest.mark.parametrize("search", [None, "vote:n=2"])
def test_an_answer_that_comes_to_endless_text_ends_with_the_reason(search: str | None) -> None:
    likely = np.zeros(VOCABULARY)
    likely[ord("z")] = 20.0
    model = Model(ScriptedEngine(lambda _: likely))
    grammar = lark('start: "done" | "z" /x+/ "x"')
    result = model.generate("hi", constraint=grammar, policy="greedy", max_tokens=50, search=search)
    assert result.finish_reason == "constraint"
    assert result.text == "z"
    assert any("forces more than" in note for note in result.notes) or search
    likely[ord("d")] = 40.0
    assert model.generate("hi", constraint=grammar, policy="greedy", max_tokens=50).text == "done"


def test_a_long_text_that_ends_is_forced_to_its_end(model: Model) -> None:
    long = "".join(string.ascii_letters[n % 52] for n in range(10_000))
    result = model.generate("hi", constraint={"const": long}, policy="sample:temperature=1.5", max_tokens=None)
    assert json.loads(result.text) == long
    assert result.finish_reason == "end"


@pytest.mark.parametrize("constraint", [{"const": "A" * 20}, lark('start: "no" | "\\"" /A{20}/ "\\""')])
def test_forced_text_that_the_tokenizer_refuses_is_forced_all_the_same(
    constraint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    likely = np.zeros(VOCABULARY)
    likely[ord('"')] = 20.0
    engine = ScriptedEngine(lambda _: likely)
    encode = engine.tokenizer.encode

    def refusing(text: str, **options: Any) -> list[int]:
        if "A" * 9 in text:
            raise PromptError("too long a run")
        return encode(text, **options)

    monkeypatch.setattr(engine.tokenizer, "encode", refusing)
    result = Model(engine).generate("hi", constraint=constraint, policy="greedy", max_tokens=50)
    assert (json.loads(result.text), result.finish_reason) == ("A" * 20, "end")


ENDLESS: list[Any] = [
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"], "additionalProperties": False},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"$ref": "#"},
    {"allOf": [{"$ref": "#"}]},
    {"anyOf": [{"$ref": "#"}, {"$ref": "#/anyOf/0"}]},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    {"type": "array", "prefixItems": [{"type": "null"}, {"$ref": "#"}], "minItems": 2},
    {"type": "object", "additionalProperties": {"$ref": "#"}, "minProperties": 1},
    {"type": "object", "additionalProperties": {"$ref": "#"}, "required": ["b"]},
    {"type": "object", "patternProperties": {"^a": {"$ref": "#"}}, "required": ["a"], "additionalProperties": False},
    {
        "$ref": "#/$defs/a~1b",
        "$defs": {
            "a/b": {"type": "object", "properties": {"x": {"$ref": "#/$defs/c%20d"}}, "required": ["x"]},
            "c d": {"type": ["object", "array"], "items": {"$ref": "#"}, "minItems": 1, "required": ["y"]}
            | {"properties": {"y": {"$ref": "#/$defs/a~1b"}}},
        },
    },
    {"$anchor": "n", "type": "object", "properties": {"a": {"$ref": "#n"}}, "required": ["a"]},
    {"$id": "http://localhost/n", "type": "array", "items": {"$ref": "http://localhost/n"}, "minItems": 1},
    {"$id": "http://localhost/n#", "type": "array", "items": {"$ref": "http://localhost/n#"}, "minItems": 1},
    {
        "$id": "http://localhost/n",
        "$ref": "http://localhost/n#/$defs/m",
        "$defs": {"m": {"$anchor": "m", "type": "array", "items": {"$ref": "http://localhost/n#m"}, "minItems": 1}},
    },
]
FINITE: list[Any] = [
    {"type": "object", "properties": {"a": {"$ref": "#"}}},
    {"type": ["object", "null"], "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "array", "items": {"$ref": "#"}},
    {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"const": 1}]}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "$defs": {"n": {"type": "null"}}},
    {"type": "object", "properties": {"b": {"type": "null"}, "a": {"$ref": "#"}}, "minProperties": 1},
    {"type": "object", "patternProperties": {"^a": {"$ref": "#"}, "b": {"type": "null"}}, "required": ["a"]},
    {"type": "object", "patternProperties": {"^a": {"$ref": "#"}}, "required": ["b"]},
    {"$ref": "#/$defs/missing"},
    {"$ref": "http://localhost/schema"},
    {"$anchor": "n", "type": "object", "properties": {"a": {"$ref": "#m"}}, "required": ["a"]},
    {"$anchor": "n", "type": "object", "properties": {"a": {"$ref": "#n"}}},
    {"anyOf": [{"$id": "b", "type": "null"}, {"$ref": "b"}]},
    True,
]


@pytest.mark.parametrize("schema", ENDLESS, ids=json.dumps)
def test_a_schema_that_only_endless_text_can_keep_is_refused(schema: Any) -> None:
    for lenient in (False, True):
        with pytest.raises(ParameterError, match="never ends"):
            json_schema(schema, lenient=lenient)


@pytest.mark.parametrize("start", ["%json", '"a" %json', "%json "])
def test_a_schema_inside_a_grammar_is_refused_as_one_by_itself(start: str) -> None:
    with pytest.raises(ParameterError, match="never ends"):
        lark(f"start: {start} {json.dumps(ENDLESS[0])}")
    assert lark(f"start: {start} {json.dumps(FINITE[0])}").kind == "lark"


@pytest.mark.parametrize("schema", FINITE, ids=json.dumps)
def test_a_recursive_schema_with_an_end_is_not(schema: Any) -> None:
    assert not is_endless(schema)


def test_a_long_chain_of_references_is_followed_without_recursion() -> None:
    definitions: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3000)}
    assert is_endless({"$ref": "#/$defs/d0", "$defs": definitions | {"d3000": {"$ref": "#/$defs/d0"}}})
    assert not is_endless({"$ref": "#/$defs/d0", "$defs": definitions | {"d3000": {"type": "null"}}})


PIECES = [b"", b"a", b"b", b"ab", b"abc", b"ba", b"\xc3", b"c", b"end"]


@given(st.sets(st.integers(0, len(PIECES) - 1), min_size=1))
def test_a_byte_is_forced_where_all_allowed_tokens_begin_with_it(allowed: set[int]) -> None:
    words = Words(PIECES, frozenset({8}), lambda text: [])
    mask = np.zeros(16, np.bool_)
    mask[list(allowed)] = True
    firsts = {PIECES[token][:1] if token != 8 else b"" for token in allowed}
    expected = firsts.pop()[0] if len(firsts) == 1 and b"" not in firsts else None
    assert words.forced_byte(np.packbits(mask, bitorder="little")) == expected
