"""Accuracy at equal cost: the points of a family of specs as a curve, smaller votes counted on the first ballots of a
larger one, and every other spec against the curve at its own tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.evaluate import statistics as st
from entropix.evaluate.replay import Rule, moved, replayed
from entropix.evaluate.store import cost
from entropix.search.stopping import parse_stop

Outcome = dict[str, Any]

STOPS = ("overtake", "beta:0.95", "lead:2", "lead:3", "lead:4")
"""The stop rules whose curves a report draws beside the votes that were cast."""


@dataclass(frozen=True)
class Point:
    """One cost of a family. derived: counted on the ballots of a spec, and not decoded by itself. tokens is the
    mean of every forwarded token per answer; any_right the share of answers that any ballot got right."""

    family: str
    name: str
    derived: bool
    tokens: float
    accuracy: st.Interval
    any_right: float


@dataclass(frozen=True)
class AgainstCurve:
    """One spec and a family's curve at the spec's tokens."""

    spec: str
    family: str
    tokens: float
    accuracy: float
    found: st.AtBudget


def smaller_votes(outcomes: Sequence[Outcome]) -> dict[int, list[Outcome]]:
    """What votes of 1, 2, 4 … ballots would have said and cost, from outcomes of one spec; none unless every outcome
    has equally many ballots that are whole, independent samples, with their tokens recorded.

    Tokens are the spec's less those of the ballots left out: what a vote that casts every ballot computes."""
    ballots = {len(o["ballots"]) if o.get("independent") else 0 for o in outcomes}
    if len(ballots) != 1:
        return {}
    (n,) = ballots
    sizes = [2**k for k in range(n.bit_length()) if 2**k < n]
    return {size: [replayed(o, Rule(most=size), o["spec"]) for o in outcomes] for size in sizes}


def curves(
    outcomes: Mapping[str, Sequence[Outcome]], families: Mapping[str, str]
) -> tuple[list[Point], list[AgainstCurve]]:
    """The points of every family that has more than one, and every other spec against each of these curves.

    outcomes: of each spec, on the same items and seeds in the same order; families: of each spec."""
    points: dict[str, dict[tuple[bool, str], Sequence[Outcome]]] = defaultdict(dict)  # (derived, name)
    for family in dict.fromkeys(families[spec] for spec in outcomes):
        members = [spec for spec in outcomes if families[spec] == family]
        sizes = {len(outcomes[spec][0].get("ballots", ())) for spec in members}
        votes = {spec: smaller_votes(outcomes[spec]) for spec in members}
        largest = max(members, key=lambda spec: max(votes[spec], default=0))
        for size, found in votes[largest].items():
            if size not in sizes:
                name = f"{largest}, first {size} of {len(outcomes[largest][0]['ballots'])}"
                points[family][True, name] = found
        points[family].update(((False, spec), outcomes[spec]) for spec in members)
    made: list[Point] = []
    against: list[AgainstCurve] = []
    for family, found_points in points.items():
        if len(found_points) < 2:
            continue
        sums = {key: _Sums(found) for key, found in found_points.items()}
        for derived, name in sorted(sums, key=lambda key: sums[key].mean_tokens):
            made.append(point_of(family, name, derived, found_points[derived, name]))
        for spec, theirs in outcomes.items():
            if families[spec] != family:
                against.append(_against(spec, family, _Sums(theirs), list(sums.values())))
    return made, against


def rule_points(outcomes: Mapping[str, Sequence[Outcome]]) -> list[Point]:
    """What stop rules and ballots that move between items would have made of the largest vote of independent samples,
    at caps and means of 4, 8, 16 … ballots: a curve each, derived. None without a vote of at least 8."""
    sizes = {spec: len(found[0]["ballots"]) for spec, found in outcomes.items() if smaller_votes(found)}
    base = max(sizes, key=lambda spec: sizes[spec], default=None)
    if base is None or sizes[base] < 8:
        return []
    votes = outcomes[base]
    caps = [n for k in range(2, 12) if (n := 2**k) < sizes[base]] + [sizes[base]]
    found: dict[tuple[str, str], Sequence[Outcome]] = {}
    for stop in STOPS:
        for most in caps:
            rule = Rule(stop=parse_stop(stop), most=most)
            found[stop, f"{stop}, at most {most}"] = [replayed(o, rule, stop) for o in votes]
    seeds = sorted({o["seed"] for o in votes})
    for mean in (2, 3, *(n for n in caps if n < sizes[base])):
        runs = (moved([o for o in votes if o["seed"] == seed], mean, Rule(), "moved") for seed in seeds)
        found["moved", f"moved, {mean} per item"] = [o for run in runs for o in run]
    return [point_of(family, name, True, outcomes) for (family, name), outcomes in found.items()]


def point_of(family: str, name: str, derived: bool, outcomes: Sequence[Outcome]) -> Point:
    """The point that these outcomes are."""
    one, any_right = _Sums(outcomes), sum(bool(o["any_right"]) for o in outcomes) / len(outcomes)
    return Point(family, name, derived, one.mean_tokens, st.accuracy(one.right, one.counts), any_right)


class _Sums:
    """Right answers, tokens and answers of each item, in the order of the items' first answers."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        items = [o["item"] for o in outcomes]
        self.right, self.counts = st.by_item(items, [o["right"] for o in outcomes])
        self.tokens, _ = st.by_item(items, [cost(o) for o in outcomes])

    @property
    def mean_tokens(self) -> float:
        return float(self.tokens.sum() / self.counts.sum())


def _against(spec: str, family: str, ours: _Sums, curve: Sequence[_Sums]) -> AgainstCurve:
    found = st.at_budget(ours.right, ours.tokens, ours.counts, [c.right for c in curve], [c.tokens for c in curve])
    return AgainstCurve(spec, family, ours.mean_tokens, float(ours.right.sum() / ours.counts.sum()), found)
