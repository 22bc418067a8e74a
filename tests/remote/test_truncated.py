"""What the entropy of the leading tokens says about the entropy of all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix.remote.text import truncated
from entropix.signals import measure

distributions = st.tuples(st.lists(st.floats(-12, 12), min_size=3, max_size=60), st.integers(2, 20), st.floats(0.1, 4))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits.max()
    return np.sort(logits - top - np.log(np.exp(logits - top).sum()))[::-1]


@given(distributions)
def test_the_entropy_of_all_tokens_lies_between_bounds_from_the_leading_ones(drawn: tuple) -> None:
    values, k, sharpness = drawn
    logprobs = log_softmax(np.asarray(values, dtype=np.float64) * sharpness)
    whole = float(measure(logprobs[None]).entropy[0])
    k = min(k, len(values) - 1)
    leading = float(truncated(logprobs[:k].tolist()).entropy[0])
    rest = min(max(float(np.exp(logprobs[k:]).sum()), 1e-300), 1 - 1e-12)
    mixing = -rest * math.log(rest) - (1 - rest) * math.log1p(-rest)
    lower = leading - math.log1p(-rest) + rest * (math.log(k) - leading)
    upper = (1 - rest) * leading + mixing + rest * math.log(len(values) - k)
    assert leading <= whole + 1e-6
    assert lower <= whole + 1e-6
    assert whole <= upper + 1e-6


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=20))
def test_with_every_token_shown_nothing_is_truncated(values: list[float]) -> None:
    logits = np.asarray(values, dtype=np.float64)
    whole = measure(logits[None])
    shown = truncated(log_softmax(logits).tolist())
    assert shown.entropy[0] == pytest.approx(whole.entropy[0], abs=1e-6)
    assert shown.varentropy[0] == pytest.approx(whole.varentropy[0], abs=1e-5)


def test_the_varentropy_may_come_out_too_large_or_too_small() -> None:
    def pair(probabilities: list[float], k: int) -> tuple[float, float]:
        logprobs = np.log(probabilities)
        return float(truncated(logprobs[:k].tolist()).varentropy[0]), float(measure(logprobs[None]).varentropy[0])

    shown, whole = pair([0.4, 0.4, *[0.02] * 10], 2)
    assert shown < whole
    shown, whole = pair([0.1, *[0.05] * 18], 2)
    assert shown > whole
