"""The statistics of the protocol, from SciPy and statsmodels. Arrays have one entry per item unless said otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 10_000
BATCH = 500
INSIDE = 0.95
"""Least share of resamples on a curve for an interval: with fewer the interval would be of those that happen to be."""


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN where there are too few data for one."""

    value: float
    low: float
    high: float


def by_item(items: Sequence[str], values: Sequence[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Each item's sum of values and how many they are, in the order of the items' first values."""
    place = {item: n for n, item in enumerate(dict.fromkeys(items))}
    index = [place[item] for item in items]
    return np.bincount(index, weights=np.asarray(values, float)), np.bincount(index)


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
        (sums, counts), ratio, paired=True, vectorized=True, n_resamples=RESAMPLES, batch=BATCH, rng=_generator()
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))


def accuracy(right: ArrayLike, counts: ArrayLike) -> Interval:
    """Right answers over answers, both summed by item: Wilson's interval for one answer an item, else a bootstrap's."""
    right, counts = np.asarray(right, float), np.asarray(counts, float)
    return share(round(right.sum()), len(right)) if (counts == 1).all() else cluster_mean(right, counts)


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Exact two-sided p that two ways to decode are right equally often, from one right/wrong pair an item."""
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return float(exact_mcnemar(table, exact=True).pvalue) if table[0][1] + table[1][0] else 1.0


def sign_flips(differences: ArrayLike) -> float:
    """Two-sided p that the mean difference of paired items is 0, by permutation of signs. For several seeds an
    item, whose answers are not independent, McNemar's test does not apply; give the differences of item means."""
    d = np.asarray(differences, float)
    if len(d) < 2 or not d.any():  # of one item, both signs are as far from 0
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
    clusters, index = np.unique(np.asarray(cluster), return_inverse=True)
    if len(clusters) < 2 or value != value:
        return Interval(value, float("nan"), float("nan"))
    found = []
    order = np.argsort(score, kind="stable")
    starts = np.unique(score[order], return_index=True)[1]  # of each group of equal scores
    for weights in _resamples(len(clusters), resamples):
        taken = weights[:, index][:, order]  # how often each answer is in the resample, by rising score
        ours = np.add.reduceat(taken * right[order], starts, axis=1)
        theirs = np.add.reduceat(taken * ~right[order], starts, axis=1)
        pairs = ours.sum(1) * theirs.sum(1)
        below = np.cumsum(theirs, axis=1) - theirs / 2  # the wrong ones with a lower score, and half of the equal ones
        found.append((ours * below).sum(1) / np.where(pairs, pairs, np.nan))
    return _percentiles(value, np.concatenate(found))


class AtBudget(NamedTuple):
    """What a curve says at another way's tokens, and how that way's accuracy differs from it. NaN outside the curve;
    where says on which side: "below", "on" or "above" it. inside: the share of resamples in which it lies on the
    curve; where that is below `INSIDE` there is no interval."""

    curve: float
    difference: Interval
    where: str
    inside: float


def curve_at(tokens: ArrayLike, curve_tokens: ArrayLike, curve_accuracy: ArrayLike) -> np.ndarray[Any, Any]:
    """Accuracy of a curve at `tokens` `(n,)`, linear between its points `(n, points)`, which may come in any order; NaN
    outside them: nothing was measured there. Points at equal tokens count as their mean where they are met."""
    x, xs, ys = np.asarray(tokens, float)[:, None], np.asarray(curve_tokens, float), np.asarray(curve_accuracy, float)
    order = np.argsort(xs, axis=1, kind="stable")
    xs, ys = np.take_along_axis(xs, order, 1), np.take_along_axis(ys, order, 1)
    met = xs == x
    after = np.clip((xs <= x).sum(1, keepdims=True), 1, xs.shape[1] - 1)
    x0, x1 = np.take_along_axis(xs, after - 1, 1), np.take_along_axis(xs, after, 1)
    y0, y1 = np.take_along_axis(ys, after - 1, 1), np.take_along_axis(ys, after, 1)
    between = y0 + (y1 - y0) * (x - x0) / np.where(x1 > x0, x1 - x0, 1)
    mean = (ys * met).sum(1) / np.maximum(met.sum(1), 1)
    found = np.where(met.any(1), mean, between[:, 0])
    inside = (xs[:, 0] <= x[:, 0]) & (x[:, 0] <= xs[:, -1])
    return np.where(inside, found, np.nan)


def at_budget(
    right: ArrayLike, tokens: ArrayLike, counts: ArrayLike, curve_right: ArrayLike, curve_tokens: ArrayLike
) -> AtBudget:
    """One way to decode against the curve of another at the same mean tokens.

    right, tokens: sums over each item's answers; counts: how many answers those are. curve_right, curve_tokens
    `(points, items)`: the same of each of the curve's points, on the same items and counts. The interval is a
    percentile bootstrap over items, in which both accuracies, the tokens and the interpolation are made again. Source:
    this project."""
    right, tokens, counts = (np.asarray(a, float) for a in (right, tokens, counts))
    curve_right, curve_tokens = np.asarray(curve_right, float), np.asarray(curve_tokens, float)

    def made(weights: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(curve at our tokens, our accuracy less that) of each row of item weights."""
        n = weights @ counts
        curve = curve_at(
            weights @ tokens / n, weights @ curve_tokens.T / n[:, None], weights @ curve_right.T / n[:, None]
        )
        return curve, weights @ right / n - curve

    curve, difference = made(np.ones((1, len(counts))))
    ours, ends = tokens.sum(), curve_tokens.sum(1)
    where = "below" if ours < ends.min() else "above" if ours > ends.max() else "on"
    found = np.concatenate([made(w)[1] for w in _resamples(len(counts))])
    inside = float(np.isfinite(found).mean())
    if inside < INSIDE or len(counts) < 2:
        found = found[:0]
    return AtBudget(float(curve[0]), _percentiles(float(difference[0]), found), where, inside)


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
    """Area under the risk–coverage curve, the mean risk over all coverages; NaN for no data or a score that is none."""
    score = np.asarray(score, float)
    return float(risk_coverage(score, right)[1].mean()) if len(score) and not np.isnan(score).any() else float("nan")


def prr(score: ArrayLike, right: ArrayLike, rejected: float = 1.0) -> float:
    """Prediction–rejection ratio: the area under the share of right answers over the share that is rejected, least sure
    first, between that of a random order (0) and of the best one (1); NaN where all answers are equally good, or a
    score is none.

    score: higher is surer; right: 1 or 0, or any quality; rejected: the largest share that is rejected. As lm-polygraph
    defines it (PredictionRejectionArea, normalised), but for its random order, which it draws, and for equal scores,
    which count as in random order here and as they come there."""
    score, quality = np.asarray(score, float), np.asarray(right, float)
    n = len(quality)
    steps = int(rejected * n)
    if not steps or np.ptp(quality) == 0 or np.isnan(score).any():
        return float("nan")

    def area(by: np.ndarray[Any, Any]) -> float:
        return float((1 - risk_coverage(by, quality)[1][n - steps :]).mean())

    chance, best = float(quality.mean()), area(quality)
    return (area(score) - chance) / (best - chance) if best > chance + 1e-12 else float("nan")


def prr_interval(score: ArrayLike, right: ArrayLike, cluster: ArrayLike, resamples: int = 500) -> Interval:
    """PRR with a percentile interval over resampled clusters (items)."""
    score, right = np.asarray(score, float), np.asarray(right, float)
    value = prr(score, right)
    clusters, index = np.unique(np.asarray(cluster), return_inverse=True)
    if len(clusters) < 2 or value != value:
        return Interval(value, float("nan"), float("nan"))
    found = []
    for weights in _resamples(len(clusters), resamples):
        for drawn in weights:
            taken = np.repeat(np.arange(len(score)), drawn[index])
            found.append(prr(score[taken], right[taken]))
    return _percentiles(value, np.asarray(found))


def brier(confidence: ArrayLike, right: ArrayLike) -> float:
    """Mean squared difference of confidence and correctness; NaN for no data."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    return float(((confidence - right) ** 2).mean()) if len(confidence) else float("nan")


def mass_ece(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error over bins of (nearly) equal size, by rising confidence; NaN for no data. Answers with
    equal confidences are shared among bins in proportion, so that the order of the data does not matter."""
    return float(_mass_errors(np.asarray(confidence, float), np.asarray(right, float), bins))


def mass_ece_of_chance(confidence: ArrayLike, bins: int = 10, draws: int = 20) -> float:
    """What `mass_ece` is on average where every confidence is exactly the probability of being right, so that only the
    few items keep it from 0: labels are drawn from the confidences. NaN for no data.

    Source: consistency resampling, Bröcker and Smith 2007, doi:10.1175/WAF993.1."""
    confidence = np.asarray(confidence, float)
    drawn = _generator().random((draws, len(confidence))) < confidence
    return float(_mass_errors(confidence, drawn.astype(float), bins).mean())


def _mass_errors(confidence: np.ndarray[Any, Any], right: np.ndarray[Any, Any], bins: int) -> np.ndarray[Any, Any]:
    """`mass_ece` of every row of labels `(…, items)`."""
    n = confidence.shape[0]
    if not n:
        return np.full(right.shape[:-1], np.nan)
    order = np.argsort(confidence, kind="stable")
    _, first, sizes = np.unique(confidence[order], return_index=True, return_counts=True)
    shared = np.repeat(np.add.reduceat(right[..., order], first, axis=-1) / sizes, sizes, axis=-1)
    begins = [part[0] for part in np.array_split(np.arange(n), min(bins, n))]
    gaps = np.add.reduceat(confidence[order] - shared, begins, axis=-1)
    return np.asarray(np.abs(gaps).sum(-1) / n)


def upper_bound(wrong: int, n: int, delta: float = 0.05) -> float:
    """Clopper and Pearson's one-sided upper bound, at confidence 1 − delta, of a share of which `wrong` of n were seen;
    1 for no trials. A bound of 20, 10 or 5 % takes 14, 29 or 59 trials without one, at delta 0.05."""
    return float(stats.beta.ppf(1 - delta, wrong + 1, n - wrong)) if wrong < n else 1.0


def _resamples(items: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray[Any, Any]]:
    """How often each item is drawn in each of so many resamples, `(at most BATCH, items)` at a time."""
    rng = _generator()
    for start in range(0, resamples, BATCH):
        yield rng.multinomial(items, np.full(items, 1 / items), size=min(BATCH, resamples - start))


def _percentiles(value: float, found: np.ndarray[Any, Any]) -> Interval:
    """The middle 95 % of the estimates that are defined; NaN ends for none."""
    defined = found[np.isfinite(found)]
    if not len(defined):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _generator() -> np.random.Generator:
    """The same resamples every time, so that a report can be made again to the digit."""
    return np.random.default_rng(20_241_004)
