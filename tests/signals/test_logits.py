"""Entropy and varentropy against float64, on both array libraries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.arrays import to_numpy
from entropix.signals import logit_std, measure

Matrix = np.ndarray[Any, Any]
LIBRARIES = ("numpy", "torch")


def in_library(name: str, logits: Matrix) -> Any:
    if name == "numpy":
        return logits
    return pytest.importorskip("torch").from_numpy(logits)


def exact(logits: Matrix) -> tuple[Matrix, Matrix]:
    """Entropy and varentropy in float64, straight from the definitions."""
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    surprisal = -np.log(np.where(p > 0, p, 1.0))
    entropy = (p * surprisal).sum(axis=-1)
    return entropy, (p * (surprisal - entropy[:, None]) ** 2).sum(axis=-1)


def close(got: Any, wanted: Matrix) -> None:
    got = to_numpy(got).astype(np.float64)
    error = np.abs(got - wanted)
    assert ((error <= 1e-3 * np.abs(wanted)) | (error <= 1e-6)).all(), (got, wanted)


def random_logits(kind: str, vocabulary: int) -> Matrix:
    g = np.random.default_rng(vocabulary)
    z = g.normal(size=(4, vocabulary)) * 3
    if kind == "peaked":
        z[:, 5] += [20, 40, 80, 300]
    elif kind == "flat":
        z[:] = [[0.0], [1e-3], [-50.0], [100.0]]
        z += g.normal(size=z.shape) * np.array([[0.0], [1e-4], [1e-2], [1e-3]])
    elif kind == "masked":
        z[:, max(1, vocabulary // 3) :] = -np.inf
        z[3, 1:] = -np.inf
    elif kind == "peak over a flat tail":
        z = np.zeros((4, vocabulary)) + g.normal(size=(4, vocabulary)) * 1e-2
        z[:, 0] = [5, 9, 11, 14]
    return z.astype(np.float32)


def single_peaks(vocabulary: int) -> Matrix:
    """Rows of zeros with one peak, first, within and last, of every height at which the tail counts."""
    heights = np.arange(0.0, 40.0, 0.37)
    rows = np.zeros((3 * len(heights), vocabulary), np.float32)
    for n, place in enumerate((0, vocabulary // 3, vocabulary - 1)):
        rows[np.arange(len(heights)) * 3 + n, place] = heights
    return rows


@pytest.mark.parametrize("library", [*LIBRARIES, "numpy without a compiler"])
@pytest.mark.parametrize("vocabulary", [1, 2, 37, 1023, 1024, 1025, 4097, 32_000, 49_152])
def test_a_single_peak_has_the_entropy_of_float64(
    library: str, vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library not in LIBRARIES:
        monkeypatch.setattr("entropix.signals.logits.kernel", lambda: None)
    logits = single_peaks(vocabulary)
    for rows in np.array_split(logits, max(logits.size // 2**21, 1)):
        got = measure(in_library(library.split()[0], rows))
        for values, wanted in zip((got.entropy, got.varentropy), exact(rows), strict=True):
            error = np.abs(to_numpy(values).astype(np.float64) - wanted)
            assert ((error <= 1e-4 * wanted) | (error <= 5e-7)).all()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("vocabulary", [2, 37, 49_152, 262_144])
@pytest.mark.parametrize("kind", ["random", "peaked", "flat", "masked", "peak over a flat tail"])
def test_entropies_equal_float64(kind: str, vocabulary: int, library: str) -> None:
    if kind == "peaked" and vocabulary < 6:
        pytest.skip("the peak is token 5")
    logits = random_logits(kind, vocabulary)
    signals = measure(in_library(library, logits))
    entropy, varentropy = exact(logits)
    close(signals.entropy, entropy)
    close(signals.varentropy, varentropy)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.floats(-60, 60, width=32) | st.just(float("-inf")),
        min_size=2,
        max_size=80,
    ).filter(lambda row: max(row) > -math.inf)
)
def test_entropies_equal_float64_on_any_row(library: str, row: list[float]) -> None:
    logits = np.array([row], dtype=np.float32)
    signals = measure(in_library(library, logits))
    entropy, varentropy = exact(logits)
    close(signals.entropy, entropy)
    close(signals.varentropy, varentropy)
    assert -1e-6 <= float(signals.entropy[0]) <= math.log(len(row)) + 1e-5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=20), st.floats(-30, 30, width=32))
def test_adding_a_constant_changes_nothing(row: list[float], constant: float) -> None:
    a = measure(np.array([row], np.float32))
    b = measure(np.array([row], np.float64) + constant)
    np.testing.assert_allclose(a.entropy, b.entropy, atol=1e-5)
    np.testing.assert_allclose(a.varentropy, b.varentropy, atol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_normaliser_makes_log_probabilities(library: str) -> None:
    logits = random_logits("random", 500)
    signals = measure(in_library(library, logits))
    total = np.exp(logits - to_numpy(signals.normaliser)[:, None]).sum(axis=-1)
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


def test_known_values() -> None:
    even = measure(np.zeros((1, 8), np.float32))
    assert float(even.entropy[0]) == pytest.approx(math.log(8))
    assert float(even.varentropy[0]) == pytest.approx(0, abs=1e-9)
    sure = measure(np.array([[0.0, -200.0]], np.float32))
    assert float(sure.entropy[0]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("p", np.linspace(0.001, 0.999, 25))
def test_two_outcomes_never_exceed_the_stated_varentropy(p: float) -> None:
    """docs/method.md: an even fork has V = 0, and no two-outcome distribution has V > 0.439 nats²."""
    v = float(measure(np.log(np.array([[p, 1 - p]]))).varentropy[0])
    assert v == pytest.approx(p * (1 - p) * math.log(p / (1 - p)) ** 2, rel=1e-6, abs=1e-9)
    assert v <= 0.4393


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_impossible_logits_are_refused(library: str, bad: float) -> None:
    logits = np.zeros((2, 5), np.float32)
    logits[1, 2] = bad
    with pytest.raises(ValueError, match="logits"):
        measure(in_library(library, logits))
    logits[1] = -np.inf
    with pytest.raises(ValueError, match="finite"):
        measure(in_library(library, logits))


@pytest.mark.parametrize("library", LIBRARIES)
def test_spread_is_the_standard_deviation_of_the_possible(library: str) -> None:
    logits = random_logits("masked", 300)[:3]
    wanted = [row[np.isfinite(row)].astype(np.float64).std() for row in logits]
    np.testing.assert_allclose(to_numpy(logit_std(in_library(library, logits))), wanted, rtol=1e-5)


def test_without_a_compiler_numpy_measures_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from entropix.signals import logits as module

    for kind in ("random", "peaked", "flat", "masked", "peak over a flat tail"):
        rows = random_logits(kind, 5_000)
        fast = measure(rows)
        with monkeypatch.context() as patch:
            patch.setattr(module, "kernel", lambda: None)
            plain = measure(rows)
        for name in ("entropy", "varentropy", "normaliser"):
            np.testing.assert_allclose(getattr(fast, name), getattr(plain, name), rtol=1e-4, atol=1e-6)


def test_rows_that_are_not_contiguous_are_measured_too() -> None:
    wide = random_logits("random", 600)
    assert measure(wide[:, ::2]).entropy == pytest.approx(measure(np.ascontiguousarray(wide[:, ::2])).entropy, rel=1e-6)
    assert measure(wide[::2]).entropy == pytest.approx(measure(wide).entropy[::2], rel=1e-9)


@pytest.mark.parametrize(("alternatives", "favourite"), [(1, 0.917), (10, 0.780), (1000, 0.634), (50_000, 0.589)])
def test_a_peak_over_a_flat_tail_has_the_largest_varentropy_at_the_favourite_of_the_method(
    alternatives: int, favourite: float
) -> None:
    def varentropy(p: float) -> float:
        row = np.zeros((1, alternatives + 1))
        row[0, 0] = math.log(alternatives * p / (1 - p))
        return float(measure(row).varentropy[0])

    best = varentropy(favourite)
    assert best == pytest.approx(
        favourite * (1 - favourite) * math.log(alternatives * favourite / (1 - favourite)) ** 2
    )
    assert best > max(varentropy(favourite - 0.005), varentropy(favourite + 0.005))
