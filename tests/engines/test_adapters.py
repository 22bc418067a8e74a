"""LoRA adapters and stretched positions on llama.cpp, with adapters that are made here for the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import entropix
from entropix.engines.llama_cpp import LlamaCppEngine
from entropix.engines.llama_cpp.adapters import Adapter, parse_adapters
from entropix.engines.llama_cpp.rope import Rope, parse_rope
from entropix.errors import ModelError, ParameterError
from entropix.models import load_engine
from helpers.llama import embedded_model, needs_llama_cpp

needs_llama_cpp()
gguf = pytest.importorskip("gguf")
MODEL = embedded_model()
SETTINGS: dict[str, Any] = {"context": 128, "sequences": 2, "cells": 256, "batch": 64, "threads": 1}
WIDTH, INNER, LAYERS, RANK = 576, 1536, 30, 4


def write(path: Path, *, up: float = 1.0, alpha: float = RANK, seed: int = 0, width: int = WIDTH, **keys: str) -> Path:
    """An adapter of the down projection of every layer; up multiplies one of its two matrices."""
    said = {"general.type": "adapter", "adapter.type": "lora", **{k.replace("__", "."): v for k, v in keys.items()}}
    writer = gguf.GGUFWriter(path, said.pop("general.architecture", "llama"))
    for key, value in said.items():
        if value:
            writer.add_string(key, value)
    writer.add_float32("adapter.lora.alpha", alpha)
    rng = np.random.default_rng(seed)
    for layer in range(LAYERS):
        name = f"blk.{layer}.ffn_down.weight"
        writer.add_tensor(f"{name}.lora_a", rng.normal(0, 0.02, (RANK, INNER)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", (up * rng.normal(0, 0.05, (width, RANK))).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(engine: LlamaCppEngine, text: str = "The capital of France is", **options: Any) -> Any:
    sequence = engine.open(**options)
    try:
        return np.array(engine.forward([(sequence, engine.tokenizer.encode(text))]).logits[0])
    finally:
        engine.close(sequence)


def of(**options: Any) -> Any:
    engine = LlamaCppEngine(MODEL, **{**SETTINGS, **options})
    try:
        return logits(engine)
    finally:
        engine.shutdown()


@pytest.fixture(scope="module")
def plain() -> Any:
    return of()


def test_an_adapter_changes_what_the_model_says_and_one_of_zeros_nothing(tmp_path: Path, plain: Any) -> None:
    changed = of(lora=write(tmp_path / "some.gguf"))
    assert np.abs(changed - plain).max() > 0.5
    assert np.array_equal(of(lora=write(tmp_path / "zeros.gguf", up=0.0)), plain)


def test_scale_alpha_and_weights_multiply(tmp_path: Path) -> None:
    whole = of(lora=write(tmp_path / "a.gguf"))
    half = str(write(tmp_path / "b.gguf", up=2.0))
    assert np.allclose(of(lora=f"{half}:0.5"), whole, atol=1e-2)
    assert np.allclose(of(lora={half: 0.5}), whole, atol=1e-2)
    assert np.allclose(of(lora=write(tmp_path / "c.gguf", up=0.5, alpha=2 * RANK)), whole, atol=1e-2)
    assert np.abs(of(lora=half) - whole).max() > 0.1


def test_two_adapters_hold_together_and_a_scale_of_0_none(tmp_path: Path, plain: Any) -> None:
    a, b = write(tmp_path / "a.gguf"), write(tmp_path / "b.gguf", seed=1)
    both = of(lora=[a, b])
    assert np.abs(both - of(lora=a)).max() > 0.1
    assert np.allclose(both, of(lora=[b, a]), atol=1e-2)
    assert np.array_equal(of(lora={str(a): 0.0}), plain)


def test_sequences_that_are_computed_apart_have_the_adapter_too(tmp_path: Path, plain: Any) -> None:
    engine = LlamaCppEngine(MODEL, lora=write(tmp_path / "a.gguf"), **SETTINGS)
    try:
        tokens = engine.tokenizer.encode("The capital of France is")
        apart = logits(engine, prompt=len(tokens))
        assert np.allclose(apart, logits(engine), atol=0.5)
        assert np.abs(apart - plain).max() > 0.5
        assert engine.capabilities.attention
    finally:
        engine.shutdown()


def test_the_name_says_which_adapters_a_model_has(tmp_path: Path) -> None:
    a, b = write(tmp_path / "mine.gguf"), write(tmp_path / "other.gguf")
    with entropix.load(str(MODEL), lora=[a, f"{b}:0.5"], **SETTINGS) as model:
        assert model.info.name == f"{MODEL.stem}+mine+other*0.5"
        result = model.generate("hi", seed=1, max_tokens=4)
        assert result.model == model.info.name
        with entropix.load(str(MODEL), **SETTINGS) as base:
            assert base.info.fingerprint == model.info.fingerprint, "the profile of its vocabulary and shape"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"general__architecture": "qwen2"}, r"of the architecture 'qwen2', and this model is of 'llama'"),
        ({"general__type": "model", "adapter__type": ""}, r"is no LoRA adapter: it is of the type 'model'"),
        ({"general__type": "", "adapter__type": ""}, r"is no LoRA adapter: it does not say that it is one"),
        ({"adapter__type": "control_vector"}, r"is no LoRA adapter: it is of the type 'adapter'"),
    ],
)
def test_what_is_no_adapter_of_this_model_is_refused(tmp_path: Path, keys: dict[str, str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        of(lora=write(tmp_path / "a.gguf", **keys))


def test_an_adapter_of_another_shape_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot use .*a\.gguf with this model: .*(shape|dimension|incorrect)"):
        of(lora=write(tmp_path / "a.gguf", width=WIDTH * 2))
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(write(tmp_path / "b.gguf").read_bytes()[:-100_000])
    with pytest.raises(ModelError, match=r"cannot use .*cut\.gguf with this model"):
        of(lora=cut)
    (tmp_path / "text.gguf").write_text("no GGUF")
    with pytest.raises(ModelError, match=r"is not a GGUF file.*convert_lora_to_gguf\.py"):
        of(lora=tmp_path / "text.gguf")
    with pytest.raises(ModelError, match=r"no LoRA adapter file at .*none\.gguf"):
        of(lora=tmp_path / "none.gguf")
    with pytest.raises(ModelError, match=r"is no LoRA adapter"):
        of(lora=MODEL)


def test_after_a_refused_adapter_the_model_can_be_loaded(tmp_path: Path) -> None:
    wrong = write(tmp_path / "a.gguf", general__architecture="qwen2")
    for _ in range(3):
        with pytest.raises(ModelError):
            of(lora=wrong)
    assert of().shape == of(lora=write(tmp_path / "b.gguf")).shape


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, ()),
        ("a.gguf", (Adapter(Path("a.gguf")),)),
        ("a.gguf:0.5", (Adapter(Path("a.gguf"), 0.5),)),
        ("C:\\a.gguf", (Adapter(Path("C:\\a.gguf")),)),
        (["a", Path("b"), "c:-2"], (Adapter(Path("a")), Adapter(Path("b")), Adapter(Path("c"), -2.0))),
        ({"a": 1}, (Adapter(Path("a"), 1.0),)),
        ([], ()),
    ],
)
def test_adapters_are_named_in_several_ways(asked: Any, found: Any) -> None:
    assert parse_adapters(asked) == found


def test_a_file_whose_name_ends_like_a_scale_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a:2").touch()
    assert parse_adapters(str(tmp_path / "a:2")) == (Adapter(tmp_path / "a:2"),)


@pytest.mark.parametrize("asked", ["", "a:nan", {"a": "much"}, {"a": True}, [""], ["a", "a"], 7, ["a:1", "a:2"]])
def test_adapters_that_cannot_be_are_refused(asked: Any) -> None:
    with pytest.raises(ParameterError, match="lora"):
        parse_adapters(asked)


# positions


def test_a_factor_of_1_and_the_models_own_base_change_nothing(plain: Any) -> None:
    assert np.array_equal(of(rope_scaling="linear:1"), plain)
    assert np.array_equal(of(rope_freq_base=100_000), plain)


@pytest.mark.parametrize("options", [{"rope_scaling": "linear:4"}, {"rope_scaling": "yarn:4"}, {"rope_freq_base": 1e6}])
def test_stretched_positions_change_what_the_model_says(options: Any, plain: Any) -> None:
    assert 0.01 < np.abs(of(**options) - plain).max() < 20


def test_the_context_grows_by_the_factor() -> None:
    trained = 8192
    for scaling, context in ((None, trained), ("yarn:2", trained + 256)):
        engine = LlamaCppEngine(MODEL, context=trained + 256, sequences=1, threads=1, rope_scaling=scaling)
        assert engine.capabilities.context == context
        engine.shutdown()


@pytest.mark.parametrize(
    "scaling", ["yarn", "none:2", "linear:0.5", "linear:nan", "linear:x", "longrope:2", "", "yarn:1e9"]
)
def test_a_scaling_that_there_is_not_is_refused(scaling: str) -> None:
    with pytest.raises(ParameterError, match=r"rope_scaling is .*; allowed are none, linear:FACTOR and yarn:FACTOR"):
        parse_rope(scaling, None)


@pytest.mark.parametrize("base", [0, -1.0, float("inf"), True, "many"])
def test_a_base_that_cannot_be_is_refused(base: Any) -> None:
    with pytest.raises(ParameterError, match=r"rope_freq_base is .*; allowed is a number above 0"):
        parse_rope(None, base)


def test_nothing_asked_for_leaves_the_files_own_settings() -> None:
    assert parse_rope(None, None) == Rope()
    assert parse_rope("none", None) == Rope("none")


@pytest.mark.parametrize(
    ("option", "said"),
    [("lora", "merge_and_unload"), ("rope_scaling", r"config\.json"), ("rope_freq_base", "rope_theta")],
)
def test_transformers_says_why_it_does_not_take_them(option: str, said: str) -> None:
    with pytest.raises(ParameterError, match=rf"the transformers engine has no option '{option}': .*{said}"):
        load_engine(str(MODEL), engine="transformers", **{option: "x"})
