"""Throughput of vLLM with and without Entropix: `python -m benchmarks.vllm`, in an environment with vLLM.

One engine in this process answers the same number of requests in turn with vLLM's own sampling at temperature 1, with
temperature, top-p and min-p, greedily, and with policies of ours; ratios are of runs beside each other. Requests do not
end before their last token, so that every step has as many rows as the last.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import Any

from benchmarks.smollm2 import directory

PROMPT = "The following is a short story about a small town by the sea, where"
STOCK, FILTERED = "temperature 1", "temperature, top-p, min-p"
REQUESTS: dict[str, dict[str, Any]] = {
    STOCK: {"temperature": 1.0},
    FILTERED: {"temperature": 0.7, "top_p": 0.9, "min_p": 0.05},
    "greedy": {"temperature": 0.0},
    "entropix": {"extra_args": {"entropix": "entropix"}},
    "entropix, temperature 0": {"temperature": 0.0, "extra_args": {"entropix": "entropix"}},
    "policy greedy": {"temperature": 0.0, "extra_args": {"entropix": "greedy"}},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model directory or hub name; default: the packaged SmolLM2")
    parser.add_argument("--requests", default="1,8,32,64", help="how many at a time (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="per request (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which the median ratio counts")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--dtype", default="auto", help="of the weights, as vLLM takes it (default: %(default)s)")
    options = parser.parse_args()
    sizes = [int(n) for n in options.requests.split(",")]
    # the engine in this process: a process less that competes for the cores
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import LLM

    llm = LLM(
        options.model or str(directory()),
        max_model_len=1024,
        max_num_seqs=max(sizes),
        enforce_eager=options.eager,
        dtype=options.dtype,
        enable_prefix_caching=False,
    )
    for size in sizes:
        report(size, measure(llm, size, options.tokens, options.repeats))
    return 0


def measure(llm: Any, size: int, tokens: int, repeats: int) -> dict[str, list[float]]:
    """Tokens per second of every kind of request, one entry per round; the order turns with every round."""
    names = list(REQUESTS)
    for name in names:
        speed(llm, name, size, 8)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        for n in range(len(names)):
            name = names[(turn + n) % len(names)]
            found[name].append(speed(llm, name, size, tokens))
    return found


def speed(llm: Any, name: str, size: int, tokens: int) -> float:
    """Tokens a second of `size` requests at a time, prompts included in the time."""
    from vllm import SamplingParams

    asked = [SamplingParams(max_tokens=tokens, ignore_eos=True, **REQUESTS[name]) for _ in range(size)]
    begin = time.perf_counter()
    answers = llm.generate([PROMPT] * size, asked, use_tqdm=False)
    seconds = time.perf_counter() - begin
    count = sum(len(answer.outputs[0].token_ids) for answer in answers)
    assert count == size * tokens, f"{count} tokens instead of {size * tokens}"
    return count / seconds


def report(size: int, found: dict[str, list[float]]) -> None:
    print(f"\n{size} at a time", f"{'tokens/s':>32}", f"{'of filtered':>12}", f"{'of stock':>12}")
    for name, speeds in found.items():
        against = [
            statistics.median(mine / theirs for mine, theirs in zip(speeds, found[other], strict=True))
            for other in (FILTERED, STOCK)
        ]
        print(f"  {name:28}{statistics.median(speeds):14.0f}{against[0]:12.2f}{against[1]:13.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
