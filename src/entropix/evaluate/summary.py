"""What a run shows: accuracies with intervals, paired comparisons, and whether the uncertainty means anything."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from entropix.evaluate import statistics as st
from entropix.evaluate.budget import AgainstCurve, Point, curves, rule_points
from entropix.evaluate.calibration import Held
from entropix.evaluate.effects import Effect, effects
from entropix.evaluate.estimates import Judged, judge
from entropix.evaluate.specs import family_of
from entropix.evaluate.store import cost
from entropix.types import Regime

Outcome = dict[str, Any]

RANKED = ("confidence", "length", "sum of log-probabilities")
"""The signals whose risk–coverage curves are shown: ours, and those it has to beat."""


@dataclass(frozen=True)
class Row:
    """One spec on one task. tokens, unshared and seconds are means per answer; tokens counts every token that an answer
    alone forwards, unshared what it would be if forks shared no prefix. coverage: share of answers that were read off
    the text. branches and ballots are means per answer. regimes: of each regime its share of the answers' tokens, and
    the share of answers in which it fired at all. risk: (coverage, risk) of each signal of `RANKED`."""

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
    aurc: dict[str, float]
    auroc: dict[str, st.Interval]
    branches: float
    ballots: float
    regimes: dict[str, tuple[float, float]]
    bins: tuple[st.Bin, ...]
    risk: dict[str, tuple[list[float], list[float]]]
    brier: float = float("nan")
    mass_ece: float = float("nan")
    judged: tuple[Judged, ...] = ()
    """Of every estimator of uncertainty that the outcomes hold, in the estimators' order."""


@dataclass(frozen=True)
class Flip:
    """An answer of which one of spec and baseline is right and the other wrong."""

    item: str
    seed: int
    right: str
    baseline: str | None
    spec: str | None
    helped: bool


@dataclass(frozen=True)
class Comparison:
    """One spec against the baseline on the same items and seeds. p is Holm's over all comparisons of the report."""

    task: str
    spec: str
    baseline: str
    difference: st.Interval
    p: float
    flips: tuple[Flip, ...]
    adjusted: float = float("nan")

    @property
    def helped(self) -> int:
        return sum(f.helped for f in self.flips)

    @property
    def hurt(self) -> int:
        return len(self.flips) - self.helped


@dataclass(frozen=True)
class TaskSummary:
    """One task: a row a spec, each but the baseline against the baseline, the families' curves with every other spec
    beside them, and the comparisons again by what was done to an answer."""

    task: str
    baseline: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    points: tuple[Point, ...]
    against: tuple[AgainstCurve, ...]
    effects: tuple[Effect, ...]
    held: tuple[tuple[str, Held], ...] = ()
    """Of specs whose confidence was calibrated: how that did on items left out."""


@dataclass(frozen=True)
class Summary:
    tasks: tuple[TaskSummary, ...]
    left_out: int
    """Outcomes of items and seeds that not every spec has answered, which enter no figure."""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for task in self.tasks for row in task.rows)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(c for task in self.tasks for c in task.comparisons)


def summarise(
    outcomes: Sequence[Outcome],
    baseline: str | None = None,
    families: Mapping[str, str] | None = None,
    *,
    rules: bool = False,
) -> Summary:
    """Figures over the items and seeds that every spec of a task has answered. baseline: a spec's name, None for
    the first. families: of specs, where it is not `family_of` the name. rules: the curves of
    stop rules and of moved ballots too, replayed on the largest vote. Raises ValueError when no outcome is of the
    baseline."""
    by_task: dict[str, dict[str, dict[tuple[str, int], Outcome]]] = defaultdict(lambda: defaultdict(dict))
    for o in outcomes:
        by_task[o["task"]][o["spec"]][o["item"], o["seed"]] = o
    tasks: list[TaskSummary] = []
    used = 0
    for task, specs in by_task.items():
        common = set.intersection(*(set(found) for found in specs.values()))
        keys = sorted(common)
        used += len(keys) * len(specs)
        if not keys:
            continue
        base = baseline if baseline is not None else next(iter(specs))
        if base not in specs:
            raise ValueError(f"the baseline {base!r} is not one of the specs: {', '.join(specs)}")
        paired = {spec: [found[k] for k in keys] for spec, found in specs.items()}
        made = _task(task, base, paired, {spec: (families or {}).get(spec) or family_of(spec) for spec in specs})
        tasks.append(replace(made, points=(*made.points, *rule_points(paired))) if rules else made)
    adjusted = iter(st.holm([c.p for task in tasks for c in task.comparisons]))
    held = [
        replace(task, comparisons=tuple(replace(c, adjusted=next(adjusted)) for c in task.comparisons))
        for task in tasks
    ]
    return Summary(tuple(held), len(outcomes) - used)


