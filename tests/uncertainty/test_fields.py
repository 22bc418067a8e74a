"""Fields of a JSON answer: the probability of each value under its constraint, what it left, every option."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix import Model, Result
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import ParameterError
from entropix.trace.records import result_from, result_record, to_json
from entropix.types import Action, BranchRecord, Regime, SearchRecord, Step
from entropix.uncertainty import Field, Fields, fields_of
from entropix.uncertainty.options import enums

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green", "grey"]}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["colour", "n"],
    "additionalProperties": False,
}


def steps_of(*pieces: tuple[str, float, float | None]) -> tuple[str, list[Step]]:
    """(text, p under the constraint, mass that it left) of each token."""
    made = [
        Step(n, n, n, text or "x", text, Regime.FLOW, Action.SAMPLE, 0.1, logprob=math.log(p), mass=mass)
        for n, (text, p, mass) in enumerate(pieces)
    ]
    return "".join(text for text, _, _ in pieces), made


def leaf(node: Field | Fields) -> Field:
    assert isinstance(node, Field)
    return node


def test_a_value_has_the_product_of_its_own_tokens_up_to_the_one_that_ends_it() -> None:
    first = [('{"a": ', 1, 0.9), ('"', 1, 0.5), ("no", 0.5, 0.1), ("ne", 0.8, 1), ('", ', 0.9, 1)]
    text, steps = steps_of(*first, ('"b": 7', 0.4, 0.8), ("}", 0.5, 1))
    fields = fields_of(text, steps)
    assert fields is not None
    a, b = leaf(fields["a"]), leaf(fields.b)
    assert (a.value, text[a.start : a.end], a.path) == ("none", "none", ("a",))
    assert (a.probability, a.mass) == (pytest.approx(0.36), 0.1)
    assert a.unconstrained == pytest.approx(0.036)
    assert (a.least, a.least_probability) == ("no", pytest.approx(0.5))
    assert (b.value, b.probability, b.mass) == (7, pytest.approx(0.2), 0.8)
    assert b.confidence == b.probability


def test_fields_are_indexed_like_the_value() -> None:
    value = {"who": {"name": "Ann", "tags": [{}, "x", {"y": None}]}, "ok": True, "empty": [], "record": ""}
    text = json.dumps(value, indent=1)
    fields = fields_of(text, [Step(0, 0, 0, text, text, Regime.FLOW, Action.SAMPLE, logprob=-0.5)])
    assert fields is not None
    assert leaf(fields.who.name).value == leaf(fields["who"]["name"]).value == "Ann"
    assert [leaf(fields["who"]["tags"][-2]).value, leaf(fields.who.tags[2].y).value] == ["x", None]
    assert list(fields) == list(fields.keys()) == list(value)
    assert [len(node) for node in (fields.who.tags, fields.who.tags[0], fields.empty)] == [3, 0, 0]
    assert [f.value for f in fields.leaves()] == ["Ann", "x", None, True, ""]
    assert fields.record(lambda f: f.value) == value
    with pytest.raises(AttributeError, match="no field 'whom'; it has who, ok, empty, record"):
        _ = fields.whom
    with pytest.raises(KeyError):
        _ = fields["whom"]
    with pytest.raises(IndexError):
        _ = fields["empty"][0]


@given(st.lists(json_values) | st.dictionaries(st.text(max_size=5), json_values))
def test_fields_have_the_shape_of_any_answer(value: Any) -> None:
    text = json.dumps(value)
    fields = fields_of(text, [Step(0, 0, 0, text, text, Regime.FLOW, Action.SAMPLE, logprob=-0.5)])
    assert fields is not None
    assert fields.record(lambda f: f.value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}),
        ('{"a": {"x": 1}, "a": {"y": 2}}', {"a": {"y": 2}}),
        ('{"a": [1], "a": {"b": 2}, "c": {"a": 4}}', {"a": {"b": 2}, "c": {"a": 4}}),
        ('{"a": {"x": 1, "x": 5}, "a": {}}', {"a": {}}),
    ],
)
def test_of_a_key_that_stands_twice_the_last_counts(text: str, value: Any) -> None:
    assert json.loads(text) == value
    fields = fields_of(text, [Step(0, 0, 0, text, text, Regime.FLOW, Action.SAMPLE, logprob=-0.5)])
    assert fields is not None
    assert fields.record(lambda f: f.value) == value


def test_the_bytes_of_a_values_first_character_count() -> None:
    text, steps = steps_of(('{"a": "', 1, None), ("", 0.5, None), ("", 0.5, None), ("日", 0.5, None), ('"}', 1, None))
    fields = fields_of(text, steps)
    assert fields is not None
    assert (leaf(fields.a).value, leaf(fields.a).probability) == ("日", pytest.approx(0.125))


@pytest.mark.parametrize("end", ["\n```", "\n```\nThat is all.", ""])
def test_an_answer_in_a_fence_has_fields_where_they_stand_in_the_text(end: str) -> None:
    text, steps = steps_of(("Here:\n```json\n", 0.1, None), ('{"a": ', 1, None), ("7", 0.5, None), ("}" + end, 1, None))
    fields = fields_of(text, steps)
    assert fields is not None
    assert (text[leaf(fields.a).start : leaf(fields.a).end], leaf(fields.a).probability) == ("7", 0.5)


@pytest.mark.parametrize("text", ["", "no JSON", "7", "🙂", "```\n{}\n```\n```\n{}\n```", "```python\nf()\n```"])
def test_other_texts_have_no_fields(text: str) -> None:
    assert fields_of(text, [Step(0, 0, 0, text, text, Regime.FLOW, Action.SAMPLE, logprob=-0.5)]) is None


def test_of_a_text_that_was_cut_off_the_whole_values_are_there() -> None:
    text, steps = steps_of(('{"a": "yes", ', 0.5, None), ('"b": "n', 0.5, None))
    fields = fields_of(text, steps)
    assert fields is not None
    assert [f.path for f in fields.leaves()] == [("a",)]
    assert (leaf(fields.a).mass, leaf(fields.a).unconstrained) == (None, None)


@pytest.fixture
def model() -> Model:
    pytest.importorskip("llguidance")
    return Model(ScriptedEngine(hashed(sharpness=1.5)))


def answered(model: Model, **options: Any) -> Result:
    result = model.generate("hi", policy="sample", constraint=SCHEMA, seed=3, max_tokens=60, **options)
    assert isinstance(result, Result)
    return result


def test_what_the_constraint_left_is_the_models_own_probability_of_what_it_allows(model: Model) -> None:
    result = answered(model)
    assert result.fields is not None
    engine, tokens = model.engine, model.encode("hi")
    for step in result.steps:
        assert step.mass is not None
        assert 0 < step.mass <= 1
        sequence = engine.open([])
        logits = np.asarray(engine.forward([(sequence, tokens)]).logits)[0].astype(float)
        engine.close(sequence)
        p = np.exp(logits - np.logaddexp.reduce(logits))
        # forced text is one token, whose own probability is what was left
        if step.logprob == 0:
            assert step.mass == pytest.approx(p[step.token], rel=1e-3)
        assert math.exp(step.logprob or 0) * step.mass == pytest.approx(p[step.token], rel=1e-3)
        tokens = [*tokens, step.token]
    assert json.loads(to_json(result_record(result)))["fields"]["colour"]["value"] == leaf(result.fields.colour).value


def test_every_option_of_an_enum_has_its_exact_probability(model: Model) -> None:
    result = answered(model)
    found = model.options("hi", result, SCHEMA)
    assert set(found) == {("colour",)}
    options = found[("colour",)]
    assert set(options.probabilities) == {"red", "green", "grey"}
    assert sum(options.probabilities.values()) == pytest.approx(1)
    assert options.chosen == leaf(result.fields.colour).value
    # by hand: every option's tokens one after the other, each after its whole context
    begin = result.text.index('"', result.text.index(":"))
    context = [*model.encode("hi"), *(step.token for step in result.steps[:begin])]
    by_hand = {}
    for option in options.probabilities:
        tokens, total = list(context), 0.0
        for token in model.tokenizer.encode(json.dumps(option)):
            sequence = model.engine.open([])
            logits = np.asarray(model.engine.forward([(sequence, tokens)]).logits)[0].astype(float)
            model.engine.close(sequence)
            total += float(logits[token] - np.logaddexp.reduce(logits))
            tokens.append(token)
        by_hand[option] = math.exp(total)
    whole = sum(by_hand.values())
    assert options.mass == pytest.approx(whole, rel=1e-3)
    assert options.probabilities == pytest.approx({option: p / whole for option, p in by_hand.items()}, rel=1e-3)


def test_ballots_give_every_field_a_share(model: Model) -> None:
    result = answered(model, search="vote:n=6,stop=none,answer=text")
    assert result.search is not None
    assert result.fields is not None
    texts = [json.loads(b.text) for b in result.search.branches if b.origin == 0]
    for field in result.fields.leaves():
        assert field.share == pytest.approx(sum(t.get(field.path[0]) == field.value for t in texts) / len(texts))
        assert field.confidence == pytest.approx(field.share * field.probability)


def test_ballots_agree_on_numbers_by_their_value_and_not_with_true() -> None:
    def branch(n: int, text: str) -> BranchRecord:
        step = Step(0, 0, 0, text, text, Regime.FLOW, Action.SAMPLE, logprob=-0.5)
        return BranchRecord(n, None if n == 0 else 0, 0, "start", "end", (step,), text, weight=1.0, kept=n == 0)

    texts = ['{"a": 1, "b": "1"}', '{"a": 1.0, "b": 1}', '{"a": true}', "none"]
    search = SearchRecord("vote", tuple(branch(n, text) for n, text in enumerate(texts)), ballots=4)
    fields = fields_of(texts[0], search.branches[0].steps, search)
    assert fields is not None
    assert (leaf(fields.a).share, leaf(fields.b).share) == (0.5, 0.25)


def test_options_are_found_in_the_schema_by_path() -> None:
    schema = {
        "$defs": {"size": {"enum": ["s", "l"]}},
        "properties": {
            "size": {"$ref": "#/$defs/size"}, "on": {"type": "boolean"}, "free": {"type": "string"},
            "list": {"prefixItems": [{"enum": [1]}], "items": {"enum": [2, 3]}}, "loop": {"$ref": "#/properties/loop"},
        },
    }  # fmt: skip
    assert enums(schema, ("size",)) == ["s", "l"]
    assert enums(schema, ("on",)) == [True, False]
    assert (enums(schema, ("list", 0)), enums(schema, ("list", 4))) == ([1], [2, 3])
    assert enums(schema, ("free",)) is None
    assert enums(schema, ("nowhere", "at", "all")) is None


def test_options_of_pydantics_optional_literal_and_nested_fields_are_found() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Size(Enum):
        SMALL = "s"
        LARGE = "l"

    class Shirt(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        size: Size
        cut: Literal["slim", "wide"] | None = None
        kind: Literal["shirt"]
        washed: bool | None

    class Order(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        shirt: Shirt | None = None
        sizes: list[Size]
        by: dict[str, Size]
        either: Literal["a"] | int
        note: str | None

    schema = Order.model_json_schema()
    assert enums(schema, ("shirt", "size")) == enums(schema, ("sizes", 3)) == enums(schema, ("by", "Ann")) == ["s", "l"]
    assert enums(schema, ("shirt", "cut")) == ["slim", "wide", None]
    assert enums(schema, ("shirt", "kind")) == ["shirt"]
    assert enums(schema, ("shirt", "washed")) == [True, False, None]
    for path in (("either",), ("note",), ("shirt",), ("shirt", "none")):
        assert enums(schema, path) is None


def test_options_that_depend_on_other_values_are_not_listed() -> None:
    one, two = ({"properties": {"kind": {"const": kind}, "size": {"enum": [kind]}}} for kind in "ab")
    assert enums({"anyOf": [one, two]}, ("size",)) is None
    assert enums({"oneOf": [{"const": 1}, {"const": True}, {"enum": [1.0, "x"]}]}, ()) == [1, True, "x"]
    assert enums({"type": ["boolean", "null"]}, ()) == [True, False, None]
    assert enums({"enum": ["a", ["b"]]}, ()) is None
    loop: dict[str, Any] = {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}
    assert enums(loop, ()) is None


def test_options_of_several_types_are_each_weighed_and_ended_alike(model: Model) -> None:
    schema = {"type": "object", "properties": {"v": {"enum": [1, 10, True, "1", None]}}, "required": ["v"]}
    result = model.generate("hi", policy="sample", constraint=schema, seed=3, max_tokens=60)
    (options,) = model.options("hi", result, schema).values()
    assert [repr(option) for option, _ in options.weighed] == ["1", "10", "True", "'1'", "None"]
    assert sum(p for _, p in options.weighed) == pytest.approx(1)
    # what ends a value is the same for all, so that 1 is not what begins 10
    assert result.fields is not None
    quote = isinstance(options.chosen, str)
    begin, end = leaf(result.fields.v).start - quote, leaf(result.fields.v).end + quote
    by_hand = []
    for option, _ in options.weighed:
        tokens, total = [*model.encode("hi"), *(s.token for s in result.steps[:begin])], 0.0
        for token in model.tokenizer.encode(json.dumps(option) + result.text[end]):
            sequence = model.engine.open([])
            logits = np.asarray(model.engine.forward([(sequence, tokens)]).logits)[0].astype(float)
            model.engine.close(sequence)
            total += float(logits[token] - np.logaddexp.reduce(logits))
            tokens.append(token)
        by_hand.append(math.exp(total))
    assert [p for _, p in options.weighed] == pytest.approx([p / sum(by_hand) for p in by_hand], rel=1e-3)


def test_a_trace_has_the_fields_of_an_answer_that_is_empty_or_has_empty_lists() -> None:
    for text, value in (("{}", {}), ('{"a": [], "b": [[], 1]}', {"a": [], "b": [[], 1]})):
        result = Model(ScriptedEngine(saying(text))).generate("hi", policy="greedy")
        record = json.loads(to_json(result_record(result)))
        again = result_from(record, {}, result.steps)
        assert result.fields is not None
        assert again.fields is not None
        assert again.fields.record(lambda f: f.value) == result.fields.record(lambda f: f.value) == value


def test_options_of_a_text_that_is_no_json_are_refused(model: Model) -> None:
    result = model.generate("hi", policy="greedy", max_tokens=3)
    with pytest.raises(ParameterError, match="this text is none"):
        model.options("hi", result, SCHEMA)


def test_a_reference_may_lead_to_another_and_to_names_with_slashes() -> None:
    schema = {
        "$defs": {"a/b~c": {"$ref": "#/$defs/sizes"}, "sizes": {"enum": ["S", "M"]}, "loop": {"$ref": "#/$defs/loop"}},
        "properties": {"size": {"$ref": "#/$defs/a~1b~0c"}, "never": {"$ref": "#/$defs/loop"}, "gone": {"$ref": "#/x"}},
    }
    assert enums(schema, ("size",)) == ["S", "M"]
    assert enums(schema, ("never",)) is None
    assert enums(schema, ("gone",)) is None
