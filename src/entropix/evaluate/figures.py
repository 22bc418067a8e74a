"""The report's figures as SVG that takes its colours from the page around it. Needs matplotlib."""

from __future__ import annotations

import io
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from entropix.evaluate import statistics as st
from entropix.evaluate.effects import Effect
from entropix.evaluate.summary import Row, TaskSummary
from entropix.trace.terminal import REGIME_STYLES, one_line
from entropix.types import Regime

# Okabe and Ito's palette without its yellow, which white paper swallows; the page has lighter ones for dark mode
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#777777")
MARKERS = "os^DvPX*"  # one more than colours, so that the pairs repeat late
LINES = ("-", "--", ":")
HATCHES = ("", "///", "xx", "...", "\\\\\\")
INK, RULE, PAPER = "#010203", "#040506", "#070809"
"""Stand for text, grid and ground, which follow the page."""

COLOURS = {
    INK: "currentColor",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{n}, {colour})" for n, colour in enumerate(SERIES)},
}
WIDTH = 5.2
"""Inches, so that nine points are still read when the page is as wide as a telephone."""

SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "entropix",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.color": PAPER,
    "hatch.linewidth": 0.8,
    "errorbar.capsize": 2,
    "figure.constrained_layout.use": True,
}
MOST_EFFECTS = 80
_NO_XML = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True)
class Picture:
    """A figure for the page. alt says in words what it shows; svg is an <svg> element whose ids begin with its own."""

    title: str
    caption: str
    alt: str
    svg: str


def pictures(task: TaskSummary, id: str) -> Iterator[Picture]:
    """Every figure of a task for which there are data. id: what the ids inside begin with, unlike any other's."""
    for n, draw in enumerate((_cost, _flips, _reliability, _risk, _regimes, _effects)):
        with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has the letter, or shows a box
            drawn = draw(task)
            if drawn is not None:
                figure, title, caption, alt = drawn
                yield Picture(title, caption, alt, _svg(figure, f"{id}-{n}"))


Drawn = tuple[Figure, str, str, str] | None


def _cost(task: TaskSummary) -> Drawn:
    """Accuracy against tokens, families joined."""
    families = {p.name: p.family for p in task.points if not p.derived}
    groups: dict[str, list[tuple[float, st.Interval, bool]]] = {}
    for row in task.rows:
        groups.setdefault(families.get(row.spec, row.spec), []).append((row.tokens, row.accuracy, False))
    for point in task.points:
        if point.derived:
            groups.setdefault(point.family, []).append((point.tokens, point.accuracy, True))
    figure = Figure(figsize=(WIDTH, 3.3 + 0.19 * math.ceil(len(groups) / 2)))
    axes = figure.subplots()
    shown = []
    for n, (name, points) in enumerate(groups.items()):
        colour, marker = SERIES[n % len(SERIES)], MARKERS[n % len(MARKERS)]
        points.sort(key=lambda p: p[0])
        axes.plot([p[0] for p in points], [100 * p[1].value for p in points], color=colour, lw=1.2, zorder=2)
        for tokens, accuracy, hollow in points:
            bars = _bars([accuracy])
            face = PAPER if hollow else colour
            axes.errorbar([tokens], [100 * accuracy.value], yerr=bars, color=colour, lw=1, zorder=3)
            axes.plot([tokens], [100 * accuracy.value], color=colour, marker=marker, mfc=face, ms=6, zorder=4)
        (handle,) = axes.plot([], [], color=colour, marker=marker, ms=6, lw=1.2 if len(points) > 1 else 0)
        shown.append((handle, _label(name, 34)))
    axes.set(xlabel="forwarded tokens per answer", ylabel="accuracy, %")
    axes.set_xlim(left=0)
    figure.legend(*zip(*shown, strict=True), loc="outside lower left", ncols=2 if len(shown) > 1 else 1)
    derived = " Hollow points are derived: counted again on the ballots of a larger vote."
    caption = (
        "Bars are 95 % intervals. Specs of one family are joined; the line between two points is what their mixture, "
        "item by item, would give." + (derived if any(p.derived for p in task.points) else "")
    )
    alt = "Accuracy against forwarded tokens. " + _listed(
        f"{r.spec}: {r.accuracy.value:.0%} at {r.tokens:.0f} tokens" for r in task.rows
    )
    return figure, "Accuracy against tokens", caption, alt


