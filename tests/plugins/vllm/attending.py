"""One engine of vLLM in this process, and ours beside it: `attending.py MODEL` prints what each answers, as JSON.

Run by test_attention_decisions.py in a process of its own, as an engine does not give everything back.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

PROMPTS = ["The capital of France is", "Once upon a time there was", "My favourite river is the", "The moon is made of"]
# attention decides more than it would by default, so that signals which were not those of the row would show
SPEC = "entropix:temperature_attention=1.5,temperature_agreement=1.5,top_k_interaction=2"
TOKENS = 40


def ours(directory: str, attention: bool) -> list[list[int]]:
    """What our own engine answers."""
    import entropix
    from entropix.engines.transformers import TransformersEngine

    engine = TransformersEngine.load(directory, dtype="float32", device="cpu", context=512, sequences=8)
    model = entropix.Model(engine)
    asked = {"raw": True, "policy": SPEC, "seed": 7, "max_tokens": TOKENS, "attention": attention}
    answers = [list(model.generate(prompt, **asked).tokens) for prompt in PROMPTS]
    engine.shutdown()
    return answers


def theirs(directory: str) -> list[list[int]]:
    """What vLLM answers in one batch, its attention back-end measuring."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        directory,
        max_model_len=512,
        max_num_seqs=8,
        enforce_eager=True,
        dtype="float32",
        additional_config={"entropix": {"attention": True}},
    )
    asked = [SamplingParams(max_tokens=TOKENS, seed=7, temperature=0, extra_args={"entropix": SPEC}) for _ in PROMPTS]
    return [list(answer.outputs[0].token_ids) for answer in llm.generate(PROMPTS, asked, use_tqdm=False)]


if __name__ == "__main__":
    path = sys.argv[1]
    print(json.dumps({"with": ours(path, True), "without": ours(path, False), "vllm": theirs(path)}))
