"""Fitting a confidence to labelled answers, thresholds that keep a risk, and how both do on items left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import isotonic_regression, minimize

from entropix.errors import TaskError
from entropix.evaluate import statistics as st
from entropix.profiles.confidence import Bound, Calibration, Evidence, Setting

FEWEST = 30
"""Labelled items below which nothing is fitted."""
ENOUGH_FOR_STEPS = 300
"""Items from which the fit is bent by isotonic regression, which with fewer would follow the noise."""
RISKS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
DELTA = 0.05
PENALTY = 1.0
"""Half the inverse variance of the prior on a standardised slope: a normal one of unit variance."""
DEFAULT = ("agreement", "span", "length")
"""What is fitted where nothing else is asked for, the first alone until there are answers enough for more."""
EVENTS = 20
"""Right or wrong answers, of whichever there are fewer, per feature. Source: 10 to 20 (Peduzzi et al. 1996,
doi:10.1016/S0895-4356(96)00236-3); fitted to 10 and 21 such answers all three did worse on items left out than
agreement alone (docs/effort.md)."""


def fit(
    evidence: Sequence[Evidence],
    right: Sequence[bool],
    items: Sequence[str],
    *,
    setting: Setting,
    task: str,
    features: Sequence[str] | None = None,
    delta: float = DELTA,
) -> Calibration:
    """A calibration from answers of which it is known whether they are right, one per item. features: names of
    `profiles.confidence.FEATURES`; None for those of `DEFAULT` that the evidence has, one per `EVENTS` answers.

    Platt's logistic fit: targets (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2) instead of 1 and 0, and a normal prior on the
    slopes. From `ENOUGH_FOR_STEPS` items on, isotonic regression over it. Raises TaskError for fewer than `FEWEST`
    items, for items given twice, and where all answers are right or all are wrong."""
    y = np.asarray(right, bool)
    if len(set(items)) != len(items):
        raise TaskError("a confidence is calibrated on one answer per item, and some items are given twice")
    if len(y) < FEWEST:
        raise TaskError(
            f"a confidence cannot be calibrated on {len(y)} labelled items; give at least {FEWEST}, better 100"
        )
    if y.all() or not y.any():
        raise TaskError(
            f"a confidence cannot be calibrated where all {len(y)} answers are {'right' if y.all() else 'wrong'}; "
            "give items of which the model gets some right and some wrong"
        )
    features = _supported(evidence, int(min(y.sum(), (~y).sum()))) if features is None else features
    x = np.array([[e.value(name) for name in features] for e in evidence])
    centre, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (x - centre) / scale
    target = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = w[0] + z @ w[1:]
        slack = 1 / (1 + np.exp(-np.clip(score, -500, 500))) - target
        value = np.logaddexp(0, score).sum() - target @ score + PENALTY / 2 * (w[1:] @ w[1:])
        return value, np.concatenate([[slack.sum()], z.T @ slack + PENALTY * w[1:]])

    found = minimize(loss, np.zeros(len(features) + 1), jac=True, method="BFGS").x
    made = Calibration(
        setting,
        task,
        tuple(items),
        tuple(features),
        tuple(map(float, centre)),
        tuple(map(float, scale)),
        tuple(map(float, found[1:])),
        float(found[0]),
    )
    if len(y) >= ENOUGH_FOR_STEPS:
        made = replace(made, steps=_steps(np.array([made.confidence(e) for e in evidence]), y))
    confidence = [made.confidence(e) for e in evidence]
    bounds: list[Bound] = []
    for risk in RISKS:
        found = bound(confidence, right, risk, delta)
        if bounds and bounds[-1].accepted > found.accepted:  # what keeps a smaller risk keeps this one
            found = replace(bounds[-1], risk=risk)
        bounds.append(found)
    return replace(made, bounds=tuple(bounds))


def _supported(evidence: Sequence[Evidence], events: int) -> Sequence[str]:
    """The features of `DEFAULT` that all the evidence has, as many as so many answers of the rarer kind can bear."""
    known = [name for name in DEFAULT if all(e.knows(name) for e in evidence)]
    return known[: max(1, events // EVENTS)]


def _steps(fitted: np.ndarray, right: np.ndarray) -> tuple[tuple[float, float], ...]:
    """The isotonic fit as the mean point of each of its levels, the levels half an item nearer to the mean of all, so
    that none says 0 or 1."""
    order = np.argsort(fitted, kind="stable")
    x, levels = fitted[order], isotonic_regression(right[order].astype(float)).x
    points = []
    for level in np.unique(levels):
        of = levels == level
        n = int(of.sum())
        points.append((float(x[of].mean()), float((level * n + right.mean()) / (n + 1))))
    y = np.maximum.accumulate([p[1] for p in points])
    return tuple((p[0], float(v)) for p, v in zip(points, y, strict=True))


def bound(confidence: Sequence[float], right: Sequence[bool], risk: float, delta: float = DELTA) -> Bound:
    """The threshold that keeps a risk: from strict to lax, through all that accept other items, as long as Clopper and
    Pearson's upper bound of the risk is at most `risk`; the first ones, which accept too few items to pass, are
    passed over. A threshold that fails after one that has passed ends the walk.

    Source: fixed-sequence testing (arXiv 2110.01052) but for the beginning, which simulations allow
    (docs/effort.md)."""
    score, wrong = np.asarray(confidence, float), ~np.asarray(right, bool)
    kept = Bound(risk, delta, None, 0, 0)
    for threshold in np.unique(score)[::-1]:
        accepted = score >= threshold
        m, e = int(accepted.sum()), int(wrong[accepted].sum())
        if st.upper_bound(e, m, delta) <= risk:
            kept = Bound(risk, delta, float(threshold), m, e)
        elif kept.threshold is not None:
            break
    return kept


@dataclass(frozen=True)
class Held:
    """How a calibration did on items left out, means over splits. wished: the risk asked for. share and fit: (AUROC,
    equal-mass ECE, Brier score, PRR) of the share of the ballots and of the fitted confidence. chance: the equal-mass
    ECE that so few items would show if the fitted confidence were exactly right. coverage and risk: of the threshold
    for the wished risk, over the splits that have one; answering: the share of splits that do; kept: the share of
    splits in which at most the wished share of the items left out that were accepted is wrong, abstaining always
    included."""

    splits: int
    wished: float
    share: tuple[float, ...]
    fit: tuple[float, ...]
    chance: float
    answering: float
    coverage: float
    risk: float
    kept: float


def held_out(
    evidence: Sequence[Evidence],
    right: Sequence[bool],
    *,
    splits: int = 200,
    risk: float = 0.1,
    features: Sequence[str] | None = None,
    delta: float = DELTA,
) -> Held:
    """Fit on a random half of the items, look at the other half, so many times. One answer per item. Splits in which
    one half has only right or only wrong answers are drawn again. features: as of
    `fit`, whose TaskErrors it raises."""
    y = np.asarray(right, bool)
    if len(y) < 2 * FEWEST:
        raise TaskError(
            f"{len(y)} items are too few to calibrate on one half and look at the other; give at least {2 * FEWEST}"
        )
    if min(y.sum(), (~y).sum()) < 2:
        raise TaskError("halves of these items cannot both have right and wrong answers; give more items")
    setting = Setting("", "", "", "", "")
    share = np.array([e.first / e.cast if e.cast else 0.0 for e in evidence])
    rng = np.random.default_rng(20_241_004)
    rows: list[list[float]] = []
    while len(rows) < splits:
        order = rng.permutation(len(y))
        ours, left = order[: len(y) // 2], order[len(y) // 2 :]
        if any(y[half].all() or not y[half].any() for half in (ours, left)):
            continue
        items = [str(n) for n in ours]
        made = fit(
            [evidence[n] for n in ours], list(y[ours]), items, setting=setting, task="", features=features, delta=delta
        )
        confidence = np.array([made.confidence(evidence[n]) for n in left])
        found = bound([made.confidence(evidence[n]) for n in ours], list(y[ours]), risk, delta).threshold
        accepted = confidence >= found if found is not None else np.zeros(len(left), bool)
        wrong = float((~y[left][accepted]).mean()) if accepted.any() else 0.0
        rows.append(
            [
                *_quality(share[left], y[left]),
                *_quality(confidence, y[left]),
                st.mass_ece_of_chance(confidence),
                found is not None,
                accepted.mean() if found is not None else np.nan,
                wrong if accepted.any() else np.nan,
                wrong <= risk,
            ]
        )
    means = _means(np.array(rows, float))
    return Held(splits, risk, tuple(means[:4]), tuple(means[4:8]), *means[8:])


def _quality(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float, float, float]:
    return (
        st.auroc(confidence, right),
        st.mass_ece(confidence, right),
        st.brier(confidence, right),
        st.prr(confidence, right),
    )


def _means(rows: np.ndarray) -> list[float]:
    """Of each column, over the rows in which it is defined; NaN for none."""
    return [float(c[np.isfinite(c)].mean()) if np.isfinite(c).any() else float("nan") for c in rows.T]
