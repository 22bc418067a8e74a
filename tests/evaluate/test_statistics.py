"""The statistics on constructed data equal published or independently computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

statistics = pytest.importorskip("entropix.evaluate.statistics")

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40)


def test_wilson_interval_is_the_published_one() -> None:
    """Newcombe (1998), table I: 81 of 263."""
    found = statistics.share(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_wilson_interval_of_nothing_is_everything() -> None:
    assert statistics.share(0, 0)[1:] == (0.0, 1.0)


def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_pairs() -> None:
    first = [True] * 8 + [False] * 2 + [True] * 30
    second = [False] * 8 + [True] * 2 + [True] * 30
    expected = 2 * sum(math.comb(10, k) for k in range(3)) / 2**10
    assert statistics.mcnemar(first, second) == pytest.approx(expected)
    assert statistics.mcnemar(first, first) == 1.0


def test_sign_flips_of_few_items_are_enumerated() -> None:
    """Five items that all gained: only all + and all − are as extreme, 2 of 32."""
    assert statistics.sign_flips([0.5, 1, 1, 0.25, 1]) == pytest.approx(2 / 32)
    assert statistics.sign_flips([0, 0]) == 1.0


def test_holm_steps_down() -> None:
    """Holm (1979): 0.01·3, 0.02·2, 0.04·1, never falling."""
    assert statistics.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([]) == []


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


@given(SCORED, st.randoms())
def test_risk_coverage_does_not_depend_on_the_order_of_the_data(data: list[tuple[int, bool]], rng: object) -> None:
    mixed = list(data)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    one, two = (statistics.risk_coverage(*zip(*d, strict=True))[1] for d in (data, mixed))
    assert one == pytest.approx(two)
    assert one[-1] == pytest.approx(np.mean([not r for _, r in data]))
