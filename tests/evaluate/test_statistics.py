"""The statistics on constructed data equal published or independently computed values."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

scipy_stats = pytest.importorskip("scipy.stats")
statistics = pytest.importorskip("entropix.evaluate.statistics")

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(right: int, n: int, low: float, high: float) -> None:
    """Newcombe (1998), table I, method 3."""
    found = statistics.share(right, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_interval_of_nothing_is_everything() -> None:
    assert statistics.share(0, 0)[1:] == (0.0, 1.0)


def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_pairs() -> None:
    first = [True] * 8 + [False] * 2 + [True] * 30
    second = [False] * 8 + [True] * 2 + [True] * 30
    expected = 2 * sum(math.comb(10, k) for k in range(3)) / 2**10
    assert statistics.mcnemar(first, second) == pytest.approx(expected)
    assert statistics.mcnemar(first, first) == 1.0


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 5))
def test_mcnemar_is_scipys_binomial_test(gained: int, lost: int, same: int) -> None:
    first, second = [True] * gained + [False] * lost, [False] * gained + [True] * lost
    expected = scipy_stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert statistics.mcnemar(first + [True] * same, second + [True] * same) == pytest.approx(expected)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=9))
def test_sign_flips_are_those_of_every_choice_of_signs(differences: list[float]) -> None:
    signs = product((1, -1), repeat=len(differences))
    means = [abs(sum(s * d for s, d in zip(choice, differences, strict=True))) for choice in signs]
    expected = sum(m >= abs(sum(differences)) - 1e-9 for m in means) / len(means)
    assert statistics.sign_flips(differences) == pytest.approx(expected)


def test_sign_flips_of_few_items_are_enumerated() -> None:
    """Five items that all gained: only all + and all − are as extreme, 2 of 32."""
    assert statistics.sign_flips([0.5, 1, 1, 0.25, 1]) == pytest.approx(2 / 32)
    assert statistics.sign_flips([0, 0]) == 1.0


def test_holm_steps_down() -> None:
    """Holm (1979): 0.01·3, 0.02·2, 0.04·1, never falling."""
    assert statistics.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([]) == []


def test_holm_as_r_adjusts() -> None:
    """R 4, p.adjust((1:5)/100, "holm")."""
    assert statistics.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


@given(SCORED)
def test_auroc_counts_pairs(data: list[tuple[int, bool]]) -> None:
    right = [s for s, r in data if r]
    wrong = [s for s, r in data if not r]
    found = statistics.auroc([s for s, _ in data], [r for _, r in data])
    if not right or not wrong:
        assert math.isnan(found)
    else:
        pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
        assert found == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_is_the_published_one() -> None:
    """Hanley and McNeil (1982), table I: 109 images rated 1 … 5, area 0.893 with standard error 0.032."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    score = np.repeat([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], normal + abnormal)
    ill = np.repeat([False, True], [58, 51])
    assert round(statistics.auroc(score, ill), 3) == 0.893
    found = statistics.auroc_interval(score, ill, np.arange(109))
    assert found.value == statistics.auroc(score, ill)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.032, rel=0.1)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 5)), min_size=2, max_size=25))
def test_an_auroc_interval_is_that_of_whole_clusters_drawn_again(data: list[tuple[int, bool, int]]) -> None:
    score, right, cluster = (np.array(column) for column in zip(*data, strict=True))
    names, index = np.unique(cluster, return_inverse=True)
    values = []
    for drawn in next(iter(statistics._resamples(len(names), 30))):
        rows = np.concatenate([np.flatnonzero(index == k) for k in range(len(names)) for _ in range(drawn[k])])
        values.append(statistics.auroc(score[rows], right[rows]))
    found = statistics.auroc_interval(score, right, cluster, 30)
    defined = [v for v in values if v == v]
    if len(names) > 1 and found.value == found.value and defined:
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(defined, [0.025, 0.975])))
    else:
        assert math.isnan(found.low)


def test_auroc_interval_holds_its_value_and_widens_with_clusters() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.5
    score = right + rng.normal(size=200)
    single = statistics.auroc_interval(score, right, np.arange(200), resamples=300)
    clustered = statistics.auroc_interval(
        np.tile(score[:40], 5), np.tile(right[:40], 5), np.tile(np.arange(40), 5), 300
    )
    assert single.low < single.value < single.high
    assert clustered.high - clustered.low > single.high - single.low


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_cluster_interval_covers_what_it_should(scale: float) -> None:
    """Of items with three seeds that agree, only the items are independent: the interval is that of the items."""
    rng = np.random.default_rng(1)
    values = (rng.random(60) < 0.6) * scale
    three = statistics.cluster_mean(3 * values, np.full(60, 3))
    standard_error = values.std(ddof=1) / math.sqrt(60)
    assert three.value == pytest.approx(values.mean())
    assert (three.high - three.low) / 2 == pytest.approx(1.96 * standard_error, rel=0.1)
    assert statistics.cluster_mean([2, 2], [2, 2]) == (1, 1, 1)


