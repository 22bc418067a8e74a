"""Attention signals inside a running vLLM: equal to what transformers and our own engine show for the same tokens."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm")

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that the test sees what the processor writes down
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import torch
import transformers
from tokenizers import Tokenizer, models
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

sys.path.insert(0, str(Path(__file__).parent))  # vLLM imports a processor by name in processes of its own
from recorder import Recorder

from entropix.engines.transformers import TransformersEngine
from entropix.plugins.vllm.attention import compiled
from entropix.plugins.vllm.attention.cpu import ObservingImpl
from entropix.types import ATTENTION

pytestmark = pytest.mark.slow

SWITCH = {"entropix": {"attention": True}}
VOCABULARY, LENGTH, BLOCK = 200, 512, 32
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 96,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": LENGTH,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def tiny(family: str = "llama", layers: int = 2, **more: Any) -> Any:
    """A model with random weights whose heads really look at different places."""
    kinds = {"llama": transformers.LlamaConfig, "gemma3": transformers.Gemma3TextConfig}
    config = kinds[family](**SHAPE, num_hidden_layers=layers, dtype="float32", **more)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.normal_(0, 0.2)
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny()


@pytest.fixture(scope="module")
def directory(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(path)
    return path


class Running:
    """One vLLM in this process at a time."""

    def __init__(self) -> None:
        self.llm: LLM | None = None
        self.asked: Any = None

    def start(self, directory: Path, **settings: Any) -> LLM:
        if self.llm is None or self.asked != (directory, settings):
            self.stop()
            fixed = {"skip_tokenizer_init": True, "max_model_len": LENGTH, "max_num_seqs": 8, "block_size": BLOCK}
            merged = {"enforce_eager": True, "dtype": "float32", "logits_processors": [Recorder], **fixed, **settings}
            self.llm, self.asked = LLM(str(directory), **merged), (directory, settings)
        Recorder.shown.clear()
        Recorder.steps.clear()
        Recorder.entered.clear()
        return self.llm

    def stop(self) -> None:
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm = None
            cleanup_dist_env_and_memory()
            gc.collect()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


def draw(lengths: list[int], seed: int = 1) -> list[list[int]]:
    source = random.Random(seed)
    return [[source.randrange(VOCABULARY) for _ in range(n)] for n in lengths]


def generate(
    llm: LLM, prompts: list[list[int]], watch: Any = None, tokens: int = 8, **sampling: Any
) -> list[list[int]]:
    """The prompts with their answers; `watch` names the prompts (by number) whose requests ask, None: all."""
    params = [
        SamplingParams(
            max_tokens=tokens,
            ignore_eos=True,
            detokenize=False,
            extra_args={"watch": str(i)} if watch is None or i in watch else None,
            **({"temperature": 0.0} | sampling),
        )
        for i in range(len(prompts))
    ]
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=False)
    return [prompt + list(output.outputs[0].token_ids) for prompt, output in zip(prompts, outputs, strict=True)]


def eager(model: Any, tokens: list[int], layer: int) -> np.ndarray[Any, Any]:
    """(heads, tokens) weights of the last position, by transformers' own eager attention."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(torch.tensor([tokens]), use_cache=False, output_attentions=True)
    return np.asarray(out.attentions[layer][0, :, -1].double())


def assert_shown(model: Any, prompts: list[list[int]], texts: list[list[int]], watch: Any, layer: int = -1) -> int:
    """Every step of every watched text shows what transformers shows; how many steps there were."""
    for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        if watch is not None and i not in watch:
            assert str(i) not in Recorder.shown
            continue
        shown = Recorder.shown[str(i)]
        assert set(range(len(prompt), len(text))) <= set(shown)
        for position in range(len(prompt), len(text)):
            a = eager(model, text[:position], layer)
            h = -np.sum(a * np.log(np.maximum(a, 1e-300)), axis=1) / max(np.log(position), 1e-9)
            spread = 0.5 * np.abs(a - a.mean(axis=0)).sum(axis=1)
            assert shown[position][:3] == pytest.approx([h.mean(), h.var(), 1 - spread.mean()], abs=1e-5), position
    return len(Recorder.steps)


