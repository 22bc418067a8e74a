"""The figure of the README and of docs/evidence.md, from stored outcomes and without a model.

    python -m benchmarks.figure docs/evidence/svamp docs/evidence.svg

Left, what accuracy costs: every way to decode that the run holds, and the stop rules and moved ballots that its votes
replay. Right, what a confidence is worth: the share of wrong answers among those that are given when the least sure are
left out, by the share of the vote and by what can be read off a single text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from entropix.evaluate import statistics as st
from entropix.evaluate.alternatives import base_of, replay
from entropix.evaluate.budget import Point, point_of
from entropix.evaluate.estimates import uncertainties_of
from entropix.evaluate.replay import Rule
from entropix.evaluate.store import read_manifest, read_outcomes
from entropix.search.stopping import parse_stop

INK, RULE = "#808080", "#80808050"  # read on a light page and on a dark one
COLOURS = {
    "one text": "#56b4e9",
    "token policy": "#d55e00",
    "tree": "#cc79a7",
    "vote": "#0072b2",
    "lead": "#009e73",
    "moved ballots": "#e69f00",
}
RANKED = (
    ("label-share", "share of the vote", "#009e73"),
    ("msp", "sum of log p", "#56b4e9"),
    ("length", "length", "#e69f00"),
)
SHUFFLES = 20
Outcomes = list[dict[str, Any]]


def by_spec(outcomes: Outcomes) -> dict[str, Outcomes]:
    found: dict[str, Outcomes] = {}
    for outcome in outcomes:
        found.setdefault(outcome["spec"], []).append(outcome)
    return found


def kind_of(spec: str) -> str:
    if spec.startswith("lead"):
        return "lead"
    if spec.startswith("moved"):
        return "moved ballots"
    if spec.startswith("vote"):
        return "vote"
    if spec.startswith(("tree", "lookahead")):
        return "tree"
    return "token policy" if spec.startswith("entropix") else "one text"


def points(outcomes: Outcomes, vote: str) -> dict[str, list[Point]]:
    """Those of every kind. Controls are left out: they are not for use."""
    rules = [Rule(most=n, first="greedy") for n in (2, 3, 5)]
    rules += [Rule(stop=parse_stop(f"lead:{lead}"), first="greedy") for lead in (2, 3)]
    made = replay(outcomes, rules, (2, 3, 4), spec=vote, shuffles=SHUFFLES)
    specs = {s: o for s, o in by_spec(outcomes).items() if not s.endswith(("places", "signals", "low entropy"))}
    specs |= {s: o for s, o in by_spec(made.outcomes).items() if s not in specs}
    found: dict[str, list[Point]] = {}
    for spec, given in specs.items():
        kind = kind_of(spec)
        found.setdefault(kind, []).append(point_of(kind, spec, spec in made.rules, given))
    return found


def draw(outcomes: Outcomes, title: str) -> Figure:
    specs = by_spec(outcomes)
    vote = base_of(outcomes, None)
    figure = Figure(figsize=(8.6, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = points(outcomes, vote)
    for kind, found in shown.items():
        found.sort(key=lambda point: point.tokens)
        curve = kind in ("vote", "lead", "moved ballots")
        x, y = [p.tokens for p in found], [100 * p.accuracy.value for p in found]
        left.plot(x, y, marker="o", ms=5, lw=1.3 if curve else 0, color=COLOURS[kind], label=kind)
        for p in found:
            print(f"{kind:13} {p.name:40} {p.tokens:7.0f} tokens  {100 * p.accuracy.value:5.1f} %", end="  ")
            print(f"({100 * p.accuracy.low:.1f} … {100 * p.accuracy.high:.1f})")
    halves = [100 * (p.accuracy.high - p.accuracy.low) / 2 for found in shown.values() for p in found]
    left.set(xlabel="tokens per answer", ylabel="right answers, %", title="What an answer costs", ylim=(30, 75))
    left.legend(loc="lower right", ncols=2)
    given = specs[vote]
    correct = [bool(o["right"]) for o in given]
    values = [uncertainties_of(o) for o in given]
    for name, label, colour in RANKED:
        most = max(v[name] for v in values if name in v) + 1
        sure = [-v.get(name, most) for v in values]
        coverage, risk = st.risk_coverage(sure, correct)
        area = st.auroc_interval(sure, correct, [o["item"] for o in given])
        text = f"{label}: AUROC {area.value:.2f}"
        print(f"{name:13} AUROC {area.value:.2f} ({area.low:.2f} … {area.high:.2f})")
        right.plot(100 * coverage, 100 * risk, lw=1.6, color=colour, label=text)
    right.axhline(100 * (1 - sum(correct) / len(correct)), color=INK, lw=1, ls=":", label="answering everything")
    right.set(xlabel="answered, % of the questions", ylabel="wrong among the answered, %", title="When not to answer")
    right.set(ylim=(0, 70))
    right.legend(loc="upper left")
    for axes in (left, right):
        axes.grid(color=RULE, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}; 95 % intervals are about ±{sum(halves) / len(halves):.0f} points", fontsize=9, color=INK)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("file", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    outcomes = read_outcomes(args.run)
    items = len({o["item"] for o in outcomes})
    settings = {
        "svg.hashsalt": "entropix",
        "svg.fonttype": "none",
        "font.size": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
    }
    settings |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"), INK)
    settings |= {"xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10}
    with matplotlib.rc_context(settings):
        figure = draw(outcomes, f"{args.run.name}, {items} problems, {read_manifest(args.run)['model']}")
        about = {"metadata": {"Date": None}} if args.file.suffix == ".svg" else {}
        figure.savefig(args.file, format=args.file.suffix[1:], transparent=True, **about)
    print(args.file)


if __name__ == "__main__":
    main()
