"""vLLM's engine under Model Runner V2 on a CPU, with the plug-in. A process of its own: `test_v2_engine.py` starts it.

V2 is written in Triton, whose interpreter runs its kernels here: slowly, so the model is tiny. What the interpreter
cannot do is put right below; nothing else of vLLM is changed. Everything that our processor was shown and chose is
recorded, and afterwards our own decoder must give the same answers on the same logits.
"""

# ruff: noqa: E402 — the interpreter must be on before anything imports vLLM

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

os.environ |= {
    "TRITON_INTERPRET": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
}

import numpy as np
import torch
import triton.backends
from triton.runtime import interpreter

if "cpu" not in triton.backends.backends:
    # vLLM asks for Triton's CPU backend; nothing is compiled here, so it may be any
    triton.backends.backends["cpu"] = next(iter(triton.backends.backends.values()))
for name, mask in (("create_masked_load", 1), ("create_masked_store", 2)):
    made = getattr(interpreter.InterpreterBuilder, name)

    def with_booleans(self: Any, *arguments: Any, made: Any = made, mask: int = mask) -> Any:
        """The interpreter makes bytes of masks that were combined with numbers, and then refuses them."""
        arguments[mask].data = arguments[mask].data.astype(bool)
        return made(self, *arguments)

    setattr(interpreter.InterpreterBuilder, name, with_booleans)

import vllm.v1.sample.ops.topk_topp_sampler
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.decoders import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from vllm import LLM, SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.worker.gpu.spec_decode.ngram.speculator import NgramGPUSpeculator

from entropix.decoding import Decoder, Request
from entropix.engines.scripted import SPECIAL, VOCABULARY, ScriptedEngine
from entropix.plugins.vllm import v2
from entropix.plugins.vllm.asking import read
from entropix.profiles import Profile
from entropix.types import Thresholds

# its kernel is beyond the interpreter; vLLM has the same in torch
vllm.v1.sample.ops.topk_topp_sampler.HAS_TRITON = False

# what random weights give, and what a grammar of ten digits leaves of it
PLAIN = Thresholds(entropy_low=3.6, entropy_high=3.85, varentropy_low=2.6, varentropy_high=3.2)
MASKED = Thresholds(entropy_low=0.5, entropy_high=1.2, varentropy_low=1.1, varentropy_high=1.5)
INJECTS = "entropix:inject=ab,inject_cooldown=6,inject_max=2,temperature=1.0"


