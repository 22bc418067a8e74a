"""Estimators of uncertainty on the outcomes of a run: their values, and how well they separate right from wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from entropix.answers.spans import Likelihood
from entropix.evaluate import statistics as st
from entropix.evaluate.texts import StoredText, texts_of
from entropix.uncertainty import ESTIMATORS, Needs, Observed, Uncertainties

Outcome = dict[str, Any]

LEAST_KNOWN = 0.5
"""An estimator without a value for more than this share of the answers is not judged."""

NEEDS = {Needs.TEXT: "one text", Needs.TEXTS: "n texts", Needs.FORWARD: "a forward"}


@dataclass(frozen=True)
class Judged:
    """One estimator on the answers of one spec. known: how many of them it has a value for."""

    name: str
    needs: str
    known: int
    auroc: st.Interval
    prr: st.Interval
    aurc: float


def judge(outcomes: Sequence[Outcome]) -> list[Judged]:
    """Every estimator that has values for these outcomes. An answer without one ranks as least sure: there is none for
    a text that gives no answer, which is seldom right."""
    # one that is no number, as an estimator of a package may give, is none
    values = [{n: v for n, v in uncertainties_of(o).items() if v is not None and v == v} for o in outcomes]
    right = [bool(o["right"]) for o in outcomes]
    items = [o["item"] for o in outcomes]
    found = []
    for name in ESTIMATORS:
        known = [v[name] for v in values if name in v]
        if not known or len(known) < LEAST_KNOWN * len(values):
            continue
        most = max(known) + 1
        sure = [-v[name] if name in v else -most for v in values]
        needs = NEEDS[ESTIMATORS[name].needs]
        auroc, prr = st.auroc_interval(sure, right, items), st.prr_interval(sure, right, items)
        found.append(Judged(name, needs, len(known), auroc, prr, st.aurc(sure, right)))
    return found


def uncertainties_of(outcome: Outcome) -> dict[str, float]:
    """An outcome's uncertainties: those that were kept with it, else those that its texts give."""
    kept = outcome.get("uncertainties")
    if (
        kept is None and outcome.get("ballots") and "ballot_tokens" not in outcome
    ):  # of a version that kept answers only
        return {}
    return dict(Uncertainties(lambda: observed_of(outcome))) if kept is None else kept


def observed_of(outcome: Outcome) -> Observed:
    """An outcome as the estimators read it: the text that was given is the likeliest of those with its answer."""
    texts = texts_of(outcome)
    mine = [t for t in texts if t.answer == outcome["answer"]] or texts
    given = max(mine, key=lambda t: -math.inf if t.whole is None else t.whole.mean)
    others = tuple(t for t in texts if t is not given)
    assessed = (outcome.get("assessed") or {}).get(outcome["answer"])
    return Observed(_filled(given, outcome), others, assessed)


def observed_beside(outcome: Outcome, others: Outcome) -> Observed:
    """The text of one outcome, and the texts of another of the same question beside it: as the literature has it, where
    the greedy text is judged and samples are drawn to see how sure it is."""
    return Observed(observed_of(outcome).text, tuple(texts_of(others)))


def _filled(text: StoredText, outcome: Outcome) -> StoredText:
    """A text with what its outcome says of it, where nothing was kept of texts."""
    signals = outcome["signals"]
    total, mean = signals.get("sum of log-probabilities"), signals.get("mean log-probability")
    if text.whole is not None or total is None or mean is None:
        return text
    tokens = round(total / mean) if mean else 0
    whole = Likelihood(total, mean, math.nan, tokens)
    entropy = -signals["mean entropy"] if "mean entropy" in signals else None
    return replace(text, whole=whole, entropy=entropy, length=round(-signals.get("length", -text.length)))