def test_every_step_of_a_mixed_batch_shows_what_transformers_shows(
    model: Any, directory: Path, running: Running
) -> None:
    # 96 tokens a step: the long prompts come in pieces, beside requests that decode
    llm = running.start(directory, additional_config=SWITCH, max_num_batched_tokens=96)
    prompts = draw([1, 5, 33, 150, 260, 31, 32, 128, 129, 64])
    watch = {0, 1, 3, 4, 5, 6, 8, 9}
    texts = generate(llm, prompts, watch)
    assert_shown(model, prompts, texts, watch)
    assert any(0 < asked < size for size, asked in Recorder.steps)


def test_without_a_compiler_tensors_show_the_same(
    model: Any, directory: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "library", lambda: None)
    llm = running.start(directory, additional_config=SWITCH, max_num_batched_tokens=96)
    prompts = draw([1, 33, 150, 260, 31], seed=3)
    watch = {0, 2, 3, 4}
    texts = generate(llm, prompts, watch)
    assert_shown(model, prompts, texts, watch)


def test_all_four_signals_are_those_of_our_own_engine(model: Any, directory: Path, running: Running) -> None:
    llm = running.start(directory, additional_config=SWITCH, max_num_batched_tokens=96)
    prompts = draw([3, 40, 200], seed=5)
    texts = generate(llm, prompts)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))
    model.set_attn_implementation("sdpa")
    engine = TransformersEngine(model, tokenizer, context=LENGTH, sequences=1)
    for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        for position in range(len(prompt), len(text)):
            sequence = engine.open(text[:position])
            rest = text[len(sequence.tokens) : position]
            attention = engine.forward([(sequence, rest)], attention=True).attention
            engine.close(sequence)
            ours = [float(getattr(attention, name)[0]) for name in ATTENTION]
            assert Recorder.shown[str(i)][position] == pytest.approx(ours, rel=1e-5, abs=1e-5)


def test_a_prompt_whose_prefix_is_cached_shows_the_same(model: Any, directory: Path, running: Running) -> None:
    llm = running.start(directory, additional_config=SWITCH, max_num_batched_tokens=96, enable_prefix_caching=True)
    (prefix,) = draw([100], seed=7)
    prompts = [prefix + tail for tail in draw([1, 20, 50], seed=8)]
    generate(llm, prompts[:1])
    again = llm.generate(
        [{"prompt_token_ids": prompts[1]}], SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False
    )
    assert again[0].num_cached_tokens >= BLOCK
    Recorder.shown.clear()
    texts = generate(llm, prompts)
    assert_shown(model, prompts, texts, None)


def test_requests_that_were_pre_empted_and_computed_again_show_the_same(
    model: Any, directory: Path, running: Running
) -> None:
    llm = running.start(directory, additional_config=SWITCH, num_gpu_blocks_override=17, enable_prefix_caching=False)
    prompts = draw([60, 60, 61, 62, 61, 59], seed=9)
    texts = generate(llm, prompts, tokens=40)
    assert_shown(model, prompts, texts, None)
    assert len(Recorder.entered) > len(prompts), "nobody was pre-empted"


def test_the_tokens_of_everybody_are_those_of_vllm_without_us(directory: Path, running: Running) -> None:
    prompts = draw([5, 70, 130, 33], seed=11)
    answers = []
    for settings in ({"logits_processors": None}, {"additional_config": SWITCH}):
        llm = running.start(directory, max_num_batched_tokens=96, **settings)
        answers.append([generate(llm, prompts, {1, 2}, tokens=24), generate(llm, prompts, set(), tokens=24)])
    assert answers[0] == answers[1]


