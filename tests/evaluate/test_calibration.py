"""Confidences fitted to labelled answers: what a fit recovers, what a threshold keeps, what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scipy")
from entropix.errors import TaskError
from entropix.evaluate import statistics
from entropix.evaluate.calibration import DEFAULT, EVENTS, RISKS, bound, fit, held_out
from entropix.profiles.confidence import Evidence, Setting

SETTING = Setting("f00", "model.gguf", "t00", "sample", "lead:3")


def votes(n: int, seed: int = 0, ballots: int = 8) -> tuple[list[Evidence], list[bool]]:
    """Answers that are right less often than their ballots agree."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1.2, 0.8, n)
    first = np.maximum(rng.binomial(ballots, chance), 1)
    right = rng.random(n) < chance**2
    evidence = [
        Evidence(float(a), float(min(a, ballots - a)), float(ballots), float(s), float(t))
        for a, s, t in zip(first, -rng.random(n), rng.integers(20, 200, n), strict=True)
    ]
    return evidence, [bool(r) for r in right]


def fitted(n: int, seed: int = 0, **options: Any) -> Any:
    evidence, right = votes(n, seed)
    return fit(evidence, right, [str(k) for k in range(n)], setting=SETTING, task="t", **options)


@pytest.mark.parametrize("n", [200, 600])
def test_a_fit_makes_the_confidence_of_new_answers_a_probability(n: int) -> None:
    made = fitted(n)
    assert bool(made.steps) == (n >= 300)
    evidence, right = votes(4000, seed=1)
    confidence = [made.confidence(e) for e in evidence]
    assert statistics.mass_ece(confidence, right) < 0.06
    assert 0 < min(confidence) < max(confidence) < 1
    assert statistics.auroc(confidence, right) > 0.7
    share = [e.first / e.cast for e in evidence]
    assert statistics.brier(confidence, right) < statistics.brier(share, right)


def test_the_fit_is_the_minimum_of_the_penalised_likelihood() -> None:
    from entropix.evaluate.calibration import PENALTY

    made, (evidence, right) = fitted(80, features=("agreement",)), votes(80)
    x = np.array([(e.value("agreement") - made.centre[0]) / made.scale[0] for e in evidence])
    y = np.array(right)
    target = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
    slack = 1 / (1 + np.exp(-(made.intercept + made.slope[0] * x))) - target
    assert slack.sum() == pytest.approx(0, abs=1e-3)
    assert slack @ x + PENALTY * made.slope[0] == pytest.approx(0, abs=1e-3)


def test_answers_that_are_told_apart_perfectly_do_not_get_a_confidence_of_one() -> None:
    evidence = [Evidence(8.0 if n % 2 else 2.0, 0.0, 8.0) for n in range(40)]
    made = fit(evidence, [bool(n % 2) for n in range(40)], [str(n) for n in range(40)], setting=SETTING, task="t",
               features=("agreement",))  # fmt: skip
    assert 0.8 < made.confidence(evidence[1]) < 0.99
    assert 0.01 < made.confidence(evidence[0]) < 0.2


@pytest.mark.parametrize(
    ("evidence", "right", "items", "said"),
    [
        (29, None, None, "29 labelled items; give at least 30"),
        (40, True, None, "all 40 answers are right"),
        (40, False, None, "all 40 answers are wrong"),
        (40, None, ["1"] * 40, "given twice"),
    ],
)
def test_what_cannot_be_fitted_is_refused(evidence: int, right: bool | None, items: Any, said: str) -> None:
    found, labels = votes(evidence)
    labels = labels if right is None else [right] * evidence
    with pytest.raises(TaskError, match=said):
        fit(found, labels, items or [str(n) for n in range(evidence)], setting=SETTING, task="t")


