"""The report as tables and words, which the Markdown page, the HTML page and the terminal share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.evaluate import statistics as st
from entropix.evaluate.summary import Comparison, Row, Summary, TaskSummary
from entropix.trace.terminal import visible

GUIDE = (
    "Accuracy counts the answer that was given. “Any branch” counts answers that some branch got right: no selector "
    "that does not know the right answer can pick it, so it stands beside the accuracy and never for it.",
    "A 95 % interval covers the accuracy over further items like these in 95 of 100 such runs. Items are what is "
    "independent: several seeds of one item count as one cluster. It says nothing about other models, tasks or "
    "prompts.",
    "Helped and hurt count answers of which only the spec, or only the baseline, is right, on the same item and "
    "seed. p is the exact McNemar test (one seed) or a permutation of signs by item (several); Holm adjusts it "
    "for all comparisons with the baseline in this report, not for those in other reports, nor for settings tried "
    "before.",
    "“No difference seen” is not “equal”: an interval from −10 to +10 points is compatible with either. An "
    "interval without width only says that no item at hand differs.",
    "Tokens are all that were forwarded for an answer: prompt, thrown-away branches, look-ahead, injections; a "
    "prompt that another answer had computed already counts all the same. “Unshared” is what they would be if "
    "forks did not share their prefix. Seconds are from submission to the end, with other answers in the same "
    "batch.",
    "The curve of a family is linear between its points and says nothing outside them. Its difference from "
    "another spec is taken at that spec's tokens, with an interval from resampled items in which accuracies, "
    "tokens and interpolation are made again; there is none where fewer than 95 % of these lie on the curve. "
    "These intervals, and those by intervention, are not adjusted for their number. Derived points are "
    "counted again on the ballots of a larger vote: the same samples, so they move together with it.",
    "By intervention: how much was done to an answer goes with how hard its question is, so compare with the "
    "baseline on the same items, not one group with the other. Controls with a random trigger show what the "
    "trigger adds.",
    "AUROC: the probability that a right answer has the higher score than a wrong one, 0.5 for a score that knows "
    "nothing. ECE: mean distance of confidence and accuracy over ten bins. AURC: mean error over all coverages, "
    "lower is better. A confidence has to beat the length and the sum of log-probabilities to be worth its name.",
    "Estimators of uncertainty (docs/uncertainty.md): “known” counts the answers for which one has a value; an answer "
    "without one, such as a text that gives no answer, ranks as least sure. PRR: the area under accuracy over the share"
    " that is rejected, least sure first, between a random order (0) and the best (1), as lm-polygraph defines it.",
)
"""How to read the figures, and what they do not say."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption. labels: how many columns at the left are words and not figures."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1


def tables(task: TaskSummary) -> Iterator[Table]:
    """Every table of a task that has rows."""
    further = (_curves, _search, _regimes, _effects, _validity, _uncertainties)
    for table in (*main_tables(task), *(make(task) for make in further)):
        if table.rows:
            yield table


def main_tables(task: TaskSummary) -> list[Table]:
    """The tables that answer the question; the terminal shows these."""
    found = (_accuracy(task), _compared(task), _equal_budget(task), _held(task))
    return [table for table in found if table.rows]


def _accuracy(task: TaskSummary) -> Table:
    head = ("spec", "accuracy", "95 % interval", "any branch", "answer found", "tokens", "unshared", "s")
    return Table("Accuracy and cost, means per answer", head, tuple(_accuracy_cells(row) for row in task.rows))


def _accuracy_cells(r: Row) -> tuple[str, ...]:
    shares = (_percent(r.accuracy.value), _range(r.accuracy), _percent(r.any_right), _percent(r.coverage))
    return (
        r.spec,
        *shares,
        f"{r.tokens:.0f}",
        f"{r.unshared:.0f}",
        f"{r.seconds:.1f}" if r.seconds == r.seconds else "–",
    )


def _compared(task: TaskSummary) -> Table:
    head = ("spec", "difference", "95 % interval", "helped", "hurt", "p", "p (Holm)")
    rows = tuple(_compared_cells(c) for c in task.comparisons)
    return Table(f"Against {task.baseline}, by item; differences in points", head, rows)


def _compared_cells(c: Comparison) -> tuple[str, ...]:
    counts = (str(c.helped), str(c.hurt), f"{c.p:.3g}", f"{c.adjusted:.3g}")
    return (c.spec, _points(c.difference.value), _point_range(c.difference), *counts)


