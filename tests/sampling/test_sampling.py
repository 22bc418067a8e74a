"""The window, the filters, the noise and the draw."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.arrays import to_numpy
from entropix.native import kernel
from entropix.sampling import (
    Window,
    apply_filters,
    choose,
    keyed_gumbel,
    noise_key,
    position_keys,
    seed_key,
    top_window,
)
from entropix.sampling import window as window_module
from entropix.sampling.noise import keyed_uniform
from entropix.types import Decisions

Matrix = np.ndarray[Any, Any]
choose_module = sys.modules["entropix.sampling.choose"]  # its name in the package is the function's


def decisions(rows: int = 1, **values: Any) -> Decisions:
    defaults = {"action": 0, "regime": 4, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "candidates": 1}
    kinds = {"temperature": float, "top_p": float, "min_p": float}
    return Decisions(
        **{
            k: np.broadcast_to(np.asarray(values.get(k, v), kinds.get(k, np.int64)), (rows,)).copy()
            for k, v in defaults.items()
        }
    )


def filtered(row: Matrix, **values: Any) -> Matrix:
    d = decisions(**values)
    return np.exp(apply_filters(row[None], d.temperature, d.top_k, d.top_p, d.min_p))[0]


def by_hand(row: Matrix, temperature: float, top_k: int, top_p: float, min_p: float) -> Matrix:
    """The filters one after another on a descending row, each renormalising, in plain loops."""
    p = np.exp((row - row[0]) / temperature)
    if top_k:
        p[top_k:] = 0
    p /= p.sum()
    total = 0.0
    for i in range(len(p)):
        if total >= top_p and i > 0:
            p[i] = 0
        total += p[i]
    p /= p.sum()
    p[p < min_p * p[0]] = 0
    return p / p.sum()


descending = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=30).map(
    lambda xs: np.array(sorted(xs, reverse=True), dtype=np.float64)
)


@settings(max_examples=150, deadline=None)
@given(descending, st.floats(0.1, 3), st.integers(0, 40), st.floats(0, 1), st.floats(0, 1))
def test_filters_equal_a_plain_loop(row: Matrix, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
    got = filtered(row, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    wanted = by_hand(row, temperature, top_k, top_p, min_p)
    # the border of top-p may fall on either side of a rounding error: accept a draw within one token
    if (got > 0).sum() == (wanted > 0).sum():
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-12)
    else:
        mass = np.cumsum(by_hand(row, temperature, top_k, 1.0, 0.0))
        assert np.abs(mass - top_p).min() < 1e-9 or np.abs(np.exp((row - row[0]) / temperature) - min_p).min() < 1e-9


@settings(max_examples=100, deadline=None)
@given(descending, st.floats(0, 3), st.integers(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_the_likeliest_token_always_survives(row: Matrix, t: float, k: int, top_p: float, min_p: float) -> None:
    got = filtered(row, temperature=t, top_k=k, top_p=top_p, min_p=min_p)
    assert got[0] > 0
    assert got.sum() == pytest.approx(1)


@pytest.mark.parametrize("library", ["c", "numpy", "torch"])
@pytest.mark.parametrize("vocabulary", [3, 300, 5_000, 49_152])
@pytest.mark.parametrize("ties", [False, True])
def test_the_window_holds_the_likeliest_in_order(
    vocabulary: int, ties: bool, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "c" and kernel() is None:
        pytest.skip("there is no C compiler here")
    if library == "numpy":
        monkeypatch.setattr(window_module, "kernel", lambda: None)
    g = np.random.default_rng(vocabulary)
    logits = g.normal(size=(3, vocabulary)).astype(np.float32)
    if ties:
        logits = np.round(logits, 1)
    logits[1, : vocabulary // 2] = -np.inf
    values = pytest.importorskip("torch").from_numpy(logits) if library == "torch" else logits
    window = top_window(values, 256)
    k = min(256, vocabulary)
    ids, top = to_numpy(window.ids), to_numpy(window.logits)
    assert ids.shape == top.shape == (3, k)
    np.testing.assert_array_equal(top, np.sort(logits, axis=-1)[:, ::-1][:, :k])
    np.testing.assert_array_equal(np.take_along_axis(logits, ids, axis=-1), top)
    for r in range(3):
        assert len(set(ids[r].tolist())) == k
        same = np.flatnonzero(top[r][:-1] == top[r][1:])
        assert (ids[r][same] < ids[r][same + 1]).all(), "ties are in the order of token ids"


def test_a_window_in_which_every_block_maximum_ties() -> None:
    logits = np.zeros((1, 49_152), np.float32)
    window = top_window(logits, 256)
    np.testing.assert_array_equal(window.ids[0], np.arange(256))


def keys(seeds: Any, positions: Any) -> Matrix:
    return np.array([noise_key(int(s), int(p)) for s, p in np.broadcast(seeds, positions)], np.int64)


def test_noise_is_the_same_on_both_libraries_and_depends_on_every_key() -> None:
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(1)
    seeds, positions = g.integers(0, 2**62, 50), g.integers(0, 10_000, 50)
    ids = g.integers(0, 262_144, (50, 40))
    a = keyed_uniform(keys(seeds, positions), ids)
    b = keyed_uniform(torch.from_numpy(keys(seeds, positions)), torch.from_numpy(ids)).numpy()
    np.testing.assert_array_equal(a, b)
    assert ((a > 0) & (a < 1)).all()
    for changed in (
        keyed_uniform(keys(seeds + 1, positions), ids),
        keyed_uniform(keys(seeds, positions + 1), ids),
        keyed_uniform(keys(seeds, positions), ids + 1),
    ):
        assert (changed != a).all()
    np.testing.assert_allclose(keyed_gumbel(keys(seeds, positions), ids), -np.log(-np.log(a)), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**70), 2**70), st.integers(0, 2**31)), min_size=1, max_size=5))
def test_keys_of_whole_arrays_are_those_of_single_places(places: list[tuple[int, int]]) -> None:
    torch = pytest.importorskip("torch")
    seeds = np.array([seed_key(seed) for seed, _ in places], np.int64)
    positions = np.array([position for _, position in places], np.int64)
    wanted = [noise_key(seed, position) for seed, position in places]
    assert position_keys(seeds, positions).tolist() == wanted
    assert position_keys(torch.from_numpy(seeds), torch.from_numpy(positions)).tolist() == wanted


def test_noise_is_uniform_and_uncorrelated_along_each_key() -> None:
    n = 20_000
    along = {
        "ids": keyed_uniform(keys([5], [9]), np.arange(n)[None])[0],
        "positions": keyed_uniform(keys(5, np.arange(n)), np.full((n, 1), 7))[:, 0],
        "seeds": keyed_uniform(keys(np.arange(n), 5), np.full((n, 1), 7))[:, 0],
    }
    for name, u in along.items():
        counts = np.histogram(u, bins=20, range=(0, 1))[0]
        chi2 = ((counts - n / 20) ** 2 / (n / 20)).sum()
        assert chi2 < 50, f"{name}: chi² {chi2:.1f} with 19 degrees of freedom"
        assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.03, name


def draws(row: Matrix, n: int, **values: Any) -> Counter[int]:
    window = Window(np.tile(np.arange(len(row)), (n, 1)), np.tile(row, (n, 1)))
    return Counter(choose(window, decisions(n, **values), keys(3, np.arange(n))).tokens.tolist())


def test_the_draw_follows_the_filtered_distribution() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    n = 20_000
    counts = draws(row, n)
    for token, p in enumerate([0.5, 0.3, 0.15, 0.05]):
        assert counts[token] / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)
    counts = draws(row, n, top_k=2)
    assert set(counts) == {0, 1}
    assert counts[0] / n == pytest.approx(0.625, abs=0.015)


def test_temperature_zero_takes_the_likeliest_and_leaves_other_rows_alone() -> None:
    row = np.log(np.array([[0.4, 0.35, 0.25]] * 400))
    window = Window(np.tile(np.arange(3), (400, 1)), row)
    d = decisions(400, candidates=3)
    d.temperature[::2] = 0.0
    choice = choose(window, d, keys(1, np.arange(400)))
    assert (choice.tokens[::2] == 0).all()
    d.candidates[:] = 1
    assert set(choose(window, d, keys(1, np.arange(400))).tokens[1::2].tolist()) == {0, 1, 2}


def test_candidates_are_distinct_possible_and_the_likeliest_is_kept() -> None:
    row = np.sort(np.random.default_rng(0).normal(size=(200, 20)))[:, ::-1]
    window = Window(np.tile(np.arange(100, 120), (200, 1)), row)
    choice = choose(window, decisions(200, candidates=4, top_k=6), keys(np.arange(200), np.arange(200)))
    assert choice.drawn is not None
    for drawn, rank in zip(choice.drawn, choice.ranks, strict=True):
        kept = drawn[drawn >= 0]
        assert len(kept) == 4 == len(set(kept.tolist()))
        assert kept.max() < 6
        assert rank == kept.min()


def test_more_candidates_than_possible_tokens() -> None:
    window = Window(np.arange(4)[None], np.array([[1.0, 0.5, -np.inf, -np.inf]]))
    choice = choose(window, decisions(candidates=4), keys([0], [0]))
    assert choice.tokens.tolist() == [0]
    assert sorted(choice.drawn[0].tolist()) == [-1, -1, 0, 1]  # type: ignore[index]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 5))
def test_a_draw_that_reads_nothing_back_draws_the_same(seed: int, rows: int, more: int) -> None:
    g = np.random.default_rng(seed)
    window = top_window(g.normal(0, 3, (rows, 300)).astype(np.float32))
    d = decisions(rows)
    for column, values in (
        (d.temperature, [0.0, 0.7, 1.5]),
        (d.top_k, [0, 1, 7]),
        (d.top_p, [0.3, 1.0]),
        (d.min_p, [0.0, 0.1]),
        (d.candidates, [1, 2, 4]),
    ):
        column[:] = g.choice(values, rows)
    places = keys(g.integers(0, 99, rows), g.integers(0, 99, rows))
    blind = choose(window, d, places, most=int(d.candidates.max()) + more)
    assert blind.tokens.tolist() == choose(window, d, places).tokens.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_both_libraries_draw_the_same_tokens(seed: int, rows: int) -> None:
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(seed)
    logits = g.normal(size=(rows, 600)).astype(np.float32) * 3
    d = decisions(
        rows,
        temperature=g.choice([0.0, 0.5, 1.3], rows),
        top_k=g.choice([0, 1, 30], rows),
        top_p=g.choice([0.5, 0.9, 1.0], rows),
        min_p=g.choice([0.0, 0.1], rows),
        candidates=g.choice([1, 3], rows),
    )
    e = Decisions(**{k: torch.from_numpy(getattr(d, k)) for k in Decisions.__dataclass_fields__})
    row_keys = keys(g.integers(0, 2**60, rows), g.integers(0, 4000, rows))
    a = choose(top_window(logits), d, row_keys)
    b = choose(top_window(torch.from_numpy(logits)), e, torch.from_numpy(row_keys))
    np.testing.assert_array_equal(a.tokens, b.tokens.numpy())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_the_draw_in_c_is_the_draw_of_arrays(seed: int, rows: int) -> None:
    if kernel() is None:
        pytest.skip("no compiler")
    g = np.random.default_rng(seed)
    logits = (g.normal(size=(rows, 400)) * g.choice([0.01, 1.0, 5.0])).astype(np.float32)
    logits[g.random(logits.shape) < g.choice([0.0, 0.5, 0.995])] = -np.inf
    logits[:, 0] = 0.0  # masks leave something
    window = top_window(logits, int(g.choice([1, 20, 256])))
    d = decisions(
        rows,
        temperature=g.choice([0.0, 1e-9, 0.5, 1.3], rows),
        top_k=g.choice([0, 1, 30, 1000], rows),
        top_p=g.choice([0.0, 0.5, 0.9, 1.0], rows),
        min_p=g.choice([0.0, 0.1, 1.0], rows),
        candidates=g.choice([1, 3, 16], rows),
    )
    places = keys(g.integers(-99, 99, rows), g.integers(0, 9999, rows))
    ours = choose(window, d, places)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose_module, "kernel", lambda: None)
        theirs = choose(window, d, places)
    assert ours.tokens.tolist() == theirs.tokens.tolist()
    assert ours.ranks.tolist() == theirs.ranks.tolist()
    if theirs.filtered is not None:
        # what has less than an ulp of the mass may be kept by one and not by the other
        np.testing.assert_allclose(np.exp(ours.filtered), np.exp(theirs.filtered), rtol=1e-11, atol=1e-14)
    if ours.drawn is not None:
        assert theirs.drawn is not None
        wide = np.full_like(theirs.drawn, -1)
        wide[:, : ours.drawn.shape[1]] = ours.drawn
        assert wide.tolist() == theirs.drawn.tolist()
    else:
        assert theirs.drawn is None or (theirs.drawn[:, 1:] < 0).all()
