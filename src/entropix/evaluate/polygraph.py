"""Stored ballots in the form that lm-polygraph scores: the statistics its estimators start from, under its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from entropix.errors import TaskError
from entropix.evaluate.estimates import observed_beside, observed_of
from entropix.uncertainty import ESTIMATORS, Observed, estimate
from entropix.uncertainty.several import classes

Outcome = dict[str, Any]


def peers(seen: Observed) -> dict[str, float]:
    """Our values under lm-polygraph's names and with its signs, of the estimators that it has."""
    found = {kind.peer: estimate(name, seen) for name, kind in ESTIMATORS.items() if kind.peer}
    # its CCP is minus the probability of which ours is minus the logarithm
    return {name: -float(np.exp(-x)) if name == "CCP" else x for name, x in found.items() if x is not None}


def stats_of_answers(texts: Sequence[Sequence[str | None]], likelihoods: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The statistics about several texts, the given one first. texts: what each answers; likelihoods: Σ ln p of each.

    Equality of answers stands in place of an NLI model: similarity 1 or 0, and classes."""
    place = [classes(answers) for answers in texts]
    return {
        "sample_texts": [["" if a is None else a for a in answers] for answers in texts],
        "sample_log_probs": [list(line) for line in likelihoods],
        "greedy_sentence_similarity": [[float(c == found[0]) for c in found[1:]] for found in place],
        "semantic_classes_entail": {
            "sample_to_class": place,
            "class_to_sample": [
                [[i for i, c in enumerate(found) if c == k] for k in range(max(found) + 1)] for found in place
            ],
        },
    }


def exported(outcomes: Sequence[Outcome], base: str, first: str, model: str) -> dict[str, Any]:
    """The votes of the spec `base` as lm-polygraph takes them. first: the spec whose text is judged, with the ballots
    of `base` beside it; "" for the text that the vote gave.

    stats: one entry per answer under lm-polygraph's names. A run keeps the sum and the number of a text's
    log-probabilities, so each of its tokens stands with their mean, which changes no estimator of a whole text.
    quality: 1 or 0 per answer; uncertainties: ours, under its names. Raises TaskError where likelihoods are missing."""
    beside: dict[tuple[str, str, int], Outcome] = {
        (o["task"], o["item"], o["seed"]): o for o in outcomes if o["spec"] == first
    }
    seen: list[Observed] = []
    told: list[Outcome] = []
    for o in outcomes:
        if o["spec"] != base:
            continue
        judged = beside.get((o["task"], o["item"], o["seed"]))
        if first and judged is None:
            raise TaskError(f"the run has no answer of {first!r} to item {o['item']!r}, beside which the ballots stand")
        told.append(judged or o)
        seen.append(observed_of(o) if judged is None else observed_beside(judged, o))
    if any(t.whole is None for one in seen for t in one.texts):
        raise TaskError(
            "these ballots were stored without their likelihoods, which lm-polygraph needs; draw them again"
        )
    wholes = [[t.whole for t in one.texts if t.whole is not None] for one in seen]
    stats: dict[str, Any] = {
        "input_texts": [o["item"] for o in told],
        "target_texts": [o.get("gold", "") for o in told],
        "greedy_texts": [o["answer"] or "" for o in told],
        "greedy_log_likelihoods": [[line[0].mean] * line[0].tokens for line in wholes],
    }
    if all(one.text.entropy is not None for one in seen):
        stats["entropy"] = [[one.text.entropy] for one in seen]
    stats |= stats_of_answers(
        [[t.answer for t in one.texts] for one in seen], [[w.sum for w in line] for line in wholes]
    )
    values = [peers(one) for one in seen]
    known = [name for name in values[0] if all(name in v for v in values)] if values else []
    return {
        "model": model,
        "judged": first or base,
        "stats": stats,
        "quality": [float(o["right"]) for o in told],
        "uncertainties": {name: [_of(v, name) for v in values] for name in known},
    }


def _of(values: Mapping[str, float], name: str) -> float:
    return round(values[name], 9)
