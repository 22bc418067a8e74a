"""Which engine is faster for many texts at a time on this machine: llama.cpp with the packed weights of a GGUF, or
transformers with the same weights unpacked.

    python -m benchmarks.batches MODEL.gguf [--texts 1 16 64] [--tokens 40] [--repeats 3]

Printed are tokens/s of all texts together, the median of the repeats, once every prompt is computed; engines take turns
within a repeat, so that the ratio holds on a noisy machine too."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import entropix
from entropix.decoding import Decoder

ENGINES = ("llama_cpp", "transformers")
POLICY = "sample:temperature=0.7"
PROMPT = "Write a long story about the number {}."


def speed(model: entropix.Model, texts: int, tokens: int) -> float:
    """Tokens per second of `texts` texts of `tokens` tokens, without those that were drawn beside a prefill."""
    decoder = Decoder(model.engine)
    waiting = {
        decoder.submit(model.request(PROMPT.format(n), policy=POLICY, seed=n, max_tokens=tokens)) for n in range(texts)
    }
    begun, counted = None, 0
    while decoder.busy:
        steps = [event.job for event in decoder.step() if event.step is not None]
        waiting.difference_update(steps)
        if begun is not None:
            counted += len(steps)
        elif not waiting:
            begun = time.perf_counter()
    decoder.close()
    if begun is None or not counted:
        raise RuntimeError("a text ended before the last prompt was computed; ask for more --tokens")
    return counted / (time.perf_counter() - begun)


def compared(models: dict[str, entropix.Model], texts: Sequence[int], tokens: int, repeats: int) -> list[str]:
    """One line for each number of texts."""
    lines = ["| texts at a time | " + " | ".join(f"{name}, tokens/s" for name in models) + " | ratio |"]
    lines.append("|---" * (2 + len(models)) + "|")
    for n in texts:
        found: dict[str, list[float]] = {name: [] for name in models}
        for repeat in range(repeats):
            for name in sorted(models, reverse=bool(repeat % 2)):
                found[name].append(speed(models[name], n, tokens))
        first, *_, last = (found[name] for name in models)
        ratio = statistics.median(b / a for a, b in zip(first, last, strict=True))
        cells = [f"{statistics.median(values):.0f}" for values in found.values()]
        lines.append(f"| {n} | {' | '.join(cells)} | {ratio:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    room = {"sequences": max(args.texts), "context": 512}
    models = {engine: entropix.load(args.model, engine=engine, **room) for engine in ENGINES}
    print("\n".join(compared(models, args.texts, args.tokens, args.repeats)))


if __name__ == "__main__":
    main()
