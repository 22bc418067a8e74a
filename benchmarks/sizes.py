"""A small model that thinks longer against a larger one: accuracy over tokens times parameters, from stored outcomes.

    python -m benchmarks.sizes 0.49 docs/evidence/svamp-small 1.54 docs/evidence/svamp-large

Each run holds the greedy text and the ballots of a vote, of the same items where both have them; its number is the
parameters of its model in billions. Replayed are fixed votes, stop rules and moved ballots of each. The last column is
the difference from the larger model's greedy text, item by item, with its 95 % interval."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entropix.evaluate.alternatives import replay
from entropix.evaluate.budget import point_of
from entropix.evaluate.replay import Rule
from entropix.evaluate.store import read_outcomes
from entropix.evaluate.summary import summarise
from entropix.search.stopping import parse_stop

SHUFFLES = 20
Outcomes = list[dict[str, Any]]


def rules_of(ballots: int) -> list[Rule]:
    """Votes of 2, 4, 8 … texts, the greedy one among them, and the stop rules of the effort levels."""
    sizes = [2**k for k in range(1, (ballots + 1).bit_length()) if 2**k <= ballots + 1]
    votes = [Rule(most=size, first="greedy") for size in sizes]
    return votes + [Rule(stop=parse_stop(f"lead:{lead}"), first="greedy") for lead in (2, 3, 4)]


def compared(runs: Sequence[tuple[float, Outcomes]]) -> list[str]:
    """One line a model and rule, the cheapest first. runs: billions of parameters and outcomes.

    Raises ValueError where the runs have no items in common."""
    items = set.intersection(*({o["item"] for o in outcomes} for _, outcomes in runs))
    if not items:
        raise ValueError("the runs have no items in common; draw the same items with both models")
    size_of: dict[str, float] = {}
    shown: dict[str, Outcomes] = {}
    for size, outcomes in runs:
        both = [o for o in outcomes if o["item"] in items]
        ballots = max(len(o["ballots"]) for o in both)
        for o in replay(both, rules_of(ballots), (2, 4), shuffles=SHUFFLES).outcomes:
            name = f"{size:g} B, {o['spec']}"
            size_of[name] = size
            shown.setdefault(name, []).append({**o, "spec": name})
    baseline = f"{max(size_of.values()):g} B, greedy"
    summary = summarise([o for found in shown.values() for o in found], baseline)
    against = {c.spec: c for c in summary.comparisons}
    points = [point_of("", name, False, found) for name, found in shown.items()]
    lines = [f"{len(items)} items that both models have answered; ballots in {SHUFFLES} orders.", ""]
    lines += ["| model and rule | accuracy | tokens | tokens × billions | against the larger model's greedy text |"]
    lines += ["|---|---|---|---|---|"]
    for point in sorted(points, key=lambda p: p.tokens * size_of[p.name]):
        a = point.accuracy
        cells = [point.name, f"{a.value:.1%} ({100 * a.low:.1f} … {100 * a.high:.1f})", f"{point.tokens:.0f}"]
        cells.append(f"{point.tokens * size_of[point.name]:.0f}")
        found = against.get(point.name)
        d = found.difference if found else None
        cells.append(f"{100 * d.value:+.1f} ({100 * d.low:+.1f} … {100 * d.high:+.1f})" if d else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="BILLIONS RUN", help="a number and a directory, twice or more")
    args = parser.parse_args()
    if len(args.runs) % 2 or len(args.runs) < 4:
        parser.error("give at least two models, each as its billions of parameters and the directory of its run")
    pairs = zip(args.runs[::2], args.runs[1::2], strict=True)
    try:
        print("\n".join(compared([(float(size), read_outcomes(Path(run))) for size, run in pairs])))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