@pytest.mark.parametrize(("n", "features"), [(60, 1), (130, 2), (400, 3)])
def test_few_answers_bear_few_features(n: int, features: int) -> None:
    evidence, right = votes(n)
    assert features == min(min(sum(right), n - sum(right)) // EVENTS, len(DEFAULT))
    assert fitted(n).features == DEFAULT[:features]
    unspanned = [dataclasses.replace(e, span=None) for e in evidence]
    made = fit(unspanned, right, [str(k) for k in range(n)], setting=SETTING, task="t")
    assert made.features == ("agreement", "length")[:features]


@pytest.mark.parametrize(("risk", "needed"), [(0.2, 14), (0.1, 29), (0.05, 59)])
def test_a_risk_takes_so_many_answers_without_a_mistake(risk: float, needed: int) -> None:
    assert statistics.upper_bound(0, needed) <= risk < statistics.upper_bound(0, needed - 1)
    sure = list(np.linspace(1, 0.5, needed))
    assert bound(sure, [True] * needed, risk).accepted == needed
    assert bound(sure[1:], [True] * (needed - 1), risk).threshold is None


@given(
    answers=st.lists(st.tuples(st.integers(0, 10), st.booleans()), max_size=80),
    risk=st.sampled_from([0.05, 0.1, 0.3, 0.5]),
)
def test_what_a_threshold_accepts_keeps_the_bound(answers: list[tuple[int, bool]], risk: float) -> None:
    score, right = [s / 10 for s, _ in answers], [r for _, r in answers]
    found = bound(score, right, risk)
    if found.threshold is None:
        assert found.accepted == 0
        return
    accepted = [r for s, r in zip(score, right, strict=True) if s >= found.threshold]
    assert (found.accepted, found.wrong) == (len(accepted), accepted.count(False))
    assert statistics.upper_bound(found.wrong, found.accepted) <= risk


@pytest.mark.parametrize("informed", [True, False])
def test_the_true_risk_is_above_the_wished_one_at_most_as_often_as_delta(informed: bool) -> None:
    """Also for a confidence that knows nothing, on which many thresholds are tried to no avail."""
    rng = np.random.default_rng(1)
    broken, worse = 0, 0.7 if informed else 0.8  # of all answers 15 or 17 % are wrong
    for _ in range(400):
        chance = rng.beta(4, worse, 100)
        right = rng.random(100) < chance
        score = chance if informed else rng.random(100)
        threshold = bound(list(score), list(right), 0.15).threshold
        if threshold is not None:
            new = rng.beta(4, worse, 4000)
            accepted = (new if informed else rng.random(4000)) >= threshold
            broken += (1 - new[accepted]).mean() > 0.15
    assert broken / 400 <= 0.07  # 0.05, and two standard deviations of 400 trials


def test_every_stored_risk_has_its_bound() -> None:
    made = fitted(120)
    assert [b.risk for b in made.bounds] == list(RISKS)
    accepted = [b.accepted for b in made.bounds if b.threshold is not None]
    assert accepted == sorted(accepted)
    assert made.bounds[0].threshold is None


def test_items_left_out_are_seen_by_a_fit_that_has_not_seen_them() -> None:
    evidence, right = votes(200)
    found = held_out(evidence, right, splits=20, risk=0.2)
    assert repr(found) == repr(held_out(evidence, right, splits=20, risk=0.2))  # NaN is NaN
    assert found.share[0] == pytest.approx(found.fit[0], abs=0.05)
    assert found.fit[2] < found.share[2]
    assert 0.08 < found.chance < found.fit[1] < found.chance + 0.04 < found.share[1]  # most of it is 100 items' scatter
    assert found.kept >= 0.8
    assert 0 < held_out(evidence, right, splits=20, risk=0.4).answering <= 1
    # of labels that have nothing to do with the evidence nothing is learned
    noise = [bool(b) for b in np.random.default_rng(3).random(200) < 0.5]
    blind = held_out(evidence, noise, splits=20, risk=0.2)
    assert blind.fit[0] == pytest.approx(0.5, abs=0.1)
    assert blind.answering < 0.2


def test_too_few_items_for_halves_are_refused() -> None:
    evidence, right = votes(59)
    with pytest.raises(TaskError, match="59 items are too few"):
        held_out(evidence, right)
    evidence, _ = votes(80)
    with pytest.raises(TaskError, match="right and wrong"):
        held_out(evidence, [True] * 79 + [False])


@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40),
    rejected=st.sampled_from([0.5, 1]),
)
def test_prr_is_that_of_lm_polygraph(pairs: list[tuple[int, bool]], rejected: float) -> None:
    """Its definition, written down from the paper: areas under mean quality over rejections, between chance and
    oracle."""
    score, right = np.array([s for s, _ in pairs], float), np.array([r for _, r in pairs], float)
    n, found = len(right), statistics.prr(score, right, rejected)
    steps = int(rejected * n)

    def area(order: np.ndarray) -> float:
        means = np.cumsum(right[order]) / np.arange(1, n + 1)
        return float(means[n - steps :].mean())

    chance, oracle = right.mean(), area(np.argsort(-right, kind="stable")) if steps else math.nan
    if not oracle > chance + 1e-12:  # whatever is rejected, what is left is as good
        assert math.isnan(found)
        return
    rng = np.random.default_rng(0)
    ours = np.mean([area(np.lexsort((rng.random(n), -score))) for _ in range(2000)])  # ties in random order
    assert found == pytest.approx((ours - chance) / (oracle - chance), abs=0.12 if rejected == 1 else 0.3)
    assert statistics.prr(right, right, rejected) == pytest.approx(1)
    assert statistics.prr(np.zeros(n), right, rejected) == pytest.approx(0, abs=1e-9)


def test_brier_and_the_error_of_equal_bins_by_hand() -> None:
    assert statistics.brier([1.0, 0.5, 0.0], [True, True, True]) == pytest.approx((0 + 0.25 + 1) / 3)
    assert statistics.mass_ece([0.1, 0.2, 0.8, 0.9], [False, True, True, True], bins=2) == pytest.approx(
        (2 * abs(0.15 - 0.5) + 2 * abs(0.85 - 1)) / 4
    )
    assert math.isnan(statistics.brier([], []))
    assert math.isnan(statistics.mass_ece([], []))


def test_what_an_exactly_right_confidence_shows_falls_with_the_number_of_items() -> None:
    assert statistics.mass_ece_of_chance([0.0, 1.0, 1.0]) == 0
    assert statistics.mass_ece_of_chance([0.3], draws=4000) == pytest.approx(2 * 0.3 * 0.7, abs=0.02)
    few, many = (statistics.mass_ece_of_chance(np.linspace(0.1, 0.9, n)) for n in (50, 5000))
    assert 0.1 < few < 0.2
    assert many < 0.02
    assert math.isnan(statistics.mass_ece_of_chance([]))


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_the_error_of_equal_bins_does_not_depend_on_the_order(pairs: list[tuple[float, bool]], rng: Any) -> None:
    other = list(pairs)
    rng.shuffle(other)
    one, two = (statistics.mass_ece([c for c, _ in p], [r for _, r in p]) for p in (pairs, other))
    assert one == pytest.approx(two)
