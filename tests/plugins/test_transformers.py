"""transformers' own `generate`, with this project's loop in it and with a policy in its own loop."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from entropix.decoding import Decoder  # noqa: E402
from entropix.engines.transformers import TransformersEngine  # noqa: E402
from entropix.errors import CapabilityError, EntropixError, ModelError, ParameterError  # noqa: E402
from entropix.model import Model  # noqa: E402
from entropix.plugins.transformers import PolicyProcessor, generate, write  # noqa: E402
from entropix.plugins.transformers.__main__ import main  # noqa: E402
from entropix.plugins.transformers.folder import CARD, FILES  # noqa: E402
from entropix.plugins.transformers.loop import _check  # noqa: E402
from entropix.policies import Entropix  # noqa: E402
from entropix.types import Result, Thresholds  # noqa: E402

PROMPTS = [[5, 17, 130, 9], [42], [7, 7, 8, 150, 3, 90, 2]]
LENGTH = 24
POLICIES = ["entropix", "sample:temperature=0.9,top_k=40", "mirostat", "top-n-sigma", "edt", "dynatemp", "greedy"]


@pytest.fixture(scope="module")
def tokenizer(transformers_engine: Any) -> Any:
    return transformers_engine.tokenizer._hf


@pytest.fixture(scope="module")
def tiny(tokenizer: Any) -> Any:
    """A model of random weights: unsure of everything, so that every draw matters."""
    small: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, **small,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.2)
    return model


def batch(prompts: list[list[int]]) -> dict[str, Any]:
    longest = max(map(len, prompts))
    ids = [[0] * (longest - len(p)) + p for p in prompts]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def own(model: Any, tokenizer: Any, prompt: list[int], policy: str, **options: Any) -> Result:
    """The answer of `Model.generate`'s own loop to the same tokens."""
    loaded = Model(TransformersEngine(model, tokenizer, context=128))
    decoder = Decoder(loaded.engine)
    asked = {"max_tokens": LENGTH, "ignore_end": model.generation_config.eos_token_id is None, **options}
    job = decoder.submit(replace(loaded.request("-", raw=True, policy=policy, **asked), tokens=prompt))
    while decoder.busy:
        decoder.step()
    return loaded.result(job)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_batch_of_padded_prompts_says_what_each_says_alone(tiny: Any, tokenizer: Any, policy: str) -> None:
    results: list[Result] = []
    said = tiny.generate(
        **batch(PROMPTS), custom_generate=partial(generate, tokenizer=tokenizer), policy=policy, seed=3,
        max_new_tokens=LENGTH, results=results,
    )  # fmt: skip
    width = max(map(len, PROMPTS))
    assert said.shape == (len(PROMPTS), width + LENGTH)
    for row, prompt in enumerate(PROMPTS):
        alone = own(tiny, tokenizer, prompt, policy, seed=3)
        assert tuple(said[row, width:].tolist()) == alone.tokens == results[row].tokens
        assert results[row].policy == policy.partition(":")[0]
        assert said[row, width - len(prompt) : width].tolist() == prompt


def test_a_real_model_gives_the_text_of_model_generate(transformers_engine: Any, tokenizer: Any) -> None:
    model = transformers_engine.model
    loaded = Model(transformers_engine)
    text = "What is the capital of France?"
    wanted = loaded.generate(text, seed=7, max_tokens=20)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert inputs["input_ids"][0].tolist() == loaded.encode(text)
    results: list[Result] = []
    said = model.generate(
        **inputs, custom_generate=partial(generate, tokenizer=tokenizer), seed=7, max_new_tokens=20, results=results
    )
    assert tuple(said[0, inputs["input_ids"].shape[1] :].tolist()) == wanted.tokens
    assert results[0].text == wanted.text
    assert [s.attention is None for s in results[0].steps] == [s.attention is None for s in wanted.steps]


def test_the_seed_is_torchs_where_none_is_given_and_copies_count_on(tiny: Any, tokenizer: Any) -> None:
    options: dict[str, Any] = {
        "custom_generate": partial(generate, tokenizer=tokenizer), "policy": "sample:temperature=1", "do_sample": True,
        "max_new_tokens": 12,
    }  # fmt: skip
    said = []
    for manual in (1, 1, 2):
        torch.manual_seed(manual)
        said.append(tiny.generate(**batch([PROMPTS[0]]), **options).tolist())
    assert said[0] == said[1] != said[2]
    copies = tiny.generate(**batch([PROMPTS[0]]), **options, seed=5, num_return_sequences=3)[:, 4:].tolist()
    alone = [own(tiny, tokenizer, PROMPTS[0], "sample:temperature=1", seed=s, max_tokens=12).tokens for s in (5, 6, 7)]
    assert list(map(list, alone)) == copies