def _equal_budget(task: TaskSummary) -> Table:
    rows = []
    for a in task.against:
        ends = [p.tokens for p in task.points if p.family == a.family]
        outside = {"below": f"begins at {min(ends):.0f}", "above": f"ends at {max(ends):.0f}"}
        curve = outside.get(a.found.where) or _percent(a.found.curve)
        difference = (_points(a.found.difference.value), _point_range(a.found.difference))
        rows.append((a.spec, a.family, f"{a.tokens:.0f}", _percent(a.accuracy), curve, *difference))
    head = ("spec", "curve of", "tokens", "accuracy", "curve there", "difference", "95 % interval")
    return Table("At equal tokens: each spec against the curves, differences in points", head, tuple(rows), labels=2)


def _curves(task: TaskSummary) -> Table:
    rows = tuple(
        (
            p.family,
            p.name,
            "derived" if p.derived else "measured",
            f"{p.tokens:.0f}",
            _percent(p.accuracy.value),
            _range(p.accuracy),
            _percent(p.any_right),
        )
        for p in task.points
    )
    head = ("curve of", "point", "", "tokens", "accuracy", "95 % interval", "any branch")
    return Table("The curves' points", head, rows, labels=3)


def _search(task: TaskSummary) -> Table:
    rows = tuple(
        (r.spec, f"{r.branches:.1f}", f"{r.ballots:.1f}", _percent(r.accuracy.value), _percent(r.any_right))
        for r in task.rows
        if r.branches > 1
    )
    head = ("spec", "branches", "ballots", "given answer right", "any branch right")
    return Table("Searches: branches and ballots per answer", head, rows)


def _regimes(task: TaskSummary) -> Table:
    names = next((list(r.regimes) for r in task.rows if r.regimes), [])
    rows = tuple(
        (r.spec, *(f"{share:.1%} ({fired:.0%})" for share, fired in r.regimes.values())) for r in task.rows if r.regimes
    )
    caption = "Regimes: share of the answers' tokens, and in brackets of the answers in which the regime fired at all"
    return Table(caption, ("spec", *names), rows)


def _effects(task: TaskSummary) -> Table:
    rows = tuple(
        (
            e.spec,
            e.kind,
            e.amount,
            str(e.answers),
            _percent(e.accuracy),
            _percent(e.baseline),
            str(e.helped),
            str(e.hurt),
            _points(e.difference.value),
            _point_range(e.difference),
        )
        for e in task.effects
    )
    head = ("spec", "intervention", "amount", "answers", "accuracy", task.baseline, "helped", "hurt", "difference")
    caption = f"By intervention, against {task.baseline} on the same answers; differences in points"
    return Table(caption, (*head, "95 % interval"), rows, labels=3)


def _validity(task: TaskSummary) -> Table:
    names, ranked = list(task.rows[0].auroc), list(task.rows[0].aurc)
    rows = tuple(
        (
            r.spec,
            *(_auroc(r.auroc.get(n)) for n in names),
            f"{r.ece:.3f}",
            f"{r.mass_ece:.3f}",
            f"{r.brier:.3f}",
            *(f"{r.aurc[n]:.3f}" if n in r.aurc else "–" for n in ranked),
        )
        for r in task.rows
    )
    head = ("spec", *names, "ECE", "ECE, equal mass", "Brier", *(f"AURC by {n}" for n in ranked))
    caption = "AUROC of each signal against correctness (95 % interval), and the calibration of the confidence"
    return Table(caption, head, rows)


def _uncertainties(task: TaskSummary) -> Table:
    rows = tuple(
        (r.spec, j.name, j.needs, str(j.known), _auroc(j.auroc), _auroc(j.prr), f"{j.aurc:.3f}")
        for r in task.rows
        for j in r.judged
    )
    head = ("spec", "estimator", "needs", "known", "AUROC", "PRR", "AURC")
    caption = "Uncertainty by every estimator, against correctness (95 % intervals); length and msp are what to beat"
    return Table(caption, head, rows, labels=3)


