"""The Python API on the scripted engine and, for what only a real model can show, on both real engines."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import entropix
from entropix.engines import Engine, EngineKind
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import CapabilityError, EntropixError, ModelError, ParameterError, ProfileError, PromptError
from entropix.models import ENGINES, available, load_engine, resolve
from entropix.policies import make_policy
from helpers.llama import needs_llama_cpp


def scripted(text: str = "Hello wörld 🙂!", **values: Any) -> entropix.Model:
    return entropix.Model(ScriptedEngine(saying(text, certainty=9), **values))


def test_a_text_is_a_user_message_and_raw_is_text() -> None:
    model = scripted()
    assert model.encode("hi") == model.tokenizer.chat([{"role": "user", "content": "hi"}])
    assert model.encode("hi", raw=True) == model.tokenizer.encode("hi", begin=True)
    result = model.generate("hi", seed=1)
    assert (result.text, result.finish_reason) == ("Hello wörld 🙂!", "end")
    assert 0 < result.uncertainty < 1
    assert sum(result.regime_shares.values()) == pytest.approx(1)


def test_a_list_is_a_batch_and_messages_are_a_conversation() -> None:
    model = scripted()
    conversation = [{"role": "system", "content": "be nice"}, {"role": "user", "content": "hi"}]
    assert isinstance(model.generate(conversation, seed=1), entropix.Result)
    results = model.generate(["a", conversation, "c"], seed=1)
    assert [r.text for r in results] == ["Hello wörld 🙂!"] * 3
    assert [r.prompt_tokens for r in results] == [len(model.encode(p)) for p in ("a", conversation, "c")]


@pytest.mark.parametrize(
    "prompt",
    ["", [], [[]], 5, None, "\ud800", [{"role": "user"}], [{"content": "x"}],
     [{"role": "user", "content": 3}], ["fine", ""], {"role": "user", "content": "x"}],
)  # fmt: skip
def test_impossible_prompts_are_refused_with_a_message(prompt: Any) -> None:
    model = scripted()
    with pytest.raises(PromptError) as caught:
        model.generate(prompt)
    assert len(str(caught.value)) > 15
    assert not model.engine.live  # type: ignore[attr-defined]


def test_an_empty_turn_is_a_turn_and_an_empty_text_is_where_the_model_begins() -> None:
    model = scripted()
    turn = [{"role": "user", "content": ""}]
    assert model.generate(turn, seed=1).prompt_tokens == len(model.tokenizer.chat(turn)) > 0
    assert model.encode("", raw=True) == [model.tokenizer.begin_token]
    assert model.generate("", raw=True, seed=1).text
    model.tokenizer.encode = lambda *_, **__: []  # of a model that wants no token at the beginning
    with pytest.raises(PromptError, match="the prompt is empty"):
        model.generate("", raw=True)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"policy": "nonsense"}, ParameterError),
        ({"temperature": 9}, ParameterError),
        ({"nonsense": 1}, ParameterError),
        ({"max_tokens": 0}, ParameterError),
        ({"stop": [""]}, ParameterError),
        ({"seed": 1.5}, ParameterError),
        ({"max_tokens": "3"}, ParameterError),
        ({"max_tokens": 2.5}, ParameterError),
        ({"stop": 5}, ParameterError),
        ({"stop": [1]}, ParameterError),
        ({"policy": 5}, ParameterError),
        ({"logit_bias": {10**9: 1.0}}, ParameterError),
        ({"logit_bias": {5: float("nan")}}, ParameterError),
        ({"leading": -1}, ParameterError),
        ({"prompt": b"hi"}, PromptError),
        ({"raw": True, "prompt": [{"role": "user", "content": "x"}]}, PromptError),
    ],
)
def test_bad_options_raise_before_anything_is_computed(options: dict[str, Any], kind: type[EntropixError]) -> None:
    model = scripted()
    with pytest.raises(kind):
        model.stream(**{"prompt": "hi", **options})
    assert model.engine.forwards == 0  # type: ignore[attr-defined]


def test_attention_on_an_engine_that_shows_none() -> None:
    model = scripted(attention=False)
    with pytest.raises(CapabilityError, match="attention"):
        model.generate("hi", attention=True)
    assert any("attention" in note for note in model.generate("hi").notes)


def test_a_stream_yields_what_the_result_holds_and_can_be_closed() -> None:
    model = scripted("one two three")
    stream = model.stream("hi", seed=1)
    first = [token.text for token in itertools.islice(stream, 5)]
    stream.close()
    assert "".join(first) == stream.result.text == "one t"
    assert stream.result.finish_reason == "cancelled"
    assert not model.engine.live  # type: ignore[attr-defined]
    never_begun = model.stream("hi")
    never_begun.close()
    assert never_begun.result.finish_reason == "cancelled"


def test_a_seed_is_drawn_and_recorded_when_none_is_given() -> None:
    model = entropix.Model(ScriptedEngine(hashed(2.0)))
    first = model.generate("hi", max_tokens=20)
    again = model.generate("hi", max_tokens=20, seed=first.seed)
    assert again.tokens == first.tokens
    assert model.generate("hi", max_tokens=20).seed != first.seed


def test_negative_and_huge_seeds_work() -> None:
    model = entropix.Model(ScriptedEngine(hashed(2.0)))
    texts = {model.generate("hi", max_tokens=12, seed=s, policy="sample").text for s in (-1, 0, 2**64 + 5, 5)}
    assert len(texts) >= 3


def test_a_chat_remembers_and_reuses_its_cache() -> None:
    model = scripted("sure.")
    chat = model.chat("be nice", seed=1)
    for n, text in enumerate(("one", "two", "three")):
        stream = chat.send(text)
        assert "".join(token.text for token in stream) == "sure."
        ledger = stream.result.ledger
        if n:
            assert ledger.prompt < 12 < ledger.shared
    assert [m["role"] for m in chat.messages] == ["system", *["user", "assistant"] * 3]
    stopped = chat.send("four")
    next(iter(stopped))
    stopped.close()
    assert chat.messages[-1] == {"role": "assistant", "content": "s"}
    abandoned = chat.send("five")
    abandoned.close()
    assert chat.messages[-2]["content"] == "five"
    chat.reset()
    assert len(chat.messages) == 1
    chat.close()
    assert not model.engine.live  # type: ignore[attr-defined]


def test_a_policy_object_can_be_given() -> None:
    model = scripted()
    policy = make_policy("sample", model.profile.thresholds, 260, temperature=0.5)
    assert model.generate("hi", policy=policy, seed=1).policy == "sample"
    with pytest.raises(ParameterError, match="top_p"):
        model.generate("hi", policy=policy, top_p=0.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", ["nonsense", "smollm2"]),
        ("", ["names no model"]),
        ("/nowhere/model.gguf", ["/nowhere/model.gguf"]),
        ("missing.gguf", ["missing.gguf"]),
        ("./a/b", ["./a/b"]),
    ],
)
def test_models_that_are_not_there(name: str, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(name)
    assert all(word in str(caught.value) for word in words)


def test_directories_and_files_are_told_apart(tmp_path: Any) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    assert resolve(tmp_path) == ("llama_cpp", str(tmp_path / "a.gguf"))
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="several"):
        resolve(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert resolve(tmp_path)[0] == "transformers"
    assert resolve("organisation/model") == ("transformers", "organisation/model")


def test_engine_options_are_checked_by_name(smollm2: Any) -> None:
    with pytest.raises(ParameterError, match="device"):
        load_engine("smollm2", device="cuda")
    for option in ({"threads": 99_999}, {"context": 10**20}, {"context": "x"}, {"cells": 0}):
        with pytest.raises(ParameterError, match="allowed is an integer"):
            load_engine("smollm2", **option)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="tensorflow"):
        load_engine("smollm2", "tensorflow")
    with pytest.raises(ProfileError, match="nonsense"):
        entropix.load("smollm2", profile="nonsense")
    assert any(entry.name == "smollm2" for entry in available())


PROMPTS = [
    "Why is the sky blue?", "Name three rivers.", "What is 17 + 25?", "Write a haiku about rain.",
    "Who wrote Hamlet?", "Translate 'good morning' into French.", "List two prime numbers.", "Say something nice. 🙂",
]  # fmt: skip


@pytest.mark.parametrize("policy", ["entropix", "sample:temperature=1.0"])
def test_same_seed_same_text_alone_in_a_batch_and_after_a_rewind(real_engine: Engine, policy: str) -> None:
    model = entropix.Model(real_engine)
    options: dict[str, Any] = {"policy": policy, "seed": 11, "max_tokens": 24}
    alone = [model.generate(PROMPTS[n], **options).tokens for n in (0, 3)]
    batch = model.generate(PROMPTS, **options)
    assert [batch[0].tokens, batch[3].tokens] == alone
    assert len({r.tokens for r in batch}) == 8

    prompt = model.encode(PROMPTS[0])
    sequence = real_engine.open()
    try:
        real_engine.forward([(sequence, [*prompt, *batch[3].tokens[:9]])])
        real_engine.rewind(sequence, len(prompt))
        after = model.generate(PROMPTS[0], **options)  # shares the rewound sequence's prefix
        assert after.ledger.shared == len(prompt) - 1
        assert after.tokens == alone[0]
    finally:
        real_engine.close(sequence)


def test_another_seed_gives_another_text(real_engine: Engine) -> None:
    model = entropix.Model(real_engine)
    texts = {model.generate(PROMPTS[3], policy="sample:temperature=1.0", seed=s, max_tokens=24).text for s in range(3)}
    assert len(texts) == 3


def test_an_engine_that_is_not_installed_names_its_command_and_one_that_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    absent = {"load": lambda _: None, "formats": ("transformers",), "runtimes": ("no_such_package",), "install": "it"}
    present = {**absent, "runtimes": ("numpy",)}
    for name in ENGINES:
        monkeypatch.setitem(ENGINES, name, EngineKind(name=name, summary="", **absent))
    with pytest.raises(ModelError, match=r"the transformers engine is not installed: pip install it$"):
        load_engine(tmp_path)
    monkeypatch.setitem(ENGINES, "mine", EngineKind(name="mine", summary="", **present))
    with pytest.raises(ModelError, match=r"pip install it, or load the model with --engine mine$"):
        load_engine(tmp_path)


def test_a_real_chat_reuses_the_cache(smollm2_engine: Engine) -> None:
    chat = entropix.Model(smollm2_engine).chat(seed=1, max_tokens=12)
    try:
        for _ in chat.send("Name a river."):
            pass
        stream = chat.send("And another?")
        for _ in stream:
            pass
        assert stream.result.ledger.shared >= stream.result.prompt_tokens - 25
        assert stream.result.text
    finally:
        chat.close()


def flat() -> entropix.Model:
    """A model to which every token is equally likely: what is said depends on the noise alone."""
    return entropix.Model(ScriptedEngine(lambda _: np.zeros(260), sequences=64))


HOT: dict[str, Any] = {"policy": "sample:temperature=1.2", "max_tokens": 6, "raw": True}


def test_b8_without_a_seed_every_prompt_draws_its_own() -> None:
    prompts = [f"Prompt {n:02}" for n in range(40)]
    results = flat().generate(prompts, **HOT)
    assert len({r.tokens for r in results}) == len({r.seed for r in results}) == 40
    same = flat().generate(["Tell me a random word."] * 4, **HOT)
    assert len({r.tokens for r in same}) == 4
    with flat().stream(["a"] * 4, **HOT, search="vote:n=2,answer=text,stop=none") as stream:
        for _ in stream:
            pass
    branches = [b.steps for r in stream.results for b in r.search.branches]
    assert len({tuple(s.token for s in steps) for steps in branches}) == 8


def test_b8_a_seed_that_is_given_holds_for_each_prompt_alone_and_in_any_batch() -> None:
    prompts = [f"Prompt {n:02}" for n in range(5)]
    together = flat().generate(prompts, seed=3, **HOT)
    alone = [flat().generate(prompt, seed=3, **HOT) for prompt in prompts]
    assert [r.tokens for r in together] == [r.tokens for r in alone]
    assert {r.seed for r in together} == {3}


def test_b8_the_seeds_that_were_drawn_give_the_same_texts_again() -> None:
    results = flat().generate(["a", "b"], **HOT)
    again = [flat().generate(p, seed=r.seed, **HOT) for p, r in zip("ab", results, strict=True)]
    assert [r.tokens for r in again] == [r.tokens for r in results]


def test_load_takes_the_options_of_llama_cpp(smollm2: Path) -> None:
    needs_llama_cpp()
    options: Any = {"gpu_layers": 0, "flash_attention": True, "kv_type": "q8_0", "batch": 64, "threads": 1}
    with entropix.load(smollm2, context=128, sequences=2, **options) as model:
        assert model.generate("The capital of France is", raw=True, policy="greedy", max_tokens=1).text == " Paris"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"contxt": 64}, r"no engine has an option 'contxt'; there are context, .*; did you mean context\?"),
        ({"n_ctx": 64}, r"'n_ctx'.*; did you mean context\?"),
        ({"n-gpu-layers": 1}, r"did you mean gpu_layers\?"),
        ({"engine": "transformers", "n_threads": 1}, r"the transformers engine has no option 'n_threads'; there are"),
        ({"engine": "lama_cpp"}, r"there is no engine 'lama_cpp'; known are .*; did you mean llama_cpp\?"),
    ],
)
def test_an_option_that_there_is_not_is_refused_before_a_model_is_looked_for(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    if "engine" not in options:
        monkeypatch.setattr("entropix.models.resolve", lambda name: pytest.fail("looked for"))
    with pytest.raises(ParameterError, match=said):
        load_engine(tmp_path, **options)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temprature": 1.0}, r"did you mean temperature\?"),
        ({"top-p": 1.0}, r"did you mean top_p\?"),
        ({"policy": "Sampel"}, r"there is no policy 'Sampel'.*; did you mean sample\?"),
        ({"search": "vote:answr=number"}, r"did you mean answer\?"),
        ({"search": "tre"}, r"did you mean tree\?"),
        ({"max_new_tokens": 5}, r"did you mean the option max_tokens\?"),
        ({"max_token": 5}, r"did you mean the option max_tokens\?"),
        ({"repetition_penalty": 1.1}, r"did you mean the option repetition\?"),
    ],
)
def test_a_name_that_is_nearly_one_is_suggested(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        scripted().generate("hi", **params)


def test_a_name_that_is_like_none_gets_no_suggestion() -> None:
    with pytest.raises(ParameterError, match=r"there is no parameter 'xyzzy'; it has [a-z_0-9, ]+$"):
        scripted().generate("hi", xyzzy=1)


def test_a_file_that_is_nearly_there_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "Qwen3-0.6B-Q4_K_M.gguf").write_bytes(b"GGUF")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    for typed, meant in (("qwen3-0.6b-q4-k-m.gguf", "Qwen3-0.6B-Q4_K_M.gguf"), ("./tiy", "tiny")):
        with pytest.raises(ModelError, match=rf"did you mean {tmp_path / meant}\?"):
            resolve(tmp_path / typed)