def test_an_end_token_and_a_criterion_end_a_row_and_the_others_go_on(tiny: Any, tokenizer: Any) -> None:
    class After(transformers.StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return torch.tensor([input_ids.shape[1] >= 12])

    free = own(tiny, tokenizer, PROMPTS[0], "sample", seed=3).tokens
    end = free[4]
    call = partial(generate, tokenizer=tokenizer)
    said = tiny.generate(
        **batch(PROMPTS[:2]), custom_generate=call, policy="sample", seed=3, max_new_tokens=LENGTH, eos_token_id=end
    )[:, 4:].tolist()
    stop = free.index(end) + 1
    assert said[0] == [*free[:stop], *[0] * (len(said[0]) - stop)]
    assert len(said[0]) == len(said[1]) > stop
    said = tiny.generate(
        **batch(PROMPTS[:1]), custom_generate=call, policy="sample", seed=3, max_new_tokens=LENGTH,
        stopping_criteria=[After()],
    )  # fmt: skip
    assert said[0].tolist() == [*PROMPTS[0], *free[:8]]


def test_a_search_runs_and_its_record_is_kept(tiny: Any, tokenizer: Any) -> None:
    results: list[Result] = []
    tiny.generate(
        **batch([PROMPTS[0]]), custom_generate=partial(generate, tokenizer=tokenizer), policy="sample", seed=1,
        search="best:n=3", max_new_tokens=6, results=results,
    )  # fmt: skip
    (result,) = results
    assert result.search is not None
    assert len(result.search.branches) == 3


def test_an_output_object_is_returned_where_one_is_asked_for(tiny: Any, tokenizer: Any) -> None:
    said = tiny.generate(
        **batch([PROMPTS[0]]), custom_generate=partial(generate, tokenizer=tokenizer), seed=1, max_new_tokens=3,
        return_dict_in_generate=True,
    )  # fmt: skip
    assert said.sequences.shape == (1, 7)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"num_beams": 2}, CapabilityError, "num_beams"),
        ({"output_scores": True, "return_dict_in_generate": True}, CapabilityError, "output_scores: not kept here"),
        ({"no_repeat_ngram_size": 2}, CapabilityError, "NoRepeatNGramLogitsProcessor does not run in this loop"),
        ({"policy": "nonsense"}, ParameterError, "there is no policy 'nonsense'"),
    ],
)
def test_what_this_loop_cannot_do_is_refused(tiny: Any, tokenizer: Any, options: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        tiny.generate(
            **batch([PROMPTS[0]]), custom_generate=partial(generate, tokenizer=tokenizer), max_new_tokens=3, **options
        )


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
def test_a_filled_cache_is_refused_under_both_of_its_names(tiny: Any, name: str) -> None:
    cache = transformers.DynamicCache()
    _check(tiny.generation_config, {name: cache})
    tiny(torch.tensor([[5, 6]]), past_key_values=cache)
    with pytest.raises(CapabilityError, match=f"{name}: a filled cache"):
        _check(tiny.generation_config, {name: cache})


def test_wrong_padding_and_an_unknown_tokenizer_are_refused(tiny: Any, tokenizer: Any) -> None:
    wrong = {"input_ids": torch.tensor([[5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    with pytest.raises(ParameterError, match="pad on the left"):
        tiny.generate(**wrong, custom_generate=partial(generate, tokenizer=tokenizer), max_new_tokens=3)
    with pytest.raises(ModelError, match=r"functools\.partial"):
        tiny.generate(**batch([PROMPTS[0]]), custom_generate=generate, max_new_tokens=3)


def test_a_filter_holds_under_the_policy(tiny: Any, tokenizer: Any) -> None:
    def said(**options: Any) -> Any:
        own = partial(generate, tokenizer=tokenizer)
        return tiny.generate(**batch(PROMPTS), custom_generate=own, seed=3, max_new_tokens=LENGTH, **options).tolist()

    free, greedy = said(policy="sample:temperature=1"), said(policy="greedy")
    assert said(policy="sample:temperature=1", filters="top_k=1") == greedy
    assert free != greedy


def test_a_penalty_of_the_generation_config_holds(tiny: Any, tokenizer: Any) -> None:
    said = tiny.generate(
        **batch([PROMPTS[0]]), custom_generate=partial(generate, tokenizer=tokenizer), policy="greedy",
        repetition_penalty=1.8, max_new_tokens=LENGTH,
    )  # fmt: skip
    alone = own(tiny, tokenizer, PROMPTS[0], "greedy", repetition="repetition=1.8")
    assert tuple(said[0, 4:].tolist()) == alone.tokens
    assert alone.tokens != own(tiny, tokenizer, PROMPTS[0], "greedy").tokens


# a policy in transformers' own loop


@pytest.mark.parametrize("policy", POLICIES)
def test_a_processor_draws_what_our_own_loop_draws(tiny: Any, tokenizer: Any, policy: str) -> None:
    processor = PolicyProcessor.of(tiny, tokenizer, policy, seed=3)
    processor.pad = 0
    said = tiny.generate(**batch(PROMPTS), logits_processor=[processor], do_sample=False, max_new_tokens=LENGTH)
    width = max(map(len, PROMPTS))
    for row, prompt in enumerate(PROMPTS):
        alone = own(tiny, tokenizer, prompt, policy, seed=3, attention=False)
        assert tuple(said[row, width:].tolist()) == alone.tokens


def test_a_processor_puts_injected_texts_in_token_by_token(tiny: Any, tokenizer: Any) -> None:
    """Thresholds under which every step clarifies, as often as the policy may."""
    always = Thresholds(entropy_low=1e-6, entropy_high=1e-5, varentropy_low=1e6, varentropy_high=1e7)
    made = Entropix(thresholds=always, inject_cooldown=8, inject_max=2)
    processor = PolicyProcessor(made, seed=2, injection=[150, 151, 152], pad=0)
    said = tiny.generate(**batch([PROMPTS[0]]), logits_processor=[processor], do_sample=False, max_new_tokens=LENGTH)
    tokens = said[0, 4:].tolist()
    places = [n for n in range(len(tokens) - 2) if tokens[n : n + 3] == [150, 151, 152]]
    assert len(places) == 2
    assert places[0] == 0
    assert places[1] - places[0] > 3


def test_a_processor_begins_anew_with_a_new_prompt(tiny: Any, tokenizer: Any) -> None:
    processor = PolicyProcessor.of(tiny, tokenizer, "mirostat", seed=3)
    texts = [
        tiny.generate(**batch([p]), logits_processor=[processor], do_sample=False, max_new_tokens=8).tolist()
        for p in (PROMPTS[0], PROMPTS[2], PROMPTS[0])
    ]
    assert texts[0] == texts[2] != texts[1]


# the folder that transformers takes by name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Code that transformers trusts is copied to a folder of its own, here a new one."""
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    target = tmp_path / "recipe"
    write(target)
    return target


def test_the_command_writes_the_folder_and_says_what_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = folder.parent / "new"
    monkeypatch.setattr(sys, "argv", ["…", str(target)])
    main()
    said = capsys.readouterr().out.splitlines()
    assert said[:-1] == [str(target / name) for name in (CARD, *FILES)]
    assert f"custom_generate={str(target)!r}" in said[-1]
    assert [(target / name).read_bytes() for name in FILES] == [(folder / name).read_bytes() for name in FILES]
    monkeypatch.setattr(sys, "argv", ["…", str(target / CARD)])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "cannot be written" in capsys.readouterr().err


def test_the_folder_generates_what_the_callable_does(tiny: Any, tokenizer: Any, folder: Path) -> None:
    results: list[Result] = []
    options: dict[str, Any] = {**batch(PROMPTS), "policy": "mirostat", "seed": 3, "max_new_tokens": LENGTH}
    said = tiny.generate(
        **options, custom_generate=str(folder), trust_remote_code=True, tokenizer=tokenizer, results=results
    )
    wanted = tiny.generate(**options, custom_generate=partial(generate, tokenizer=tokenizer))
    assert said.tolist() == wanted.tolist()
    assert [len(result.steps) for result in results] == [LENGTH] * len(PROMPTS)


def test_a_model_with_the_folder_in_its_own_generates_so_by_itself(tiny: Any, tokenizer: Any, folder: Path) -> None:
    tiny.save_pretrained(folder)
    assert write(folder) == []
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    options: dict[str, Any] = {**batch(PROMPTS), "policy": "edt", "seed": 3, "max_new_tokens": 8}
    said = loaded.generate(**options, tokenizer=tokenizer)
    assert said.tolist() == tiny.generate(**options, custom_generate=partial(generate, tokenizer=tokenizer)).tolist()


def test_the_folder_streams_where_a_callable_alone_gets_no_streamer(tiny: Any, tokenizer: Any, folder: Path) -> None:
    class Kept(transformers.generation.streamers.BaseStreamer):  # type: ignore[misc]
        def __init__(self) -> None:
            self.tokens: list[int] = []

        def put(self, value: Any) -> None:
            self.tokens += value.flatten().tolist()

        def end(self) -> None:
            self.tokens.append(-1)

    kept = Kept()
    said = tiny.generate(
        **batch(PROMPTS[:1]), custom_generate=str(folder), trust_remote_code=True, tokenizer=tokenizer, streamer=kept,
        seed=3, max_new_tokens=6,
    )  # fmt: skip
    assert kept.tokens == [*said[0].tolist(), -1]


def test_nothing_runs_untrusted_and_nothing_of_others_is_overwritten(tiny: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match="trust_remote_code"):
        tiny.generate(**batch(PROMPTS[:1]), custom_generate=str(folder), trust_remote_code=False)
    code, card = folder / "custom_generate" / "generate.py", folder / CARD
    code.write_text("def generate(model): ...")
    with pytest.raises(EntropixError, match=r"generate\.py is there and is another"):
        write(folder)
    code.unlink()
    card.write_text("of the model")
    assert write(folder) == [code]
    assert card.read_text() == "of the model"
