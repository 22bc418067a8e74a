"""A small model that thinks longer against a larger one: accuracy over tokens times parameters, from stored outcomes.

    python -m benchmarks.sizes 0.49 docs/evidence/svamp-small 1.54 docs/evidence/svamp-large

Each run holds the greedy text and the ballots of a vote, of the same items where both have them; its number is the
parameters of its model in billions. Counted are the whole vote, stop rules and moved ballots of each. The last column
is the difference from the larger model's greedy text, item by item, with its 95 % interval."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.points import BASELINE, LEADS, Outcomes, accuracy, against, by_spec, counted, interval, tokens
from entropix.errors import EntropixError
from entropix.evaluate.store import read_outcomes

NAMES = (BASELINE, "moved 2", "moved 4", *LEADS, "vote")


def compared(runs: Mapping[float, Mapping[str, Outcomes]], names: Sequence[str] = NAMES) -> list[list[str]]:
    """A row a model and rule, the cheapest first, under a row of heads. runs: billions of parameters, and of each rule
    its outcomes. Raises ValueError where the runs have no items in common."""
    items = set.intersection(*({o["item"] for o in found[BASELINE]} for found in runs.values()))
    if not items:
        raise ValueError("the runs have no items in common; draw the same items with both models")
    largest = max(runs)
    baseline = runs[largest][BASELINE]
    rows = []
    for size, found in runs.items():
        for name in names:
            mine = [o for o in found[name] if o["item"] in items]
            itself = (size, name) == (largest, BASELINE)
            difference = "" if itself else interval(against(mine, baseline).difference, "+.1f")
            cost = tokens(mine)
            row = [f"{size:g}B, {name}", interval(accuracy(mine)), f"{cost:.0f}", f"{cost * size:.0f}", difference]
            rows.append((cost * size, row))
    head = [f"{len(items)} items", "right, %", "tokens", "tokens × billions", "against the larger, greedy"]
    return [head, *(row for _, row in sorted(rows, key=lambda one: one[0]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="BILLIONS RUN", help="a number and a directory, twice or more")
    args = parser.parse_args()
    if len(args.runs) % 2 or len(args.runs) < 4:
        parser.error("give at least two models, each as its billions of parameters and the directory of its run")
    pairs = zip(args.runs[::2], args.runs[1::2], strict=True)
    try:
        runs = {float(size): by_spec(counted(read_outcomes(Path(run)), LEADS, (2, 4))) for size, run in pairs}
        for row in compared(runs):
            print("| " + " | ".join(row) + " |")
    except (EntropixError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
