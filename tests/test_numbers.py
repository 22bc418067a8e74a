"""D24: a number of another library is the number it is; True and False are none."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from entropix import Model
from entropix.decoding import Request
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import ParameterError
from entropix.numeric import plain
from entropix.policies import make_policy
from entropix.sampling import noise_key
from entropix.search import Tree, Vote, make_search
from entropix.trace.records import result_record, to_json
from entropix.types import Thresholds

INTEGERS = (np.int64, np.int32, np.uint8, np.uint64)
FLOATS = (np.float64, np.float32, np.float16)


@pytest.fixture
def model() -> Model:
    return Model(ScriptedEngine(hashed(2.0)))


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_are_taken_for_seed_length_and_candidates(model: Model, kind: Any) -> None:
    expected = model.generate("Hi", seed=7, max_tokens=5, leading=3, logit_bias={65: 2})
    got = model.generate("Hi", seed=kind(7), max_tokens=kind(5), leading=kind(3), logit_bias={kind(65): np.float32(2)})
    assert (got.tokens, got.seed, type(got.seed)) == (expected.tokens, 7, int)
    assert json.loads(to_json(result_record(got)))["seed"] == 7


def test_a_seed_of_a_generator_is_taken(model: Model) -> None:
    seed = np.random.default_rng(0).integers(100)
    assert model.generate("Hi", seed=seed, max_tokens=4).seed == int(seed)
    assert noise_key(np.int64(2**62), np.int64(3)) == noise_key(2**62, 3)


def test_an_array_or_tensor_without_a_dimension_is_its_number(model: Model) -> None:
    torch = pytest.importorskip("torch")
    expected = model.generate("Hi", policy="sample", seed=7, max_tokens=7, temperature=0.5)
    for seed, temperature in ((np.array(7), np.array(0.5)), (torch.tensor(7), torch.tensor(0.5))):
        got = model.generate("Hi", policy="sample", seed=seed, max_tokens=seed, temperature=temperature)
        assert (got.tokens, got.seed, type(got.seed)) == (expected.tokens, 7, int)
    for value in (torch.tensor(True), np.array(1.5), np.array([7]), np.array("7")):
        with pytest.raises(ParameterError, match="not an integer"):
            model.generate("Hi", seed=value)


@pytest.mark.parametrize("kind", FLOATS)
def test_floats_are_taken_for_parameters_of_policies(kind: Any) -> None:
    thresholds = Thresholds(0.3, 2.0, 0.25, 1.5)
    policy = make_policy("sample", thresholds, 260, temperature=kind(0.5), top_k=np.int64(40), top_p=kind(1))
    assert policy == make_policy("sample:temperature=0.5,top_k=40,top_p=1", thresholds, 260)
    assert {type(policy.temperature), type(policy.top_p)} == {float}  # type: ignore[attr-defined]
    with pytest.raises(ParameterError, match="out of range"):
        make_policy("sample", thresholds, 260, temperature=kind("nan"))


def test_numbers_are_taken_for_settings_of_searches(model: Model) -> None:
    assert Vote(n=np.int64(3), keep=np.float32(0.75)) == Vote(n=3, keep=0.75)
    plan = make_search([Tree(max_sequences=np.int32(2), threshold=np.float64(1.5))])
    assert plan is not None
    assert type(plan.max_sequences) is int
    assert model.generate("Hi", search=plan, max_tokens=np.int16(4), seed=1).search is not None


def test_an_array_of_tokens_is_a_prompt() -> None:
    policy = make_policy("greedy", Thresholds(0.3, 2.0, 0.25, 1.5), 260)
    assert Request(tokens=np.array([1, 2, 3]), policy=policy).tokens == [1, 2, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, np.True_, "7", 1.5, np.float32(7), None.__class__, 7j])
def test_what_is_no_integer_is_no_seed(model: Model, value: Any) -> None:
    with pytest.raises(ParameterError, match="not an integer"):
        model.generate("Hi", seed=value)


@pytest.mark.parametrize("value", [True, np.True_, "x", 1j])
@pytest.mark.parametrize("name", ["temperature", "top_k", "max_tokens", "leading"])
def test_what_is_no_number_is_no_parameter(model: Model, name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=name):
        model.generate("Hi", policy="sample", **{name: value})
    with pytest.raises(ParameterError, match="logit_bias"):
        model.generate("Hi", logit_bias={5: value})


class Four:
    """What counts, but is no number."""

    def __index__(self) -> int:
        return 4


def test_decimals_and_what_counts_are_numbers(model: Model) -> None:
    expected = model.generate("Hi", policy="sample", seed=4, max_tokens=4, temperature=0.5, logit_bias={4: 1.5})
    got = model.generate(
        "Hi",
        policy="sample",
        seed=Four(),
        max_tokens=Four(),
        temperature=Decimal("0.5"),
        logit_bias={4: Decimal("1.5")},
    )
    assert (got.tokens, got.seed) == (expected.tokens, 4)
    assert plain(int) is int
    with pytest.raises(ParameterError, match="out of range"):
        model.generate("Hi", policy="sample", temperature=Decimal("sNaN"))


def test_no_stop_text_may_be_said_with_none(model: Model) -> None:
    assert (
        model.generate("Hi", seed=4, max_tokens=4, stop=None).tokens
        == model.generate("Hi", seed=4, max_tokens=4).tokens
    )


def test_numbers_of_this_language_stay_what_they_are() -> None:
    assert [type(plain(v)) for v in (1, 1.5, True, "1", None, np.int8(1), np.float16(1), Fraction(1, 2))] == [
        int,
        float,
        bool,
        str,
        type(None),
        int,
        float,
        float,
    ]


def test_numbers_are_taken_for_options_of_engines(smollm2: Any) -> None:
    from entropix.engines.llama_cpp import LlamaCppEngine

    engine = LlamaCppEngine(smollm2, context=np.int64(128), sequences=np.int32(2), threads=np.uint8(1))
    assert (engine.capabilities.context, engine.capabilities.sequences) == (128, 2)
    engine.shutdown()
    for option in ("context", "sequences", "threads", "cells", "batch"):
        with pytest.raises(ParameterError, match=option):
            LlamaCppEngine(smollm2, **{option: True})
