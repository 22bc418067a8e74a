"""What other rules would have made of a run's votes, as specs of the same run."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from entropix.errors import TaskError
from entropix.evaluate.calibration import Held, held_out
from entropix.evaluate.replay import Rule, ballots_of, evidence_of, moved, replayed
from entropix.evaluate.summary import Summary
from entropix.evaluate.texts import texts_of

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """base: the spec whose ballots are counted again. outcomes: of that, of the specs asked for beside it, and of every
    rule as a spec of its own; rules and families by their names."""

    base: str
    outcomes: list[Outcome]
    rules: dict[str, Rule]
    families: dict[str, str]


def replay(
    outcomes: Sequence[Outcome],
    rules: Sequence[Rule],
    means: Sequence[float] = (),
    *,
    spec: str | None = None,
    beside: Sequence[str] = (),
    shuffles: int = 0,
) -> Replay:
    """Every rule on every vote of a run, and for each of `means`, ballots per question, the ballots of the first rule,
    as many as the largest, moved between the questions of a task.

    spec: whose votes; None for the only one, or the one of most ballots. beside: further specs that stand in the
    report. shuffles: every vote so many times, each with its ballots in another order, as a seed of its own: ballots
    are exchangeable, and the mean over orders has less noise than the one order in which they were cast. Raises
    TaskError where no vote can be replayed."""
    base = base_of(outcomes, spec)
    asked = {base, *beside, *(rule.first for rule in rules)}
    shown = [o for o in outcomes if o["spec"] in asked]
    if shuffles:
        shown = [_shuffled(o, n) for n in range(shuffles) for o in shown]
    votes = sorted((o for o in shown if o["spec"] == base), key=lambda o: (o["task"], o["seed"], o["item"]))
    _check_likelihoods(votes, rules)
    found_beside: dict[tuple[str, str, int], dict[str, Outcome]] = defaultdict(dict)
    for o in shown:
        found_beside[o["task"], o["item"], o["seed"]][o["spec"]] = o
    others = [found_beside[o["task"], o["item"], o["seed"]] for o in votes]
    made = list(shown)
    named: dict[str, Rule] = {}
    families: dict[str, str] = {}

    def add(name: str, family: str, rule: Rule, found: Sequence[Outcome]) -> None:
        named[name], families[name] = rule, family
        made.extend(found)

    for rule in rules:
        most = max(len(ballots_of(o, rule, found)) for o, found in zip(votes, others, strict=True))
        name = f"{rule.family} {most}"
        if name == base or name in named:  # a cap beyond the ballots is the same rule
            continue
        add(name, rule.family, rule, [replayed(o, rule, name, f) for o, f in zip(votes, others, strict=True)])
    caps = [rule.most for rule in rules]
    for mean in dict.fromkeys(means):
        rule = replace(rules[0], stop=Rule().stop, most=max(caps) if all(caps) else 0)
        family = "moved" + rule.family.removeprefix("vote")
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for n, o in enumerate(votes):
            groups[o["task"], o["seed"]].append(n)
        name = f"{family} {mean:g}"
        found = [
            o
            for members in groups.values()
            for o in moved([votes[n] for n in members], mean, rule, name, [others[n] for n in members])
        ]
        add(name, family, rule, found)
    return Replay(base, made, named, families)


def _check_likelihoods(votes: Sequence[Outcome], rules: Sequence[Rule]) -> None:
    """Raise TaskError for a rule that reads what a run has not kept, where every ballot would count for nothing."""
    if any(text.whole is not None for o in votes for text in texts_of(o)):
        return
    for rule in rules:
        if rule.likelihoods:
            raise TaskError(
                f"the ballots of this run were stored without their likelihoods, which {rule.likelihoods} needs; draw "
                "them again"
            )


def _shuffled(outcome: Outcome, n: int) -> Outcome:
    """The outcome under a seed of its own, its vote with the ballots in another order; the first keeps its order."""
    named = {**outcome, "seed": outcome["seed"] * 10_000 + n}
    if not outcome.get("ballots"):
        return named
    order = list(range(len(outcome["ballots"])))
    if n:
        random.Random(f"{n}\0{outcome['task']}\0{outcome['item']}\0{outcome['seed']}").shuffle(order)
    keys = ("ballots", "ballot_right", "ballot_tokens", "ballot_ends", "ballot_before", "texts")
    named |= {key: [outcome[key][place] for place in order] for key in keys if outcome.get(key)}
    return {**named, **_counted_again(named)}


def _counted_again(outcome: Outcome) -> Outcome:
    """What the order of the ballots changes in a whole vote: of equals the one cast first wins."""
    found = replayed(outcome, Rule(), outcome["spec"])
    return {key: found[key] for key in ("answer", "right", "signals")}


def base_of(outcomes: Sequence[Outcome], spec: str | None) -> str:
    """The spec whose ballots can be counted again."""
    sizes: dict[str, set[int]] = defaultdict(set)
    for o in outcomes:
        sizes[o["spec"]].add(len(o["ballots"]) if o.get("independent") else 0)
    fit = {name: found.copy().pop() for name, found in sizes.items() if len(found) == 1 and 0 not in found}
    needed = "it takes independent samples that count once each and all run to their end, such as vote:n=16,stop=none"
    if spec is not None and spec not in fit:
        why = needed if spec in sizes else f"the run's specs are {', '.join(sizes)}"
        raise TaskError(f"the votes of {spec!r} cannot be replayed: {why}")
    if not fit:
        raise TaskError(f"the run holds no vote that can be replayed: {needed}")
    return spec or max(fit, key=lambda name: fit[name])


def with_calibration(
    summary: Summary,
    found: Replay,
    *,
    splits: int = 200,
    risk: float = 0.1,
    features: Sequence[str] | None = None,
) -> Summary:
    """The summary with how well the confidence of every vote is calibrated on items left out. The first seed of an item
    counts. Raises TaskError for too few items, and ProfileError for features that the run has not kept."""
    rules = {found.base: Rule(), **found.rules}
    tasks = []
    for task in summary.tasks:
        held: list[tuple[str, Held]] = []
        for row in task.rows:
            if row.spec not in rules:
                continue
            first: dict[str, Outcome] = {}
            for o in sorted(found.outcomes, key=lambda o: (o["seed"], o["item"])):
                if (o["task"], o["spec"]) == (task.task, row.spec):
                    first.setdefault(o["item"], o)
            evidence = [evidence_of(o, rules[row.spec]) for o in first.values()]
            right = [bool(o["right"]) for o in first.values()]
            held.append((row.spec, held_out(evidence, right, splits=splits, risk=risk, features=features)))
        tasks.append(replace(task, held=tuple(held)))
    return replace(summary, tasks=tuple(tasks))
