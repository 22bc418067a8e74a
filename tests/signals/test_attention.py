"""Attention signals: definitions, bounds, and independence of padding and of length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.arrays import to_numpy
from entropix.signals import attention_signals
from entropix.types import AttentionSignals

NAMES = ("entropy", "varentropy", "agreement", "interaction")


def exact(scores: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """The definitions of docs/method.md for one row `(heads, T)`, in float64."""
    s = scores.astype(np.float64)
    a = np.exp(s - s.max(axis=-1, keepdims=True))
    a /= a.sum(axis=-1, keepdims=True)
    t = s.shape[-1]
    h = -(a * np.log(np.where(a > 0, a, 1))).sum(axis=-1) / (math.log(t) if t > 1 else 1)
    agreement = 1 - 0.5 * np.abs(a - a.mean(axis=0)).sum(axis=-1).mean()
    return float(h.mean()), float(h.var()), float(agreement), float(np.abs(s).mean())


def row(signals: AttentionSignals, r: int) -> list[float]:
    return [float(to_numpy(getattr(signals, name))[r]) for name in NAMES]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_equals_the_definition_whatever_the_padding(
    library: str, heads: int, keys: int, padding: int, seed: int
) -> None:
    g = np.random.default_rng(seed)
    scores = g.normal(size=(2, heads, keys + padding)).astype(np.float32) * 4
    valid = np.zeros((2, keys + padding), bool)
    valid[0, :keys] = True
    valid[1, g.permutation(keys + padding)[: max(1, keys // 2)]] = True  # anywhere, as in a shared cache
    arguments: tuple[Any, Any] = (scores, valid)
    if library == "torch":
        torch = pytest.importorskip("torch")
        arguments = torch.from_numpy(scores), torch.from_numpy(valid)
    got = attention_signals(*arguments)
    for r in range(2):
        assert row(got, r) == pytest.approx(exact(scores[r][:, valid[r]]), rel=1e-3, abs=2e-6)
    entropy, varentropy, agreement, _ = row(got, 0)
    assert 0 <= entropy <= 1
    assert 0 <= varentropy <= 0.25 + 1e-6
    assert -1e-6 <= agreement <= 1 + 1e-6


def test_without_a_mask_every_key_counts() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 4, 17))
    a, b = attention_signals(scores), attention_signals(scores, np.ones((3, 17), bool))
    for name in NAMES:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name))


def test_one_key_is_no_uncertainty() -> None:
    got = attention_signals(np.full((1, 3, 1), 2.5))
    assert row(got, 0) == pytest.approx([0.0, 0.0, 1.0, 2.5])


def test_uniform_attention_is_one_at_every_length() -> None:
    for keys in (2, 10, 500):
        entropy, varentropy, agreement, _ = row(attention_signals(np.zeros((1, 4, keys))), 0)
        assert (entropy, varentropy, agreement) == pytest.approx((1.0, 0.0, 1.0))


def test_heads_that_look_at_different_places_disagree() -> None:
    far = np.full((1, 4, 8), -50.0)
    far[0, range(4), range(4)] = 50.0
    together = np.full((1, 4, 8), -50.0)
    together[0, :, 3] = 50.0
    assert row(attention_signals(far), 0)[2] == pytest.approx(0.25)
    assert row(attention_signals(together), 0)[2] == pytest.approx(1.0)