def _regimes(task: TaskSummary) -> Drawn:
    """Regime shares, stacked."""
    rows = [r for r in task.rows if r.regimes]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 1.3 + 0.26 * len(rows)))
    axes = figure.subplots()
    left = [0.0] * len(rows)
    order = [Regime.FLOW, Regime.ADAPT, Regime.BRANCH, Regime.CLARIFY, Regime.RESAMPLE]
    for regime, hatch in zip(order, HATCHES, strict=True):
        colour = REGIME_STYLES[regime].color
        widths = [100 * r.regimes[regime.label][0] for r in rows]
        fill = SERIES[-1] if colour is None else colour.name
        axes.barh(range(len(rows)), widths, 0.7, left, color=fill, hatch=hatch, label=regime.label, lw=0)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    _names(axes, [r.spec for r in rows])
    axes.set(xlabel="tokens, %", xlim=(0, 100))
    figure.legend(loc="outside lower left", ncols=5, handlelength=1.2, columnspacing=1)
    alt = "Share of tokens in each regime. " + _listed(f"{r.spec}: {r.regimes['flow'][0]:.0%} flow" for r in rows)
    caption = (
        "Share of the answers' tokens whose signals fell into each regime. Greedy and plain sampling measure the "
        "regimes too and do nothing about them."
    )
    return figure, "How often each regime fired", caption, alt


def _flips(task: TaskSummary) -> Drawn:
    """Answers that a spec got right and the baseline wrong, and the other way round."""
    found = task.comparisons
    if not found:
        return None
    figure = Figure(figsize=(WIDTH, 1.0 + 0.28 * len(found)))
    axes = figure.subplots()
    most = max(1, *(max(c.helped, c.hurt) for c in found))
    for side, colour, hatch, word in ((1, SERIES[0], "", "helped"), (-1, SERIES[1], "///", "hurt")):
        counts = [c.helped if side > 0 else c.hurt for c in found]
        axes.barh(range(len(found)), [side * n for n in counts], 0.7, color=colour, hatch=hatch, label=word, lw=0)
        for y, n in enumerate(counts):
            axes.text(side * (n + 0.02 * most), y, str(n), ha="left" if side > 0 else "right", va="center")
    _names(axes, [c.spec for c in found])
    axes.axvline(0, color=INK, lw=0.8)
    axes.set(xlim=(-1.15 * most, 1.15 * most), xticks=[], xlabel="← hurt     answers     helped →")
    axes.grid(False)
    alt = f"Answers helped and hurt against {task.baseline}. " + _listed(
        f"{c.spec}: {c.helped} helped, {c.hurt} hurt" for c in found
    )
    caption = (
        f"Answers that only the spec has right (helped) or only {task.baseline} has right (hurt), on the same items."
    )
    return figure, f"Helped and hurt, against {task.baseline}", caption, alt


def _effects(task: TaskSummary) -> Drawn:
    """Differences from the baseline by what was done to an answer."""
    found = task.effects[:MOST_EFFECTS]
    if not found:
        return None
    lines: dict[tuple[str, str], list[Effect]] = {}
    for e in found:
        lines.setdefault((e.spec, ""), [])
        lines.setdefault((e.spec, e.kind), []).append(e)
    figure = Figure(figsize=(WIDTH, 0.8 + 0.3 * len(lines)))
    axes = figure.subplots()
    axes.axvline(0, color=INK, lw=0.8)
    names: list[str] = []
    for y, ((spec, kind), groups) in enumerate(lines.items()):
        amounts = "; ".join(f"{sign} {e.amount} (n = {e.answers})" for sign, e in zip("○●", groups, strict=False))
        names.append(f"{kind}\n{amounts}" if kind else _label(spec, 34))
        for n, e in enumerate(groups):
            style: dict[str, Any] = {"color": SERIES[n], "marker": "o", "mfc": SERIES[n] if n else PAPER, "ms": 5}
            at = y - 0.16 + 0.32 * n
            axes.errorbar([100 * e.difference.value], [at], xerr=_bars([e.difference]), lw=1, **style)
    axes.set_yticks(range(len(lines)), names, fontsize=7.5)
    for tick, (_, kind) in zip(axes.get_yticklabels(), lines, strict=True):
        if not kind:
            tick.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"difference from {_label(task.baseline, 24)}, points")
    rest = len(task.effects) - len(found)
    alt = f"Differences from {task.baseline} by intervention; the table below has the same figures."
    caption = (
        f"Accuracy less that of {task.baseline} on the same answers, by how much was done to them, with 95 % "
        "intervals, not adjusted for their number. What is done goes with how hard a question is: compare with zero, "
        "not one group with the other." + (f" The other {rest} are in the table." if rest else "")
    )
    return figure, "Where interventions helped and where they hurt", caption, alt


