"""Draws that top-k does not end within the window: those of the whole vocabulary."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.arrays import to_numpy
from entropix.decoding.step import draw
from entropix.native import kernel
from entropix.sampling import Choice, Window, keyed_gumbel, noise_key, top_window
from entropix.types import Decisions

Matrix = np.ndarray[Any, Any]
LIBRARIES = ["c", "numpy", "torch"]


def without_c(patch: pytest.MonkeyPatch) -> None:
    for module in ("behind", "window", "choose"):
        patch.setattr(sys.modules[f"entropix.sampling.{module}"], "kernel", lambda: None)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "c" and kernel() is None:
        pytest.skip("there is no C compiler here")
    if request.param == "torch":
        pytest.importorskip("torch")
    if request.param == "numpy":
        without_c(monkeypatch)
    return str(request.param)


def settled(rows: int, **values: Any) -> Decisions:
    usual = {"action": 0, "regime": 4, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "candidates": 1}
    kinds = {"temperature": float, "top_p": float, "min_p": float}
    columns = {
        k: np.broadcast_to(np.asarray(values.get(k, v), kinds.get(k, np.int64)), (rows,)) for k, v in usual.items()
    }
    return Decisions(**{name: column.copy() for name, column in columns.items()})


def drawn(library: str, logits: Matrix, decisions: Decisions, keys: Matrix, width: int = 256) -> tuple[Window, Choice]:
    if library == "torch":
        torch = pytest.importorskip("torch")
        moved = Decisions(*(torch.from_numpy(getattr(decisions, n)) for n in decisions.__dataclass_fields__))
        where = torch.from_numpy(logits)
        window, choice = draw(where, top_window(where, width), moved, torch.from_numpy(keys))
        host = Window(to_numpy(window.ids), to_numpy(window.logits))
        filtered = None if choice.filtered is None else to_numpy(choice.filtered)
        return host, Choice(to_numpy(choice.tokens), to_numpy(choice.ranks), filtered)
    return draw(logits, top_window(logits, width), decisions, keys)


class Whole:
    """One row's draw over the whole vocabulary, sorted, in plain steps."""

    def __init__(self, row: Matrix, t: float, top_k: int, top_p: float, min_p: float, n: int, key: int) -> None:
        order = np.lexsort((np.arange(len(row)), -row))
        order = order[row[order] > -np.inf]
        order = order[:top_k] if top_k else order
        z = (row[order].astype(np.float64) - row[order[0]]) / t
        p = np.exp(z)
        share = (np.cumsum(p) - p) / p.sum()
        self.near = min([*np.abs(share - top_p)] if top_p < 1 else [1.0] + ([*np.abs(p / min_p - 1)] if min_p else []))
        if min_p:
            self.near = min(self.near, np.abs(p / min_p - 1).min())
        keep = ((share < top_p) & (p >= min_p)) | (np.arange(len(p)) == 0)
        noisy = np.where(keep, z, -np.inf) + keyed_gumbel(np.array([key]), order[None])[0]
        best = np.argsort(-noisy)[: min(n, keep.sum())]
        self.rank = int(best.min())
        self.token = int(order[self.rank])
        self.logprob = float(z[self.rank] - math.log(p[keep].sum()))
        gaps = np.sort(noisy[noisy > -np.inf])[::-1][: n + 1]
        self.close = float(np.min(np.diff(gaps[::-1]))) if len(gaps) > 1 else 1.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    vocabulary=st.sampled_from([100, 300, 2000]),
    temperature=st.sampled_from([0.3, 1.0, 2.0, 5.0]),
    top_k=st.sampled_from([0, 0, 99, 250, 700, 10**6]),
    top_p=st.sampled_from([1.0, 1.0, 0.99, 0.9, 0.3, 0.0]),
    min_p=st.sampled_from([0.0, 0.0, 1e-4, 0.05]),
    candidates=st.sampled_from([1, 1, 3]),
    kind=st.sampled_from(["plain", "ties", "masked", "flat", "peak"]),
)
def test_a_draw_is_one_of_the_whole_vocabulary(seed: int, kind: str, vocabulary: int, **asked: Any) -> None:
    g = np.random.default_rng(seed)
    row = g.normal(0, 2, vocabulary).astype(np.float32)
    if kind == "ties":
        row = np.round(row)
    if kind == "masked":
        row[g.random(vocabulary) < 0.5] = -np.inf
    if kind == "flat":
        row[:] = 0.0
    if kind == "peak":
        row[int(g.integers(vocabulary))] = 20.0
    if not (row > -np.inf).any():
        return
    n, key = asked.pop("candidates"), noise_key(seed, 3)
    whole = Whole(row, asked["temperature"], asked["top_k"], asked["top_p"], asked["min_p"], n, key)
    if whole.near < 1e-5 or whole.close < 1e-6:  # on either side of a rounding error
        return
    decisions = settled(1, candidates=n, **asked)
    for library in LIBRARIES:
        if library == "torch" and kind in ("ties", "flat") and (asked["top_k"] or asked["top_p"] < 1):
            continue  # of ties at a border its top-k takes any
        if library == "numpy":
            with pytest.MonkeyPatch.context() as patch:
                without_c(patch)
                _, choice = drawn(library, row[None], decisions, np.array([key]), 64)
        else:
            _, choice = drawn(library, row[None], decisions, np.array([key]), 64)
        if library == "torch" and kind in ("ties", "flat") and n > 1:  # and of candidates that tie, any is best
            assert row[int(choice.tokens[0])] == row[whole.token]
        else:
            assert int(choice.tokens[0]) == whole.token, library
        if choice.filtered is not None:
            logprob = float(choice.filtered[0, int(choice.ranks[0])])
            assert logprob == pytest.approx(whole.logprob, rel=1e-5, abs=1e-5), library