def make_model(directory: Path, thresholds: Thresholds) -> None:
    """A model with random weights and a token a byte, and a profile of it."""
    vocabulary = {character: byte for byte, character in bytes_to_unicode().items()}
    vocabulary |= {piece: token for token, piece in SPECIAL.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(directory)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        initializer_range=0.25,
        max_position_embeddings=256,
        bos_token_id=256,
        eos_token_id=257,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    Profile("tiny", "", VOCABULARY, thresholds).save(directory / "profile.json")


class Recording(v2.SecondRunner):  # type: ignore[misc]
    """The processor, and a record of what it was shown and what it left."""

    shown: ClassVar[dict[tuple[int, ...], np.ndarray[Any, Any]]] = {}
    counts: ClassVar[Counter[str]] = Counter()

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        resumed = self.states.prefill_len.np[req_idx] > self.states.prompt_len.np[req_idx]
        self.counts["resumed"] += int(resumed)
        return super().add_request(req_idx, sampling_params)

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        before = logits.clone()
        logits = super().apply(logits, ctx)
        text: list[int] = []
        for row, slot in enumerate(ctx.expanded_idx_mapping.tolist()):
            total, level = int(self.states.total_len.gpu[slot]), int(ctx.expanded_local_pos[row])
            if level:
                text.append(int(ctx.input_ids[row]))
                self.counts["drafts"] += 1
            else:
                text = self.states.all_token_ids.gpu[slot, :total].tolist()
            if slot not in self.draw.seats:
                assert torch.equal(before[row], logits[row])
                self.counts["stock"] += 1
            elif int(ctx.pos[row]) + 1 < total:
                self.counts["unfinished"] += 1
            else:
                assert torch.isfinite(logits[row]).sum() == 1
                assert int(ctx.pos[row]) + 1 == len(text)
                self.counts["masked"] += bool(torch.isinf(before[row]).any())
                self.shown[tuple(text)] = before[row].numpy().copy()
        return logits


def replay(
    thresholds: Thresholds, prompt: list[int], said: list[int], spec: str, seed: int, *, injects: bool
) -> list[int]:
    """What our own decoder says on the recorded logits; 1000 more where it comes to a text that was never shown."""
    asked = read({"entropix": spec})
    assert asked is not None

    def script(tokens: tuple[int, ...]) -> Any:
        return Recording.shown[tokens]

    decoder = Decoder(ScriptedEngine(script, attention=False))
    policy = asked.make(thresholds, VOCABULARY)
    if policy.injection and not injects:
        policy = replace(policy, inject="")  # type: ignore[call-arg]
    request = Request(tokens=prompt, policy=policy, seed=seed, max_tokens=len(said), ignore_end=True)
    job = decoder.submit(request)
    try:
        for _ in decoder.run():
            pass
    except KeyError:
        return [*job.trunk.tokens, 1000]
    return list(job.trunk.tokens)


class Drafter:
    """Drafts what was answered before, about a third of it wrong."""

    def __init__(self) -> None:
        self.chance = np.random.default_rng(0)
        self.texts: list[list[int]] = []

    def __call__(self, speculator: Any, batch: Any, *arguments: Any, dummy_run: bool = False, **_: Any) -> torch.Tensor:
        drafts = speculator.drafts[: batch.num_reqs]
        if dummy_run:
            return drafts
        Recording.counts["rejected"] += int(arguments[5].sum())
        for row, slot in enumerate(batch.idx_mapping.tolist()):
            states = speculator.req_states
            said = states.all_token_ids.gpu[slot, : int(states.total_len.gpu[slot])].tolist()
            known = next((text for text in self.texts if text[: len(said)] == said), [])
            for n in range(speculator.num_speculative_steps):
                right = known[len(said) + n] if len(said) + n < len(known) else 0
                drafts[row, n] = right if self.chance.random() < 0.67 else int(self.chance.integers(VOCABULARY))
        return drafts


def main(scenario: str, directory: Path) -> dict[str, Any]:
    thresholds = MASKED if scenario == "grammar" else PLAIN
    make_model(directory, thresholds)
    v2.SecondRunner = Recording
    drafter = Drafter()
    settings: dict[str, Any] = {"max_num_batched_tokens": 16, "num_gpu_blocks_override": 5}
    if scenario == "drafts":
        settings = {"speculative_config": {"method": "ngram_gpu", "num_speculative_tokens": 3}}
        settings["speculative_config"] |= {"prompt_lookup_max": 2, "prompt_lookup_min": 1}
        NgramGPUSpeculator.propose = lambda *arguments, **named: drafter(*arguments, **named)
    if not entry_points(group="vllm.logits_processors"):
        settings["logits_processors"] = ["entropix.plugins.vllm:LogitsProcessor"]
    llm = LLM(
        str(directory),
        enforce_eager=True,
        dtype="bfloat16",
        max_model_len=96,
        max_num_seqs=4,
        block_size=32,
        enable_prefix_caching=False,
        additional_config={"entropix": {"profile": str(directory / "profile.json")}},
        **settings,
    )
    prompts = ["The capital of France is", "ab", "one two three one two three", "x", "again and again", "once more"]
    specs = [INJECTS, None, "entropix:control=random,inject=", "entropix-2024", INJECTS, "mirostat:tau=2.5"]
    heats = [0.0, 1.0, 0.0, 0.7, 1.0, 0.0]
    grammar = StructuredOutputsParams(regex="[0-9]{3,9}[.]") if scenario == "grammar" else None
    sampling = [
        SamplingParams(
            temperature=heat,
            seed=seed,
            max_tokens=10 if scenario == "grammar" else 44,
            ignore_eos=scenario != "grammar",
            extra_args=None if spec is None else {"entropix": spec},
            structured_outputs=grammar,
        )
        for seed, (spec, heat) in enumerate(zip(specs, heats, strict=True))
    ]

    def answer() -> list[tuple[list[int], Any]]:
        return [(list(a.prompt_token_ids), a.outputs[0]) for a in llm.generate(prompts, sampling, use_tqdm=False)]

    answers = answer()
    if scenario == "drafts":
        drafter.texts = [[*prompt, *out.token_ids] for prompt, out in answers]
        Recording.shown.clear()
        Recording.counts.clear()
        answers = answer()
    worker = llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker
    return {
        "counts": Recording.counts,
        "runner": type(worker.model_runner).__module__,
        "texts": [out.text for _, out in answers],
        "said": [list(out.token_ids) for _, out in answers],
        "replayed": [
            None if spec is None else replay(thresholds, prompt, list(out.token_ids), spec, seed, injects=not grammar)
            for seed, ((prompt, out), spec) in enumerate(zip(answers, specs, strict=True))
        ],
    }


if __name__ == "__main__":
    found = main(sys.argv[1], Path(sys.argv[2]))
    Path(sys.argv[2], "found.json").write_text(json.dumps(found))
