"""How long an answer takes on this machine: a small model that thinks longer beside a larger one.

    python -m benchmarks.seconds svamp_300.jsonl SMALL.gguf:none SMALL.gguf:medium LARGE.gguf:none [--items 6]

Each is a model and an effort (none, low, medium, high; docs/effort.md), asked one question after the other, in turn, so
that a slow minute meets all of them. Printed are medians and sums of seconds and tokens; accuracy is not, of so few
questions: benchmarks.sizes counts that. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import entropix
from entropix.evaluate import load_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a file of questions")
    parser.add_argument("asked", nargs="+", metavar="MODEL:EFFORT")
    parser.add_argument("--items", type=int, default=6)
    parser.add_argument("--skip", type=int, default=60)
    parser.add_argument("--max-tokens", type=int, default=320)
    args = parser.parse_args()
    items = load_task(args.task, instruction="").items[args.skip : args.skip + args.items]
    names = [name.rpartition(":")[0] for name in args.asked]
    models = {name: entropix.load(name, sequences=17, cells=17 * 512) for name in dict.fromkeys(names)}
    for model in models.values():
        model.generate("Hello", max_tokens=4)  # the first answer pays for what is made once
    found: dict[str, list[tuple[float, int]]] = {asked: [] for asked in args.asked}
    for n, item in enumerate(items):
        shift = n % len(args.asked)
        for asked in args.asked[shift:] + args.asked[:shift]:
            name, _, effort = asked.rpartition(":")
            began = time.perf_counter()
            answer = models[name].ask(item.prompt, effort=effort, seed=n, max_tokens=args.max_tokens)
            found[asked].append((time.perf_counter() - began, answer.ledger.forwarded))
            print(f"{item.id}, {asked}: {found[asked][-1][0]:.1f} s", file=sys.stderr, flush=True)
    print(f"{len(items)} questions\n\n| model | effort | seconds, median | seconds, all | tokens, all |")
    print("|---|---|---|---|---|")
    for asked, took in found.items():
        name, _, effort = asked.rpartition(":")
        seconds, tokens = zip(*took, strict=True)
        cells = [
            models[name].info.name,
            effort,
            f"{statistics.median(seconds):.1f}",
            f"{sum(seconds):.0f}",
            f"{sum(tokens)}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