def test_rows_that_look_behind_and_rows_that_do_not_share_a_step(library: str) -> None:
    g = np.random.default_rng(5)
    logits = g.normal(0, 2, (6, 2000)).astype(np.float32)
    decisions = settled(6, candidates=2)
    decisions.temperature[:] = [0.0, 1.0, 2.0, 2.0, 2.0, 5.0]
    decisions.top_k[:] = [0, 5, 0, 1500, 0, 0]
    decisions.top_p[:] = [1.0, 0.9, 1.0, 1.0, 0.99, 1.0]
    decisions.min_p[:] = [0.0, 0.0, 0.5, 0.0, 0.0, 1e-3]
    keys = np.array([noise_key(9, n) for n in range(6)], np.int64)
    window, choice = drawn(library, logits, decisions, keys, 64)
    alone = [
        drawn(library, logits[n : n + 1], settled(1, **row), keys[n : n + 1], 64)[1].tokens[0]
        for n, row in enumerate(
            {k: getattr(decisions, k)[n] for k in ("temperature", "top_k", "top_p", "min_p", "candidates")}
            for n in range(6)
        )
    ]
    assert choice.tokens.tolist() == [int(token) for token in alone]
    assert choice.tokens[0] == logits[0].argmax()
    assert window.ids.shape == (6, 66)


def test_draws_at_high_temperature_follow_the_softmax_of_the_whole_vocabulary(library: str) -> None:
    rows = 1000
    row = np.concatenate([np.linspace(3, 0, 64), np.zeros(936)]).astype(np.float32)
    logits = np.tile(row, (rows, 1))
    keys = np.array([noise_key(seed, 0) for seed in range(rows)], np.int64)
    _, choice = drawn(library, logits, settled(rows, temperature=2.0), keys, 64)
    p = np.exp(row / 2)
    outside = float(p[64:].sum() / p.sum())
    share = float(np.mean(choice.tokens >= 64))
    assert share == pytest.approx(outside, abs=4 * (outside * (1 - outside) / rows) ** 0.5)
    assert len(set(choice.tokens[choice.tokens >= 64].tolist())) > 300, "every token behind the window can be drawn"


def test_a_window_of_ties_is_no_order_of_the_vocabulary() -> None:
    """Whatever k: the smallest ids of what ties at the border."""
    for vocabulary in (300, 5000):
        for k in (1, 64, 256, 299):
            row = np.zeros((1, vocabulary), np.float32)
            row[0, vocabulary // 2 :] = 1.0
            wanted = np.lexsort((np.arange(vocabulary), -row[0]))[:k]
            np.testing.assert_array_equal(top_window(row, k).ids[0], wanted)
            with pytest.MonkeyPatch.context() as patch:
                without_c(patch)
                np.testing.assert_array_equal(top_window(row, k).ids[0], wanted)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), vocabulary=st.integers(1, 3000), share=st.floats(0, 1), digits=st.integers(0, 3))
def test_windows_of_any_width_are_the_head_of_the_sorted_vocabulary(
    seed: int, vocabulary: int, share: float, digits: int
) -> None:
    g = np.random.default_rng(seed)
    row = np.round(g.normal(0, 2, (1, vocabulary)), digits).astype(np.float32)
    row[0, g.random(vocabulary) < 0.2] = -np.inf
    k = max(1, round(share * vocabulary))
    wanted = np.lexsort((np.arange(vocabulary), -row[0]))[:k]
    np.testing.assert_array_equal(top_window(row, k).ids[0], wanted)
    with pytest.MonkeyPatch.context() as patch:
        without_c(patch)
        np.testing.assert_array_equal(top_window(row, k).ids[0], wanted)