def _held(task: TaskSummary) -> Table:
    rows = []
    for spec, held in task.held:
        pairs = (f"{s:.3f} → {f:.3f}" if s == s and f == f else "–" for s, f in zip(held.share, held.fit, strict=True))
        bound = (_percent(held.answering), _percent(held.coverage), _percent(held.risk), _percent(held.kept))
        rows.append((spec, *pairs, f"{held.chance:.3f}", *bound))
    n = task.held[0][1].splits if task.held else 0
    wished = f"{task.held[0][1].wished:.3g}" if task.held else ""
    head = ("spec", "AUROC", "ECE", "Brier", "PRR", "ECE of chance", "some answered", "coverage", "risk", "risk kept")
    caption = (
        f"Calibrated on one half of the items, seen on the other, means of {n} splits: the share of the ballots → "
        f"the fitted confidence; what an exactly right one shows on so few items; and the threshold "
        f"for a risk of at most {wished}"
    )
    return Table(caption, head, tuple(rows))


def facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run was, as pairs of two strings."""
    found = [
        ("model", manifest.get("model")),
        ("fingerprint", manifest.get("fingerprint")),
        ("engine", manifest.get("engine")),
        ("profile", manifest.get("profile")),
        ("profile's parameters", manifest.get("parameters")),
        ("profile tuned", manifest.get("tuned")),
        ("most tokens per answer", manifest.get("max_tokens")),
        ("budget of all branches", manifest.get("budget")),
        ("versions", manifest.get("versions")),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "", {}, [])]


def described(manifest: dict[str, Any]) -> list[Table]:
    """The tasks and specs of a run as tables."""
    splits = tuple(
        (name, *(str(task.get(key) or "–") for key in ("extractor", "split", "source")))
        for name, task in manifest.get("tasks", {}).items()
    )
    families = manifest.get("families", {})
    specs = tuple(
        (name, *(str(spec.get(key) or "–") for key in ("policy", "search", "max_tokens")), families.get(name, "–"))
        for name, spec in manifest.get("specs", {}).items()
    )
    found = (
        Table("Tasks", ("task", "answers read as", "split", "source"), splits, labels=4),
        Table("Specs", ("spec", "policy", "search", "most tokens", "family"), specs, labels=5),
    )
    return [table for table in found if table.rows]


def title(manifest: dict[str, Any]) -> str:
    return ", ".join(manifest.get("tasks", {})) or "Evaluation"


def left_out(summary: Summary) -> str:
    """What is said of outcomes that enter no figure; "" for none."""
    n = summary.left_out
    return f"{n} answers of items that not every spec has answered are left out" if n else ""


def heading(task: TaskSummary) -> str:
    return f"{task.rows[0].items} items, {task.rows[0].answers} answers a spec"


def markdown(summary: Summary, manifest: dict[str, Any]) -> str:
    """The report as a Markdown page."""
    lines = [f"# {_inline(title(manifest))}", ""]
    lines += [*(f"- {name}: {_inline(text)}" for name, text in facts(manifest)), ""]
    lines += ["Commands:", "", *(f"    {visible(c, keep='')}" for c in manifest.get("commands", ())), ""]
    for table in described(manifest):
        lines += _table(table)
    if summary.left_out:
        lines += [f"{left_out(summary)}.", ""]
    for task in summary.tasks:
        lines += [f"## {_inline(task.task)}", "", f"{heading(task)}.", ""]
        for table in tables(task):
            lines += _table(table)
    lines += ["## How to read this", "", *(f"- {text}" for text in GUIDE), ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_inline(cell).replace("|", "\\|") for cell in cells) + " |"

    return [
        f"{_inline(table.caption)}:",
        "",
        line(table.head),
        "|" + "---|" * len(table.head),
        *map(line, table.rows),
        "",
    ]


def _inline(text: str) -> str:
    """Text from outside on one line of Markdown, with nothing in it that a viewer would take for HTML."""
    return visible(text, keep="").replace("&", "&amp;").replace("<", "&lt;")


def _percent(x: float) -> str:
    return f"{x:.1%}" if x == x else "–"


def _points(x: float) -> str:
    return f"{100 * x:+.1f}" if x == x else "–"


def _range(i: st.Interval) -> str:
    return f"{i.low:.1%} … {i.high:.1%}" if i.low == i.low else "–"


def _point_range(i: st.Interval) -> str:
    return f"{_points(i.low)} … {_points(i.high)}" if i.low == i.low else "–"


def _auroc(i: st.Interval | None) -> str:
    if i is None or i.value != i.value:
        return "–"
    return f"{i.value:.2f} ({i.low:.2f} … {i.high:.2f})" if i.low == i.low else f"{i.value:.2f}"
