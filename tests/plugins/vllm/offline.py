"""An engine in this process, where the processor can be looked at: `python offline.py MODEL`. Prints JSON.

Run by test_offline.py in a process of its own, as vLLM gives nothing back that it once took.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}

from vllm import LLM, SamplingParams

PLACES = 8


def main(model: str) -> None:
    llm = LLM(
        model,
        dtype="float32",
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=PLACES,
        max_num_batched_tokens=64,
        block_size=32,
        num_gpu_blocks_override=9,
        disable_log_stats=False,
    )
    found = {"without_seed": siblings(llm), **crowd(llm)}
    print(json.dumps(found))


def siblings(llm: Any) -> list[list[int]]:
    """More answers to one request than there are places, without a seed."""
    sampling = SamplingParams(n=PLACES + 4, max_tokens=12, extra_args={"entropix": "sample:temperature=1.3,top_p=1.0"})
    return [
        list(answer.token_ids) for answer in llm.generate(["Once upon a time"], sampling, use_tqdm=False)[0].outputs
    ]


def crowd(llm: Any) -> dict[str, Any]:
    """Requests that come, are pre-empted, leave and finish; then what the processor still holds."""
    rng, engine, processor = random.Random(1), llm.llm_engine, processor_of(llm)
    policies = ("entropix", "greedy", "edt", "entropix:control=random", "sample", None)
    most, aborted, finished = 0, 0, 0
    waiting = [f"request-{number}" for number in range(32)]
    running: set[str] = set()
    while waiting or engine.has_unfinished_requests():
        if waiting and rng.random() < 0.5:
            name, policy = waiting.pop(), rng.choice(policies)
            extra = None if policy is None else {"entropix": policy}
            sampling = SamplingParams(
                max_tokens=rng.randrange(2, 40), extra_args=extra, temperature=rng.choice((0.0, 1.0))
            )
            engine.add_request(name, f"Tell me about number {len(waiting)}." * rng.randrange(1, 5), sampling)
            running.add(name)
        if running and rng.random() < 0.06:
            name = rng.choice(sorted(running))
            engine.abort_request([name])
            running.discard(name)
            aborted += 1
        for output in engine.step():
            if output.finished:
                finished += 1
                running.discard(output.request_id)
        most = max(most, len(list(processor.live)))
    llm.generate(["End"], SamplingParams(max_tokens=2), use_tqdm=False)  # who left is named in the step after
    metrics = {metric.name: getattr(metric, "value", None) for metric in llm.get_metrics()}
    return {
        "most": most,
        "aborted": aborted,
        "finished": finished,
        "preemptions": metrics["vllm:num_preemptions"],
        "live": len(list(processor.live)),
        "seats": len(processor.seats),
        "plans": len(processor.draw.plans),
        "asking": int(processor.draw.asking.sum()),
        "free": sorted(processor.free),
    }


def processor_of(llm: Any) -> Any:
    """Our processor in Model Runner V1."""
    runner = llm.llm_engine.model_executor.driver_worker.worker.model_runner
    every = runner.input_batch.logitsprocs.all
    return next(one for one in every if type(one).__module__.startswith("entropix."))


if __name__ == "__main__":
    main(sys.argv[1])