def test_switched_off_the_layers_are_vllms_own(directory: Path, running: Running) -> None:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackendImpl

    llm = running.start(directory, additional_config={})
    texts = generate(llm, draw([5, 40]))
    assert all(len(text) for text in texts)
    assert all(values is None for shown in Recorder.shown.values() for values in shown.values())
    kinds = llm.collective_rpc(
        lambda worker: [type(m.impl) for m in worker.get_model().modules() if hasattr(m, "impl")]
    )
    assert kinds == [[CPUAttentionBackendImpl] * 2]


def test_compiled_models_are_measured_every_step(model: Any, directory: Path, running: Running) -> None:
    llm = running.start(directory, additional_config=SWITCH, enforce_eager=False)
    prompts = draw([5, 90], seed=13)
    texts = generate(llm, prompts)
    assert_shown(model, prompts, texts, None)


def test_the_last_layer_without_a_window_is_the_one_that_is_read(tmp_path: Path, running: Running) -> None:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    model = tiny("gemma3", 3, layer_types=layers, sliding_window=16, query_pre_attn_scalar=20)
    model.save_pretrained(tmp_path)
    llm = running.start(tmp_path, additional_config=SWITCH)
    prompts = draw([5, 90], seed=15)
    texts = generate(llm, prompts, tokens=4)
    assert_shown(model, prompts, texts, None, layer=1)


def test_bfloat16_shows_the_signals_of_its_own_rounded_keys(directory: Path, running: Running) -> None:
    """The CPU's bfloat16 kernels store keys in tiles; a wrong order would show other numbers altogether."""
    llm = running.start(directory, additional_config=SWITCH, dtype="bfloat16")
    prompts = draw([5, 90, 200], seed=17)
    texts = generate(llm, prompts)
    rounded = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        for position in range(len(prompt), len(text)):
            a = eager(rounded, text[:position], -1)
            h = -np.sum(a * np.log(np.maximum(a, 1e-300)), axis=1) / np.log(position)
            assert Recorder.shown[str(i)][position][0] == pytest.approx(h.mean(), abs=0.04)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("alibi_slopes", torch.ones(6), "ALiBi"),
        ("logits_soft_cap", 50.0, "caps its scores softly (at 50)"),
        ("sinks", torch.zeros(6), "sinks"),
        ("is_fp8_kv_cache", True, "keeps its keys as fp8"),
    ],
)
def test_layers_whose_scores_are_not_plain_products_are_refused(field: str, value: Any, reason: str) -> None:
    plain = {"alibi_slopes": None, "logits_soft_cap": 0, "sinks": None, "is_fp8_kv_cache": False}
    impl = object.__new__(ObservingImpl)
    for name, setting in (plain | {"kv_cache_dtype": "fp8", field: value}).items():
        setattr(impl, name, setting)
    assert reason in (impl.refusal(None) or "")


def test_a_worker_process_of_its_own_registers_the_back_end_too(directory: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    code = f"""
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    llm = LLM({str(directory)!r}, skip_tokenizer_init=True, max_model_len={LENGTH}, max_num_seqs=4, enforce_eager=True,
              additional_config={SWITCH!r}, logits_processors=["recorder:Recorder"])
    params = SamplingParams(max_tokens=3, ignore_eos=True, detokenize=False, extra_args={{"watch": "0"}})
    llm.generate([{{"prompt_token_ids": [1, 2, 3]}}], params)
"""
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    environment = dict(os.environ, VLLM_ENABLE_V1_MULTIPROCESSING="1", ENTROPIX_TEST_RECORD=str(record))
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        assert parent.wait(timeout=300) == 0
    written = json.loads(record.read_text(encoding="utf-8"))
    assert written["process"] != parent.pid
    assert sorted(written["shown"]["0"]) == ["3", "4", "5"]
    assert all(len(values) == 4 for values in written["shown"]["0"].values())
