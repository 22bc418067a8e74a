"""What attention signals cost inside vLLM: tokens/s with and without them, in turns on one engine.

    python -m benchmarks.vllm_attention MODEL [--sequences 1 8 32] [--rounds 6] [--tokens 64] [--prompt 128]

MODEL is a directory with weights. Off and on take turns round by round; the table shows medians over rounds of tokens a
second, of the pairs' quotients, and of the processor time of measuring a step. On a machine that others use as well,
--clock processor with VLLM_CPU_OMP_THREADS_BIND=0 counts one thread's own seconds instead of everybody's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the processor is switched from here
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import numpy as np
import torch
from vllm import LLM, SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor

from entropix.plugins.vllm.attention.board import Board
from entropix.plugins.vllm.attention.cpu import ObservingImpl


class Asking(LogitsProcessor):  # type: ignore[misc]  # vLLM is not there to check
    """Asks for every row, or for none; looks at nothing."""

    on = False
    steps = 0

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.board, self.size = Board(vllm_config), 0

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        if batch_update is not None:
            self.size = batch_update.batch_size
        self.board.wants(np.ones(self.size, bool) if Asking.on else None)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        assert (self.board.take() is not None) == Asking.on
        Asking.steps += 1
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    args = parser.parse_args()
    clock = time.perf_counter if args.clock == "wall" else time.process_time

    spent = 0.0
    observe = ObservingImpl.observe

    def timed(*arguments: Any) -> Any:
        nonlocal spent
        before = time.thread_time()
        result = observe(*arguments)
        spent += time.thread_time() - before
        return result

    setattr(ObservingImpl, "observe", timed)  # noqa: B010 - a type checker forbids the plain way
    llm = LLM(
        args.model,
        max_model_len=args.prompt + args.tokens,
        max_num_seqs=max(args.sequences),
        enforce_eager=True,
        enable_prefix_caching=False,
        additional_config={"entropix": {"attention": True}},
        logits_processors=[Asking],
    )
    params = SamplingParams(temperature=0, max_tokens=args.tokens, ignore_eos=True, detokenize=False)
    draw = np.random.default_rng(0)
    print(f"{'sequences':>9} {'off tok/s':>10} {'on tok/s':>10} {'on/off':>7} {'measuring ms/step':>18}")
    for sequences in args.sequences:
        rates: dict[bool, list[float]] = {False: [], True: []}
        costs = []
        for turn in range(args.rounds + 1):
            prompts = [{"prompt_token_ids": draw.integers(10, 1000, args.prompt).tolist()} for _ in range(sequences)]
            for on in (False, True) if turn % 2 else (True, False):
                Asking.on, Asking.steps, spent = on, 0, 0.0
                before = clock()
                llm.generate(prompts, params, use_tqdm=False)
                rate = sequences * args.tokens / (clock() - before)
                if turn:  # the first warms up
                    rates[on].append(rate)
                    if on:
                        costs.append(1000 * spent / Asking.steps)
        quotient = statistics.median(on / off for on, off in zip(rates[True], rates[False], strict=True))
        without, with_it = statistics.median(rates[False]), statistics.median(rates[True])
        cost = statistics.median(costs)
        print(f"{sequences:9} {without:10.1f} {with_it:10.1f} {quotient:7.3f} {cost:18.3f}", flush=True)


if __name__ == "__main__":
    main()