def _reliability(task: TaskSummary) -> Drawn:
    """Confidence against accuracy, with the sizes of the bins."""

    def panel(axes: Any, r: Row) -> None:
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
        for b in r.bins:
            height, middle = 0.24 * b.n / max(x.n for x in r.bins), (b.low + b.high) / 2
            axes.bar(middle, height, 0.09, -0.4, color=SERIES[-1], alpha=0.45, lw=0)
            axes.text(middle, -0.39 + height, str(b.n), ha="center", va="bottom", fontsize=7)
        bars = _bars([st.share(round(b.accuracy * b.n), b.n) for b in r.bins], 1)
        x, y = [b.confidence for b in r.bins], [b.accuracy for b in r.bins]
        axes.errorbar(x, y, yerr=bars, color=SERIES[0], marker="o", ms=4, lw=1, elinewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(-0.4, 1.03), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])

    figure = _panels(task.rows, panel, "confidence", "accuracy")
    alt = "Reliability diagrams. " + _listed(f"{r.spec}: calibration error {r.ece:.2f}" for r in task.rows)
    caption = (
        "Accuracy of the answers in each tenth of the confidence, with Wilson's 95 % interval (answers counted as "
        "independent); the dotted line is perfect calibration. Grey bars and numbers below are how many answers a bin "
        "holds: a point of few answers says little."
    )
    return figure, "Reliability of the confidence", caption, alt


def _risk(task: TaskSummary) -> Drawn:
    """Error rate against how many of the answers are given, by each ranking."""
    names = list(task.rows[0].risk)

    def panel(axes: Any, r: Row) -> None:
        for n, (name, (coverage, risk)) in enumerate(r.risk.items()):
            axes.plot(coverage, risk, color=SERIES[n], ls=LINES[n], lw=1.4, label=name)
        axes.axhline(1 - r.accuracy.value, color=INK, lw=0.8, ls=(0, (1, 3)))
        axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))

    figure = _panels(task.rows, panel, "coverage", "risk")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    alt = "Risk–coverage curves. " + _listed(
        f"{r.spec}: area by " + ", ".join(f"{n} {r.aurc[n]:.2f}" for n in names if n in r.aurc) for r in task.rows
    )
    caption = (
        "Share of wrong answers among those with the highest score. A score that knows something falls to the left; "
        "the fine dots are a random order. The left end rests on few answers."
    )
    return figure, "Risk and coverage", caption, alt


def _panels(rows: Sequence[Row], panel: Callable[[Any, Row], None], xlabel: str, ylabel: str) -> Figure:
    """One small plot a spec, two side by side."""
    across = min(2, len(rows))
    down = math.ceil(len(rows) / across)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.0 * down))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for n, axes in enumerate(grid.flat):
        if n >= len(rows):
            axes.set_visible(False)
            continue
        panel(axes, rows[n])
        axes.set_title(_label(rows[n].spec, 30), loc="left")
        axes.tick_params(labelbottom=n + across >= len(rows))
    figure.supxlabel(xlabel, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    return figure


def _names(axes: Any, names: Sequence[str]) -> None:
    """One line a name, the first on top."""
    axes.set_yticks(range(len(names)), [_label(name, 26) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(False, axis="y")


def _label(text: str, width: int) -> str:
    text = _NO_XML.sub("\ufffd", one_line(text, width))
    return f" {text}" if text.startswith("_") else text  # matplotlib hides labels that begin so


def _bars(intervals: Sequence[st.Interval], scale: float = 100) -> list[list[float]] | None:
    """Lengths of error bars, in per cent; None where there is no interval."""
    if any(i.low != i.low or i.value != i.value for i in intervals):
        return None
    below, above = [i.value - i.low for i in intervals], [i.high - i.value for i in intervals]
    return [[scale * max(x, 0.0) for x in side] for side in (below, above)]  # rounding may leave less than nothing


def _listed(parts: Iterator[str]) -> str:
    return "; ".join(parts) + "."


def _svg(figure: Figure, id: str) -> str:
    """The figure as an element for the middle of an HTML page: no prolog, metadata or namespaces, ids of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(file.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("}metadata"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            if name == "id":
                value = f"{id}-{value}"
            elif _local(name) == "href":
                value = f"#{id}-{value.removeprefix('#')}"
            elif name != "style":
                value = re.sub(r"(\.\d\d)\d+", r"\1", value)  # a hundredth of a point is enough
            element.attrib[_local(name)] = _coloured(value.replace("url(#", f"url(#{id}-"))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib.update({"aria-hidden": "true", "focusable": "false"})
    return ET.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _coloured(value: str) -> str:
    return re.sub("#[0-9a-f]{6}", lambda m: COLOURS.get(m[0], m[0]), value)