def _task(task: str, base: str, paired: Mapping[str, Sequence[Outcome]], families: Mapping[str, str]) -> TaskSummary:
    """paired: of each spec the outcomes of the same items and seeds in the same order."""
    others = {spec: found for spec, found in paired.items() if spec != base}
    points, against = curves(paired, families)
    return TaskSummary(
        task,
        base,
        tuple(_row(task, spec, found) for spec, found in paired.items()),
        tuple(_compare(task, spec, base, found, paired[base]) for spec, found in others.items()),
        tuple(points),
        tuple(against),
        tuple(e for spec, found in others.items() for e in effects(spec, found, paired[base])),
    )


def _row(task: str, spec: str, outcomes: Sequence[Outcome]) -> Row:
    n = len(outcomes)
    items = [o["item"] for o in outcomes]
    right = [bool(o["right"]) for o in outcomes]
    # what an answer lacks, such as an assessment of one that was not among those shown, ranks no answers
    known = [name for name in outcomes[0]["signals"] if all(name in o["signals"] for o in outcomes)]
    signals = {name: [o["signals"][name] for o in outcomes] for name in known}
    ranked = {name: signals[name] for name in RANKED if name in signals}
    return Row(
        task=task,
        spec=spec,
        items=len(set(items)),
        answers=n,
        accuracy=st.accuracy(*st.by_item(items, right)),
        any_right=sum(bool(o["any_right"]) for o in outcomes) / n,
        coverage=sum(o["answer"] is not None for o in outcomes) / n,
        tokens=sum(map(cost, outcomes)) / n,
        unshared=sum(o["unshared"] for o in outcomes) / n,
        seconds=math.nan if None in (took := [o["seconds"] for o in outcomes]) else sum(took) / n,
        ece=st.ece(signals["confidence"], right),
        aurc={name: st.aurc(score, right) for name, score in ranked.items()},
        auroc={name: st.auroc_interval(score, right, items) for name, score in signals.items()},
        branches=sum(o.get("branches", 1) for o in outcomes) / n,
        ballots=sum(len(o.get("ballots", ())) for o in outcomes) / n,
        regimes=_regimes(outcomes),
        bins=tuple(st.reliability(signals["confidence"], right)),
        risk={name: _curve(score, right) for name, score in ranked.items()},
        brier=st.brier(signals["confidence"], right),
        mass_ece=st.mass_ece(signals["confidence"], right),
        judged=tuple(judge(outcomes)),
    )


def _curve(score: Sequence[float], right: Sequence[bool]) -> tuple[list[float], list[float]]:
    coverage, risk = st.risk_coverage(score, right)
    return coverage.tolist(), risk.tolist()


def _regimes(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, float]]:
    tokens = sum(o.get("tokens", 0) for o in outcomes)
    if not tokens:
        return {}
    shares = {r.label: [o.get("regimes", {}).get(r.label, 0.0) for o in outcomes] for r in Regime}
    return {
        name: (
            sum(s * o["tokens"] for s, o in zip(found, outcomes, strict=True)) / tokens,
            sum(s > 0 for s in found) / len(found),
        )
        for name, found in shares.items()
    }


def _compare(task: str, spec: str, baseline: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Comparison:
    a, b = [bool(o["right"]) for o in ours], [bool(o["right"]) for o in theirs]
    items = [o["item"] for o in ours]
    sums, counts = st.by_item(items, [x - y for x, y in zip(a, b, strict=True)])
    flips = [
        Flip(o["item"], o["seed"], o.get("gold", ""), t["answer"], o["answer"], x)
        for o, t, x, y in zip(ours, theirs, a, b, strict=True)
        if x != y
    ]
    p = st.mcnemar(a, b) if len(counts) == len(items) else st.sign_flips(sums / counts)
    return Comparison(task, spec, baseline, st.cluster_mean(sums, counts), p, tuple(flips))
