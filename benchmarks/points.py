"""Accuracies, paired differences and costs from stored outcomes: what the figure and the tables of docs/evidence.md are
made of. Nothing here needs a model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.errors import TaskError
from entropix.evaluate import statistics as st
from entropix.evaluate.alternatives import replay
from entropix.evaluate.estimates import uncertainties_of
from entropix.evaluate.replay import Rule
from entropix.evaluate.store import cost
from entropix.search.stopping import parse_stop

BASELINE = "greedy"
SHUFFLES = 20
"""Orders in which the ballots of every vote are counted."""
LEADS = ("lead:2", "lead:3", "lead:4")
Outcomes = list[dict[str, Any]]


@dataclass(frozen=True)
class Against:
    """One way to decode beside another on the items of both; accuracies in points, means over seeds and orders first.

    ratio: of tokens, ours over theirs. better, worse: items on which ours is right more often, and less."""

    items: int
    difference: st.Interval
    ratio: float
    better: int
    worse: int
    p: float


def against(ours: Outcomes, theirs: Outcomes) -> Against:
    """Raises TaskError where they have no items in common."""
    mine, yours = (mean_by_item(found, lambda o: 100 * bool(o["right"])) for found in (ours, theirs))
    common = sorted(mine.keys() & yours.keys())
    if not common:
        raise TaskError("the runs have no items in common; answer the same items with both")
    d = [mine[item] - yours[item] for item in common]
    once = all(value in (0, 100) for found in (mine, yours) for value in (found[item] for item in common))
    p = st.mcnemar([mine[i] > 0 for i in common], [yours[i] > 0 for i in common]) if once else st.sign_flips(d)
    mine_cost, their_cost = (mean_by_item(found, cost) for found in (ours, theirs))
    ratio = sum(mine_cost[item] for item in common) / sum(their_cost[item] for item in common)
    difference = st.cluster_mean(d, [1] * len(common))
    return Against(len(common), difference, ratio, sum(x > 0 for x in d), sum(x < 0 for x in d), p)


def accuracy(outcomes: Outcomes) -> st.Interval:
    """In points, with its interval: Wilson's for one answer an item, else a bootstrap's over items."""
    found = st.accuracy(*st.by_item([o["item"] for o in outcomes], [bool(o["right"]) for o in outcomes]))
    return st.Interval(*(100 * value for value in found))


def tokens(outcomes: Outcomes) -> float:
    return statistics.fmean(map(cost, outcomes))


def mean_by_item(outcomes: Outcomes, value: Callable[[dict[str, Any]], float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for o in outcomes:
        found.setdefault(o["item"], []).append(value(o))
    return {item: statistics.fmean(values) for item, values in found.items()}


def by_spec(outcomes: Outcomes) -> dict[str, Outcomes]:
    found: dict[str, Outcomes] = {}
    for o in outcomes:
        found.setdefault(o["spec"], []).append(o)
    return found


def counted(outcomes: Outcomes, stops: Sequence[str] = LEADS, means: Sequence[float] = (), most: int = 0) -> Outcomes:
    """The greedy texts of a run, its whole vote, and what rules that begin with the greedy text make of its ballots in
    20 orders, under short names: "greedy", "vote", "first N" for votes of `most` texts, "lead:2" …, "moved 4" ….

    means: ballots per question, of at most `most`. Raises TaskError where no vote can be replayed."""
    rules = [Rule(most=most, first=BASELINE)] if most or means else []
    rules += [Rule(stop=parse_stop(stop), first=BASELINE) for stop in stops]
    made = replay(outcomes, rules or [Rule(first=BASELINE)], means, shuffles=SHUFFLES)
    named = {BASELINE: BASELINE, made.base: "vote"}
    for name, rule in made.rules.items():
        family, _, number = name.rpartition(" ")
        if family.startswith("moved"):
            named[name] = f"moved {number}"
        elif rule.stop.spec in stops:
            named[name] = rule.stop.spec
        else:
            named[name] = f"first {number}"
    return [{**o, "spec": named[o["spec"]]} for o in made.outcomes if o["spec"] in named]


def singles(votes: Outcomes, name: str) -> Outcomes:
    """Every ballot of these votes as an answer of its own, under a seed of its own: what one such text is worth."""
    found = []
    for o in votes:
        prompt = cost(o) - sum(o["ballot_tokens"])
        for seed, (right, own) in enumerate(zip(o["ballot_right"], o["ballot_tokens"], strict=True), 1):
            cost_of = {"forwarded": prompt + own, "ledger": {**o["ledger"], "shared": 0}}
            found.append(
                {**o, **cost_of, "spec": name, "seed": seed, "right": right, "any_right": right, "ballots": []}
            )
    return found


def certainty(outcomes: Outcomes, estimator: str) -> list[float]:
    """What an estimator of uncertainty says of each answer, the surest highest; an answer it does not judge is last."""
    values = [uncertainties_of(o) for o in outcomes]
    most = max((v[estimator] for v in values if estimator in v), default=0.0) + 1
    return [-v.get(estimator, most) for v in values]


def interval(found: st.Interval, form: str = ".1f") -> str:
    return f"{found.value:{form}} ({found.low:{form}} … {found.high:{form}})".replace("-", "−")
