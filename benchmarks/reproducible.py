"""Price of `reproducible`: tokens per second with it and without, in turn, one answer and four at a time.

python -m benchmarks.reproducible [MODEL] [--pairs N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import entropix


def speed(model: entropix.Model, answers: int, reproducible: bool) -> float:
    """Tokens per second of several answers that begin together."""
    prompts = [f"Tell me a story about river number {n}." for n in range(answers)]
    begun = time.perf_counter()
    results = model.generate(prompts, seed=1, max_tokens=32, reproducible=reproducible)
    return sum(len(result.tokens) for result in results) / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    with entropix.load(args.model, context=1024, cells=4096) as model:
        for answers in (1, 4):
            speed(model, answers, reproducible=True)  # makes the second context
            ratios = [speed(model, answers, True) / speed(model, answers, False) for _ in range(args.pairs)]
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            print(f"{answers} at a time: {middle:.2f} of the speed without ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
