"""Filters and the draw, on the candidate window."""

from __future__ import annotations

import math
from dataclasses import dataclass

from entropix.arrays import namespace, real_dtype
from entropix.sampling.noise import keyed_gumbel
from entropix.sampling.window import Window
from entropix.types import Array, Decisions


@dataclass(frozen=True, slots=True)
class Choice:
    """The token of each row and where it stood.

    tokens, ranks: `(rows,)`, rank 0 being the likeliest. filtered: `(rows, k)` log-probabilities of the first
    k ≤ K tokens, those behind them being impossible, or None when every row took its likeliest token. drawn:
    `(rows, n)` window ranks of the candidates in the order they were drawn, −1 where a row drew fewer, or None
    when no row drew more than one.
    """

    tokens: Array
    ranks: Array
    filtered: Array | None = None
    drawn: Array | None = None


def apply_filters(logits: Array, temperature: Array, top_k: Array, top_p: Array, min_p: Array) -> Array:
    """Log-probabilities of a window after temperature, top-k, top-p and min-p, in this order.

    logits: `(rows, K)`, descending. Parameters `(rows,)`: temperature 0 keeps only the likeliest token, top_k 0
    keeps the whole window, top_p 1 and min_p 0 switch their filter off. A removed token has −∞; the likeliest
    always survives; each filter works on what the one before it left, renormalised. Returns float `(rows, K)`
    that sum to one a row after exp.
    """
    xp = namespace(logits)
    dtype = real_dtype(xp, logits)
    z = xp.astype(logits, dtype)
    greedy = temperature <= 0
    # colder than this nothing but the likeliest token has a probability that float64 can hold
    warm = xp.where(greedy, 1.0, xp.clip(temperature, 1e-6, None))
    z = (z - z[:, :1]) / warm[:, None]
    rank = xp.arange(z.shape[-1], device=getattr(z, "device", None))[None, :]
    limit = xp.where(greedy, xp.ones_like(top_k), xp.where(top_k <= 0, xp.full_like(top_k, z.shape[-1]), top_k))
    z = xp.where(rank < limit[:, None], z, -math.inf)  # a bare number: an array of one would wait for the device
    p = xp.exp(z)
    total = xp.sum(p, axis=-1, keepdims=True)
    # a token stays while the mass before it is below top_p: the first always stays. min-p compares with the
    # likeliest token, whose weight is exp 0 = 1 here, so it needs no renormalisation.
    before = (xp.cumulative_sum(p, axis=-1) - p) / total
    keep = ((before < top_p[:, None]) & (p >= min_p[:, None]) & (p > 0)) | (rank == 0)
    p = xp.where(keep, p, xp.zeros_like(p))
    z = xp.where(keep, z, -math.inf)
    return z - xp.log(xp.sum(p, axis=-1, keepdims=True))


def reach(decisions: Decisions, window: int) -> int:
    """How many of the likeliest tokens a draw by these decisions can look at, at most `window`."""
    xp = namespace(decisions.temperature)
    greedy = decisions.temperature <= 0
    if bool(xp.all(greedy)):
        return 1
    widths = xp.where((decisions.top_k <= 0) & ~greedy, window, decisions.top_k)
    return min(max(int(xp.max(widths)), 1), window)


def choose(window: Window, decisions: Decisions, keys: Array, *, most: int | None = None) -> Choice:
    """Draw each row's token. keys: `(rows,)` int64, `noise_key(seed, position)` of each row. most: no row has more
    candidates than this; then nothing is read back from the device, and the whole window is looked at.

    With one candidate this is Gumbel-max: a draw from the filtered distribution. With n candidates the n
    largest of log p + noise are n distinct draws without replacement, of which the likeliest is kept: a
    likelihood comparison, which looks at nothing after the token. Source: Gumbel-top-k, arXiv 1903.06059.
    """
    xp = namespace(window.logits)
    greedy = decisions.temperature <= 0
    if most is None and bool(xp.all(greedy)):
        ranks = xp.zeros(window.ids.shape[0], dtype=xp.int64, device=window.ids.device)
        return Choice(window.ids[:, 0], ranks)
    # nothing behind the largest top_k can be drawn, so nothing behind it needs noise, sorting or exp
    size = window.ids.shape[1]
    width = reach(decisions, size) if most is None else size
    ids = window.ids[:, :width]
    logits = window.logits[:, :width]
    filtered = apply_filters(logits, decisions.temperature, decisions.top_k, decisions.top_p, decisions.min_p)
    noisy = filtered + keyed_gumbel(keys, ids)
    n = int(xp.max(xp.where(greedy, 1, decisions.candidates))) if most is None else most
    rows = xp.arange(ids.shape[0], device=ids.device)
    drawn = None
    if n <= 1:
        ranks = xp.argmax(noisy, axis=-1)
    else:
        order = xp.argsort(-noisy, axis=-1, stable=True)[:, :n]
        column = xp.arange(order.shape[1], device=order.device)[None, :]
        possible = xp.isfinite(noisy[rows[:, None], order])
        mine = (column == 0) | ((column < decisions.candidates[:, None]) & possible & ~greedy[:, None])
        # the window is sorted, so the likeliest of the drawn is the one with the smallest rank
        ranks = xp.min(xp.where(mine, order, size), axis=-1)
        drawn = xp.where(mine, order, -1)
    return Choice(ids[rows, ranks], ranks, filtered, drawn)
