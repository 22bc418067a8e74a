"""What sharing a prefix costs: `python -m benchmarks.search [--engine llama_cpp|transformers]`.

Opens N branches at position P of one sequence by `fork` and decodes them as one batch; beside it the same N
continuations as N sequences that already hold the prefix. The time of the forks is in the first figure; computing the
prefix is in neither. KV cells are compared with P + N × the tokens of a branch, which is what sharing implies. The two
sides alternate in one run; the ratio is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

import entropix
from entropix.engines import Engine


def decode(engine: Engine, sequences: list[Any], steps: int) -> float:
    """Seconds for `steps` batched steps of fixed tokens: the same work on both sides."""
    started = time.perf_counter()
    for step in range(steps):
        engine.forward([(s, [100 + 7 * n + step]) for n, s in enumerate(sequences)])
    return time.perf_counter() - started


def forked(engine: Engine, prefix: list[int], n: int, steps: int) -> tuple[float, int]:
    root = engine.open(prefix)
    engine.forward([(root, prefix[len(root.tokens) :])])
    started = time.perf_counter()
    sequences = [root, *engine.fork(root, n - 1)]
    opening = time.perf_counter() - started
    seconds = opening + decode(engine, sequences, steps)
    cells = engine.cells_used()
    for sequence in sequences:
        engine.close(sequence)
    return seconds, cells


def batched(engine: Engine, prefix: list[int], n: int, steps: int) -> tuple[float, int]:
    """N sequences whose prefix was computed for each of them: no two share their first token."""
    sequences = []
    for k in range(n):
        own = [200 + k, *prefix[1:]]
        sequence = engine.open(own)
        engine.forward([(sequence, own[len(sequence.tokens) :])])
        sequences.append(sequence)
    seconds = decode(engine, sequences, steps)
    cells = engine.cells_used()
    for sequence in sequences:
        engine.close(sequence)
    return seconds, cells


def main() -> None:
    parser = argparse.ArgumentParser(description="the cost of forking")
    parser.add_argument("--engine", action="append", choices=("llama_cpp", "transformers"))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--branches", type=int, default=8)
    parser.add_argument("--position", type=int, default=500)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    n, steps = args.branches, args.steps
    for name in args.engine or ("llama_cpp", "transformers"):
        # memory enough for the side that does not share
        room = (args.position + steps + 8) * (n + 1)
        with entropix.load(args.model, engine=name, context=2048, sequences=n + 1, cells=room) as model:
            engine = model.engine
            words = np.random.default_rng(0).integers(300, 5000, args.position)
            prefix = [int(w) for w in words]
            ratios, cells = [], (0, 0)
            for _ in range(args.pairs):
                shared, held = forked(engine, prefix, n, steps)
                apart, alone = batched(engine, prefix, n, steps)
                ratios.append(shared / apart)
                cells = held, alone
            implied = args.position + n * steps
            print(
                f"{name}: {n} branches at position {args.position}, {steps} tokens each: "
                f"time {statistics.median(ratios):.2f} x "
                f"the batch without sharing ({min(ratios):.2f}…{max(ratios):.2f}); KV cells {cells[0]} = "
                f"{cells[0] / implied:.2f} x the {implied} that sharing implies (without sharing {cells[1]})",
                flush=True,
            )


if __name__ == "__main__":
    main()