def test_a_cluster_interval_of_single_answers_is_scipys() -> None:
    values = np.random.default_rng(2).random(40) < 0.4
    found = statistics.cluster_mean(values, np.ones(40))
    expected = scipy_stats.bootstrap(
        (values.astype(float),), np.mean, n_resamples=statistics.RESAMPLES, batch=500, rng=statistics._generator()
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_cluster_interval_of_unequal_items_is_that_of_a_ratio() -> None:
    """The linearised standard error of a ratio of means, Cochran (1977), 2.11: Σ (s − R c)² / (n (n − 1) c̄²)."""
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 6, 150)
    sums = rng.binomial(counts, rng.beta(2, 2, 150))
    found = statistics.cluster_mean(sums, counts)
    assert found.value == sums.sum() / counts.sum()
    residual = sums - found.value * counts
    error = math.sqrt((residual**2).sum() / (150 * 149)) / counts.mean()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_calibration_error_by_hand() -> None:
    confidence, right = [0.95, 0.95, 0.95, 0.95, 0.55, 0.55], [True, True, True, False, True, False]
    assert statistics.ece(confidence, right) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)
    assert [b.n for b in statistics.reliability(confidence, right)] == [2, 4]
    with pytest.raises(ValueError, match="outside"):
        statistics.ece([1.2], [True])


def test_risk_coverage_by_hand() -> None:
    coverage, risk = statistics.risk_coverage([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert list(coverage) == [0.25, 0.5, 0.75, 1]
    assert list(risk) == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert statistics.aurc([0.9, 0.8, 0.7, 0.6], [True, False, True, False]) == pytest.approx(
        (1 / 2 + 1 / 3 + 1 / 2) / 4
    )


@pytest.mark.parametrize("error", [0.1, 0.3, 0.7])
def test_the_best_area_under_risk_and_coverage_is_the_published_one(error: float) -> None:
    """Geifman, Uziel and El-Yaniv (2019): a perfect ranking has ε + (1 − ε) ln (1 − ε), up to 1/n."""
    n = 20_000
    wrong = round(n * error)
    right = np.arange(n) >= wrong
    assert statistics.aurc(np.arange(n), right) == pytest.approx(error + (1 - error) * math.log(1 - error), abs=1e-4)
    assert statistics.aurc(np.zeros(n), right) == pytest.approx(error)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_is_the_weighted_gap_of_the_bins(data: list[tuple[int, bool]]) -> None:
    """Guo et al. (2017), equation 3, bin by bin."""
    gaps = 0.0
    for low in range(0, 100, 10):
        found = [(c, r) for c, r in data if low <= c < low + 10 or (low == 90 and c == 100)]
        gaps += abs(sum(r - c / 100 for c, r in found))
    confidence, right = [c / 100 for c, _ in data], [r for _, r in data]
    assert statistics.ece(confidence, right) == pytest.approx(gaps / len(data))


@given(SCORED, st.randoms())
def test_risk_coverage_does_not_depend_on_the_order_of_the_data(data: list[tuple[int, bool]], rng: object) -> None:
    mixed = list(data)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    one, two = (statistics.risk_coverage(*zip(*d, strict=True))[1] for d in (data, mixed))
    assert one == pytest.approx(two)
    assert one[-1] == pytest.approx(np.mean([not r for _, r in data]))


@pytest.mark.parametrize(
    ("score", "right", "expected"),
    [
        ([0.9, 0.5, 0.1], [1, 1, 1], {"aurc": 0.0, "brier": 0.356667, "mass_ece": 0.5}),
        ([0.9, 0.5, 0.1], [0, 0, 0], {"aurc": 1.0, "brier": 0.356667, "mass_ece": 0.5}),
        ([0.5] * 4, [1, 0, 1, 0], {"auroc": 0.5, "prr": 0.0, "aurc": 0.5, "brier": 0.25, "mass_ece": 0.0}),
        ([0.5], [1], {"aurc": 0.0, "brier": 0.25, "mass_ece": 0.5}),
        ([0.5], [0], {"aurc": 1.0, "brier": 0.25, "mass_ece": 0.5}),
        ([], [], {}),
        ([math.nan, 0.5, 0.1], [1, 0, 1], {}),
    ],
    ids=["all right", "all wrong", "all equal", "one right", "one wrong", "nothing", "no number"],
)
def test_what_cannot_be_told_apart_is_no_number_and_a_chance_is_one_half(
    score: list[float], right: list[int], expected: dict[str, float]
) -> None:
    for name in ("auroc", "prr", "aurc", "brier", "mass_ece"):
        value = getattr(statistics, name)(score, right)
        assert value == pytest.approx(expected.get(name, math.nan), abs=1e-6, nan_ok=True), name
    for interval in (statistics.auroc_interval, statistics.prr_interval):
        found = interval(score, right, range(len(score)), 20)
        assert math.isnan(found.value) == ("prr" not in expected)
        assert found.low == found.high == 0.5 * (interval is statistics.auroc_interval) or math.isnan(found.low)
