"""Where interventions helped and where they hurt: a spec against the baseline, by what was done to each answer."""

from __future__ import annotations

import statistics as numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.evaluate import statistics as st
from entropix.types import Regime

Outcome = dict[str, Any]

UNSURE = (Regime.BRANCH.label, Regime.RESAMPLE.label)

KINDS: dict[str, Callable[[Outcome], float]] = {
    "tokens other than the likeliest": lambda o: o["departed"],
    "tokens chosen among candidates": lambda o: o["compared"],
    "injected tokens": lambda o: o["injected"],
    "further branches": lambda o: o["branches"] - 1,
    "tokens taken back": lambda o: o["ledger"]["abandoned"] if o["branches"] == 1 else 0,
    "share of tokens in branch or resample": lambda o: sum(o["regimes"][name] for name in UNSURE),
}
"""How much of each intervention an answer had; KeyError where a run of an older version has not recorded it. The last
one says how often the signals called for one, whatever the policy made of it."""

FEW = 0.1
"""Least share of answers without an intervention for "none" to be a group of its own."""


@dataclass(frozen=True)
class Effect:
    """Answers of a spec that had so much of an intervention, beside the baseline's to the same questions."""

    spec: str
    kind: str
    amount: str
    answers: int
    accuracy: float
    baseline: float
    helped: int
    hurt: int
    difference: st.Interval


def effects(spec: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Iterator[Effect]:
    """Each kind of intervention that some answers had more of than others: the answers with none and with some, or,
    where nearly all had some, with at most the median amount and with more. theirs: the baseline's, in that order."""
    for kind, amount in KINDS.items():
        try:
            amounts = [float(amount(o)) for o in ours]
        except KeyError:
            continue
        none = sum(not a for a in amounts) >= FEW * len(amounts)
        cut = 0.0 if none else numbers.median_low(amounts)
        names = ("none", "some") if none else (f"at most {cut:.3g}", f"more than {cut:.3g}")
        groups = [[a <= cut for a in amounts], [a > cut for a in amounts]]
        if not all(map(any, groups)):
            continue
        for name, chosen in zip(names, groups, strict=True):
            pairs = [(o, b) for o, b, c in zip(ours, theirs, chosen, strict=True) if c]
            yield _effect(spec, kind, name, pairs)


def _effect(spec: str, kind: str, amount: str, pairs: Sequence[tuple[Outcome, Outcome]]) -> Effect:
    gains = [int(bool(o["right"])) - int(bool(b["right"])) for o, b in pairs]
    return Effect(
        spec,
        kind,
        amount,
        len(pairs),
        sum(bool(o["right"]) for o, _ in pairs) / len(pairs),
        sum(bool(b["right"]) for _, b in pairs) / len(pairs),
        gains.count(1),
        gains.count(-1),
        st.cluster_mean(*st.by_item([o["item"] for o, _ in pairs], gains)),
    )
