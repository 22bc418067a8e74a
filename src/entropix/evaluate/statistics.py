"""The statistics of the protocol, from SciPy and statsmodels. Arrays have one entry an item unless said otherwise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 10_000


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN where there are too few data for one."""

    value: float
    low: float
    high: float


def share(right: int, n: int) -> Interval:
    """A share of independent trials with Wilson's interval; (NaN, 0, 1) for no trials."""
    if n <= 0:
        return Interval(float("nan"), 0.0, 1.0)
    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    return Interval(right / n, float(low), float(high))


def cluster_mean(sums: ArrayLike, counts: ArrayLike) -> Interval:
    """Σ sums / Σ counts, items being the clusters: a bootstrap over items with bias-corrected accelerated limits."""
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    value = float(sums.sum() / counts.sum()) if counts.sum() else float("nan")
    if len(sums) < 2:
        return Interval(value, float("nan"), float("nan"))
    if np.ptp(sums / counts) == 0:  # every item says the same: the bootstrap has no spread to show
        return Interval(value, value, value)

    def ratio(s: Any, c: Any, axis: int = -1) -> Any:
        return s.sum(axis) / c.sum(axis)

    found = stats.bootstrap(
        (sums, counts), ratio, paired=True, vectorized=True, n_resamples=RESAMPLES, batch=500, rng=_generator()
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Exact two-sided p that two ways to decode are right equally often, from one right/wrong pair an item."""
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return float(exact_mcnemar(table, exact=True).pvalue) if table[0][1] + table[1][0] else 1.0


def sign_flips(differences: ArrayLike) -> float:
    """Two-sided p that the mean difference of paired items is 0, by permutation of signs. For several seeds an
    item, whose answers are not independent, McNemar's test does not apply; give the differences of item means."""
    d = np.asarray(differences, float)
    if not len(d) or not d.any():
        return 1.0
    result = stats.permutation_test(
        (d,),
        lambda x, axis=-1: x.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=_generator(),
    )
    return float(result.pvalue)


def holm(p: ArrayLike) -> list[float]:
    """p-values adjusted for their number, Holm's step-down."""
    p = np.asarray(p, float)
    return [float(x) for x in multipletests(p, method="holm")[1]] if len(p) else []


def auroc(score: ArrayLike, right: ArrayLike) -> float:
    """The probability that a right answer has the higher score than a wrong one, ties counting half; NaN when all
    answers are right or all are wrong. From Mann–Whitney's U."""
    score, right = np.asarray(score, float), np.asarray(right, bool)
    n, m = int(right.sum()), int((~right).sum())
    if not n or not m:
        return float("nan")
    return float(stats.mannwhitneyu(score[right], score[~right]).statistic / (n * m))


def auroc_interval(score: ArrayLike, right: ArrayLike, cluster: ArrayLike, resamples: int = 2000) -> Interval:
    """AUROC with a percentile interval over resampled clusters (items)."""
    score, right = np.asarray(score, float), np.asarray(right, bool)
    value = auroc(score, right)
    _, index = np.unique(np.asarray(cluster), return_inverse=True)
    members = [np.flatnonzero(index == k) for k in range(index.max() + 1 if len(index) else 0)]
    rng = _generator()
    found = []
    for _ in range(resamples if len(members) > 1 and value == value else 0):
        rows = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        found.append(auroc(score[rows], right[rows]))
    defined = np.array([f for f in found if f == f])
    if not len(defined):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(value, float(low), float(high))


class Bin(NamedTuple):
    """One bar of a reliability diagram."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> list[Bin]:
    """Bins of equal width over 0 … 1 that hold something; confidence and accuracy are their means. Raises
    ValueError for a confidence outside 0 … 1."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1):
        raise ValueError("a confidence is outside 0 … 1")
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(b / bins, (b + 1) / bins, int((place == b).sum()), confidence[place == b].mean(), right[place == b].mean())
        for b in range(bins)
        if (place == b).any()
    ]


def ece(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: the mean |confidence − accuracy| of the bins, by their size; NaN for no data."""
    found = reliability(confidence, right, bins)
    n = sum(b.n for b in found)
    return sum(b.n * abs(b.confidence - b.accuracy) for b in found) / n if n else float("nan")


def risk_coverage(score: ArrayLike, right: ArrayLike) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(coverage, risk): answering only the share `coverage` with the highest score, how many are wrong. Answers with
    equal scores count as in random order, so that the curve does not depend on how the data are sorted."""
    score, wrong = np.asarray(score, float), 1 - np.asarray(right, float)
    _, place = np.unique(-score, return_inverse=True)
    sizes = np.bincount(place, minlength=place.max() + 1 if len(place) else 0)
    expected = (np.bincount(place, weights=wrong, minlength=len(sizes)) / sizes)[np.sort(place)]
    answered = np.arange(1, len(score) + 1)
    return answered / len(score), np.cumsum(expected) / answered


def aurc(score: ArrayLike, right: ArrayLike) -> float:
    """Area under the risk–coverage curve, the mean risk over all coverages; NaN for no data."""
    return float(risk_coverage(score, right)[1].mean()) if len(np.asarray(score)) else float("nan")


def _generator() -> np.random.Generator:
    """The same resamples every time, so that a report can be made again to the digit."""
    return np.random.default_rng(20_241_004)
