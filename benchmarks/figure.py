"""The figure of the README and of docs/evidence.md, from stored outcomes and without a model.

    python -m benchmarks.figure docs/evidence docs/evidence.svg    # the rows of docs/evidence/figure.toml
    python -m benchmarks.figure runs/mine mine.svg                 # every spec of one run, and rules on its votes

Left, what moves answers: every way to decode against the greedy texts of the same items, with 95 % intervals, and how
many times their tokens (and parameters) it costs. Right, what a confidence is worth: the share of wrong answers among
those that are given when the least sure are left out, by the share of the vote and by what can be read off a text."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.points import BASELINE, Against, Outcomes, against, by_spec, certainty, counted, interval, singles
from entropix.errors import EntropixError, TaskError
from entropix.evaluate import statistics as st
from entropix.evaluate.alternatives import base_of
from entropix.evaluate.store import read_manifest, read_outcomes

INK, RULE = "#808080", "#80808050"  # read on a light page and on a dark one
COLOURS = ("#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#009e73", "#cc79a7")
MARKERS = ("o", "s", "D", "^", "v", "P")
RANKED = (
    ("label-share", "share of the vote", "#009e73"),
    ("msp", "sum of log p", "#56b4e9"),
    ("length", "length", "#e69f00"),
)
ONE = "one ballot"
RULES = ("lead:2", "lead:3", "moved 4")


@dataclass(frozen=True)
class Point:
    """One way to decode on one run. parameters: times those of the model that it is compared with."""

    name: str
    run: str
    found: Against
    parameters: float = 1

    @property
    def cost(self) -> float:
        return self.found.ratio * self.parameters

    def line(self) -> str:
        points = f"{interval(self.found.difference, '+.1f')} points"
        return f"{self.name:34} {self.run:14} {self.found.items:4} items  {points:28}  {self.cost:5.1f} × the cost"


def point(outcomes: Outcomes, name: str, run: str, spec: str, other: Outcomes | None = None) -> Point:
    """A spec of a run, or a rule on its votes, against greedy decoding of the same items, in this run or in another.

    Raises TaskError where the run has no such spec and no vote that the rule could be replayed on."""
    known = by_spec(outcomes)
    if BASELINE not in known and other is None:
        raise TaskError(f"{run} has no greedy texts to compare with; its specs are {', '.join(known)}")
    if spec not in known:
        known = by_spec(ruled(outcomes, spec))
    found = against(known[spec], known[BASELINE] if other is None else by_spec(other)[BASELINE])
    return Point(name, run, found)


def ruled(outcomes: Outcomes, rule: str) -> Outcomes:
    if rule == ONE:
        vote = base_of(outcomes, None)
        known = by_spec(outcomes)
        return [*known[BASELINE], *singles(known[vote], ONE)]
    if rule == "vote":
        return counted(outcomes, ())
    if rule.startswith("moved "):
        return counted(outcomes, (), (float(rule.removeprefix("moved ")),))
    return counted(outcomes, (rule,))


def planned(folder: Path) -> tuple[list[list[Point]], dict[str, str], Path]:
    """The rows of a folder's figure.toml, the runs' labels, and the run whose confidences are drawn."""
    plan = tomllib.loads((folder / "figure.toml").read_text(encoding="utf-8"))
    outcomes = cache(lambda run: read_outcomes(folder / run))
    rows = []
    for row in plan["row"]:
        points = []
        for p in row["points"]:
            other = outcomes(p["against"]) if "against" in p else None
            found = point(outcomes(p["run"]), row["name"], p["run"], p["spec"], other)
            points.append(replace(found, parameters=p.get("parameters", 1)))
        rows.append(points)
    return rows, plan["runs"], folder / plan["ranked"]["run"]


def all_of(run: Path) -> tuple[list[list[Point]], dict[str, str], Path]:
    """A row for every spec of a run but greedy decoding, and for what rules make of its largest vote."""
    outcomes = read_outcomes(run)
    specs = [spec for spec in dict.fromkeys(o["spec"] for o in outcomes) if spec != BASELINE]
    rows = [[point(outcomes, name, run.name, name)] for name in (*specs, *RULES)]
    return rows, {run.name: str(read_manifest(run)["model"])}, run


def draw(rows: Sequence[Sequence[Point]], labels: dict[str, str], ranked: Path) -> Figure:
    figure = Figure(figsize=(9.2, 1.2 + 0.29 * max(len(rows), 9)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
    draw_rows(left, rows, labels)
    draw_risk(right, read_outcomes(ranked), labels.get(ranked.name, ranked.name))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_rows(axes: Axes, rows: Sequence[Sequence[Point]], labels: dict[str, str]) -> None:
    shown = list(dict.fromkeys(labels[p.run] for points in rows for p in points))
    for place, points in enumerate(rows):
        for n, p in enumerate(points):
            print(p.line())
            style = shown.index(labels[p.run]) % len(COLOURS)
            y = place + 0.2 * (n - (len(points) - 1) / 2)
            axes.plot([p.found.difference.low, p.found.difference.high], [y, y], lw=1.3, color=COLOURS[style])
            axes.plot(p.found.difference.value, y, marker=MARKERS[style], ms=4.5, color=COLOURS[style])
        least, most = min(p.cost for p in points), max(p.cost for p in points)
        times = f"{least:.1f}" if f"{least:.1f}" == f"{most:.1f}" else f"{least:.1f} to {most:.1f}"
        axes.text(1.01, place, f"{times} ×", transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=INK)
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(range(len(rows)), [points[0].name for points in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="right answers more than greedy decoding, points")
    axes.text(1.01, -0.85, "cost", transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=INK)
    axes.set_title("What moves answers")
    axes.grid(axis="x", color=RULE, lw=0.6)
    axes.tick_params(axis="y", length=0)
    styles = [
        Line2D([], [], color=COLOURS[n % len(COLOURS)], marker=MARKERS[n % len(MARKERS)], ms=4.5, lw=1.3, label=label)
        for n, label in enumerate(shown)
    ]
    axes.legend(handles=styles, loc="center right")


def draw_risk(axes: Axes, outcomes: Outcomes, label: str) -> None:
    vote = base_of(outcomes, None)
    given = [o for o in outcomes if o["spec"] == vote]
    correct = [bool(o["right"]) for o in given]
    for name, said, colour in RANKED:
        sure = certainty(given, name)
        coverage, risk = st.risk_coverage(sure, correct)
        area = st.auroc_interval(sure, correct, [o["item"] for o in given])
        print(f"{name:13} AUROC {area.value:.2f} ({area.low:.2f} … {area.high:.2f})")
        axes.plot(100 * coverage, 100 * risk, lw=1.6, color=colour, label=f"{said}: AUROC {area.value:.2f}")
    everything = 100 * (1 - sum(correct) / len(correct))
    axes.axhline(everything, color=INK, lw=1, ls=":", label=f"all, {label}")
    axes.set(xlabel="answered, % of the questions", ylabel="wrong among the answered, %")
    axes.set(ylim=(0, max(70.0, everything * 1.4)))
    axes.set_title("When not to answer")
    axes.grid(color=RULE, lw=0.6)
    axes.legend(loc="upper left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run, or a folder of runs with a figure.toml")
    parser.add_argument("file", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    settings: dict[str, Any] = {
        "svg.hashsalt": "entropix",
        "svg.fonttype": "none",
        "font.size": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
    }
    settings |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"), INK)
    settings |= {"xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10}
    try:
        rows, labels, ranked = (planned if (args.folder / "figure.toml").exists() else all_of)(args.folder)
        with matplotlib.rc_context(settings):
            figure = draw(rows, labels, ranked)
            about = {"metadata": {"Date": None}} if args.file.suffix == ".svg" else {}
            figure.savefig(args.file, format=args.file.suffix[1:], transparent=True, **about)
    except (EntropixError, OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"benchmarks.figure: {error}")
    print(args.file)


if __name__ == "__main__":
    main()
