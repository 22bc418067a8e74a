"""What a run shows: accuracies with intervals, paired comparisons, and whether the uncertainty means anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from entropix.evaluate import statistics as st

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One spec on one task. tokens, unshared and seconds are means an answer; tokens counts every forwarded token,
    unshared what it would be if forks shared no prefix. coverage: share of answers that were read off the text."""

    task: str
    spec: str
    items: int
    answers: int
    accuracy: st.Interval
    any_right: float
    coverage: float
    tokens: float
    unshared: float
    seconds: float
    ece: float
    aurc: float
    auroc: dict[str, st.Interval]


@dataclass(frozen=True)
class Comparison:
    """One spec against the baseline on the same items and seeds. p is Holm's over all comparisons of the report."""

    task: str
    spec: str
    baseline: str
    difference: st.Interval
    helped: int
    hurt: int
    p: float
    adjusted: float = float("nan")


@dataclass(frozen=True)
class Summary:
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    left_out: int
    """Outcomes of items and seeds that not every spec has answered, which enter no figure."""

    def by_task(self) -> list[tuple[str, list[Row], list[Comparison]]]:
        """Each task with its rows and comparisons."""
        tasks = dict.fromkeys(row.task for row in self.rows)
        return [(t, [r for r in self.rows if r.task == t], [c for c in self.comparisons if c.task == t]) for t in tasks]


def summarise(outcomes: Sequence[Outcome], baseline: str | None = None) -> Summary:
    """Figures over the items and seeds that every spec of a task has answered. baseline: a spec's name, None for
    the first. Raises ValueError when no outcome is of the baseline."""
    by_task: dict[str, dict[str, dict[tuple[str, int], Outcome]]] = defaultdict(lambda: defaultdict(dict))
    for o in outcomes:
        by_task[o["task"]][o["spec"]][o["item"], o["seed"]] = o
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    used = 0
    for task, specs in by_task.items():
        common = set.intersection(*(set(found) for found in specs.values()))
        keys = sorted(common)
        used += len(keys) * len(specs)
        if not keys:
            continue
        base = baseline if baseline is not None else next(iter(specs))
        if base not in specs:
            raise ValueError(f"the baseline {base!r} is none of the specs: {', '.join(specs)}")
        for spec, found in specs.items():
            rows.append(_row(task, spec, [found[k] for k in keys]))
            if spec != base:
                ours, theirs = [found[k] for k in keys], [specs[base][k] for k in keys]
                comparisons.append(_compare(task, spec, base, ours, theirs))
    adjusted = st.holm([c.p for c in comparisons])
    held = tuple(replace(c, adjusted=p) for c, p in zip(comparisons, adjusted, strict=True))
    return Summary(tuple(rows), held, len(outcomes) - used)


def _row(task: str, spec: str, outcomes: Sequence[Outcome]) -> Row:
    n = len(outcomes)
    items = [o["item"] for o in outcomes]
    right = [bool(o["right"]) for o in outcomes]
    alone = len(set(items)) == n
    accuracy = st.share(sum(right), n) if alone else st.cluster_mean(*_clusters(items, right))
    confidence = [o["signals"]["confidence"] for o in outcomes]
    return Row(
        task=task,
        spec=spec,
        items=len(set(items)),
        answers=n,
        accuracy=accuracy,
        any_right=sum(bool(o["any_right"]) for o in outcomes) / n,
        coverage=sum(o["answer"] is not None for o in outcomes) / n,
        tokens=sum(o["forwarded"] for o in outcomes) / n,
        unshared=sum(o["unshared"] for o in outcomes) / n,
        seconds=sum(o["seconds"] for o in outcomes) / n,
        ece=st.ece(confidence, right),
        aurc=st.aurc(confidence, right),
        auroc={
            name: st.auroc_interval([o["signals"][name] for o in outcomes], right, items)
            for name in outcomes[0]["signals"]
        },
    )


def _clusters(items: Sequence[str], values: Sequence[float]) -> tuple[list[float], list[int]]:
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for item, value in zip(items, values, strict=True):
        sums[item] += value
        counts[item] += 1
    return list(sums.values()), list(counts.values())


def _compare(task: str, spec: str, baseline: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Comparison:
    a, b = [bool(o["right"]) for o in ours], [bool(o["right"]) for o in theirs]
    items = [o["item"] for o in ours]
    sums, counts = _clusters(items, [x - y for x, y in zip(a, b, strict=True)])
    helped, hurt = sum(x > y for x, y in zip(a, b, strict=True)), sum(x < y for x, y in zip(a, b, strict=True))
    if len(set(items)) == len(items):
        p = st.mcnemar(a, b)
    else:
        p = st.sign_flips([s / c for s, c in zip(sums, counts, strict=True)])
    return Comparison(task, spec, baseline, st.cluster_mean(sums, counts), helped, hurt, p)


def markdown(summary: Summary, manifest: dict[str, Any]) -> str:
    """The summary as a Markdown page."""
    lines = [f"# {', '.join(manifest.get('tasks', {})) or 'Evaluation'}", ""]
    lines += [f"Model {manifest.get('model', '?')}; {manifest.get('versions', '')}.", ""]
    lines += ["Commands:", "", *(f"    {c}" for c in manifest.get("commands", ())), ""]
    if summary.left_out:
        lines += [f"{summary.left_out} outcomes of items that not every spec has answered are left out.", ""]
    for task, rows, pairs in summary.by_task():
        lines += [f"## {task}", "", f"{rows[0].items} items, {rows[0].answers} answers a spec.", ""]
        lines += _table(ACCURACY, [accuracy_cells(row) for row in rows])
        if pairs:
            lines += [f"Against {pairs[0].baseline}, by item:", ""]
            lines += _table(COMPARED, [compared_cells(c) for c in pairs])
        lines += ["AUROC against correctness (95 % interval), and the calibration of the confidence:", ""]
        names = list(rows[0].auroc)
        lines += _table(
            ("spec", *names, "ECE", "AURC"),
            [(r.spec, *(_auroc(r.auroc[n]) for n in names), f"{r.ece:.3f}", f"{r.aurc:.3f}") for r in rows],
        )
    return "\n".join(lines)


ACCURACY = ("spec", "accuracy", "95 % interval", "any branch", "answer found", "tokens", "unshared", "s")
COMPARED = ("spec", "difference", "95 % interval", "helped", "hurt", "p", "p (Holm)")


def accuracy_cells(r: Row) -> tuple[str, ...]:
    shares = (_percent(r.accuracy.value), _range(r.accuracy), _percent(r.any_right), _percent(r.coverage))
    return (r.spec, *shares, f"{r.tokens:.0f}", f"{r.unshared:.0f}", f"{r.seconds:.1f}")


def compared_cells(c: Comparison) -> tuple[str, ...]:
    interval = f"{_points(c.difference.low)} … {_points(c.difference.high)}"
    counts = (str(c.helped), str(c.hurt), f"{c.p:.3g}", f"{c.adjusted:.3g}")
    return (c.spec, _points(c.difference.value), interval, *counts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, rows), ""]


def _percent(x: float) -> str:
    return f"{x:.1%}"


def _points(x: float) -> str:
    return f"{100 * x:+.1f}"


def _range(i: st.Interval) -> str:
    return f"{i.low:.1%} … {i.high:.1%}"


def _auroc(i: st.Interval) -> str:
    return "–" if i.value != i.value else f"{i.value:.2f} ({i.low:.2f} … {i.high:.2f})"
