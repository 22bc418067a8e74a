"""What a draw finds behind the window, where top-k does not end within it.

A draw by Gumbel-max needs no order: the token with the largest log p + noise among all others is found in one pass.
So the window gets columns for what lies behind it, as many tokens as the row draws candidates, and the masses of the
whole.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from entropix.arrays import namespace, real_dtype
from entropix.native import address, kernel
from entropix.sampling.noise import keyed_gumbel
from entropix.sampling.window import Window
from entropix.types import Array, Decisions

IN_C = 64
"""Most candidates that kernel.c keeps in order."""

CHUNK = 1 << 20
"""Numbers of a vocabulary's size that array operations work on at a time."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What rows found behind their windows. ids and logits: `(rows, n)`, before temperature, likeliest first, −∞ where
    there are fewer; mass `(rows,)`: Σ exp((z − z of the likeliest) / temperature) of all tokens that top-k leaves; kept
    `(rows,)`: of all that every filter leaves, 0 where these lie within the window. Both 0: the window suffices."""

    ids: Array
    logits: Array
    mass: Array
    kept: Array


def widened(logits: Array, window: Window, decisions: Decisions, keys: Array, most: int) -> Window:
    """`window` with what the rows find behind it, if one of them has to look there.

    logits: `(rows, vocabulary)`, of which `window` is the likeliest. A row looks behind it unless it is greedy or its
    top-k ends within it. most: no row draws more candidates than this."""
    size = window.ids.shape[1]
    if size >= logits.shape[1]:
        return window
    temperatures, tops = decisions.temperature.tolist(), decisions.top_k.tolist()
    rows = [r for r, (t, k) in enumerate(zip(temperatures, tops, strict=True)) if t > 0 and (k <= 0 or k > size)]
    if not rows:
        return window
    library = kernel() if type(logits) is np.ndarray else None
    if library is not None and logits.dtype == np.float32 and logits.strides[1] == 4 and most <= IN_C:
        found = _behind_in_c(library, logits, window, decisions, keys, rows, most)
    else:
        found = _behind(logits, window, decisions, keys, rows, most)
    xp = namespace(logits)
    wide = xp.concat([window.ids, found.ids], axis=1), xp.concat([window.logits, found.logits], axis=1)
    return replace(window, ids=wide[0], logits=wide[1], behind=found)


def _behind_in_c(
    library: ctypes.CDLL,
    logits: np.ndarray[Any, Any],
    window: Window,
    decisions: Decisions,
    keys: Array,
    rows: list[int],
    most: int,
) -> Behind:
    count, size = window.ids.shape
    ids, values = np.zeros((count, most), np.int64), np.full((count, most), -np.inf, np.float32)
    masses = np.zeros((count, 2))
    of_window = np.ascontiguousarray(window.ids), np.ascontiguousarray(window.logits)
    source, stride = address(logits), logits.strides[0]
    window_ids, window_values = map(address, of_window)
    to_ids, to_values, to_masses = address(ids), address(values), address(masses)
    for r in rows:
        if library.entropix_behind(
            source + r * stride,
            logits.shape[1],
            size,
            window_ids + r * size * 8,
            window_values + r * size * 4,
            float(decisions.temperature[r]),
            int(decisions.top_k[r]),
            float(decisions.top_p[r]),
            float(decisions.min_p[r]),
            most,
            int(keys[r]),
            to_ids + r * most * 8,
            to_values + r * most * 4,
            to_masses + r * 16,
        ):
            raise MemoryError("no memory to look behind a window")
    return Behind(ids, values, masses[:, 0], masses[:, 1])


def _behind(logits: Array, window: Window, decisions: Decisions, keys: Array, rows: list[int], most: int) -> Behind:
    """The same with array operations, some rows at a time."""
    xp = namespace(logits)
    count, device = window.ids.shape[0], getattr(logits, "device", None)
    dtype = real_dtype(xp, logits)
    ids = xp.zeros((count, most), dtype=xp.int64, device=device)
    values = xp.full((count, most), -math.inf, dtype=logits.dtype, device=device)
    mass, kept = xp.zeros(count, dtype=dtype, device=device), xp.zeros(count, dtype=dtype, device=device)
    at_once = max(1, CHUNK // logits.shape[1])
    for start in range(0, len(rows), at_once):
        some = xp.asarray(np.array(rows[start : start + at_once]), device=device)
        columns = (decisions.temperature, decisions.top_k, decisions.top_p, decisions.min_p)
        temperature, top_k, top_p, min_p = (column[some][:, None] for column in columns)
        likeliest = Window(window.ids[some], window.logits[some])
        found = _of_rows(logits[some], likeliest, temperature, top_k, top_p, min_p, keys[some], most)
        ids[some], values[some], mass[some], kept[some] = found
    return Behind(ids, values, mass, kept)


def _of_rows(
    logits: Array,
    window: Window,
    temperature: Array,
    top_k: Array,
    top_p: Array,
    min_p: Array,
    keys: Array,
    most: int,
) -> tuple[Array, Array, Array, Array]:
    """ids, logits, mass and kept of rows that all look behind the window. The parameters are columns, `(rows, 1)`."""
    xp = namespace(logits)
    dtype = real_dtype(xp, logits)
    size = window.ids.shape[1]
    names = xp.broadcast_to(xp.arange(logits.shape[1], device=getattr(logits, "device", None))[None, :], logits.shape)
    warm = xp.clip(xp.astype(temperature, dtype), 1e-6, None)
    top, last = window.logits[:, :1], window.logits[:, -1:]
    heights = (xp.astype(logits, dtype) - top) / warm
    weights = xp.exp(heights)
    inside = xp.sum(xp.exp((xp.astype(window.logits, dtype) - top) / warm), axis=-1, keepdims=True)
    ends = (xp.astype(last, dtype) - top) / warm
    behind = ~_members(logits, window.ids) & (logits > -math.inf)  # of ties at the border a top-k takes any
    limited = top_k > size
    first = _heaviest(logits, behind, xp.astype(behind, dtype), xp.astype(top_k - size, dtype))
    behind = behind & (first | ~limited)
    mass = inside + xp.sum(xp.where(behind, weights, 0.0), axis=-1, keepdims=True)
    suffices = (top_p >= 1) & (xp.exp(ends) < min_p)
    within = (xp.exp(ends) < min_p) | (inside / mass >= top_p) | ~(last > -math.inf)
    nucleus = _heaviest(logits, behind, weights, top_p * mass - inside)
    behind = behind & (nucleus | (top_p >= 1)) & (weights >= min_p) & ~within
    kept = xp.where(within, 0.0, inside + xp.sum(xp.where(behind, weights, 0.0), axis=-1, keepdims=True))
    noisy = xp.where(behind, heights + keyed_gumbel(keys, names), -math.inf)
    found = []
    for _ in range(most):
        best = xp.argmax(noisy, axis=-1)
        found.append(best)
        noisy = xp.where(names == best[:, None], -math.inf, noisy)
    ids = xp.stack(found, axis=1)
    possible = _taken(behind, ids)
    values = xp.where(possible, _taken(logits, ids), -math.inf)
    # likeliest first, ties by id
    order = xp.argsort(ids, axis=-1, stable=True)
    ids, values = _taken(ids, order), _taken(values, order)
    order = xp.argsort(-values, axis=-1, stable=True)
    ids, values = _taken(ids, order), xp.astype(_taken(values, order), logits.dtype)
    return ids, values, xp.where(suffices, 0.0, mass)[:, 0], kept[:, 0]


def _members(logits: Array, ids: Array) -> Array:
    """Which tokens of the vocabulary are among each row's `ids`, `(rows, vocabulary)`."""
    xp = namespace(logits)
    rows, vocabulary = logits.shape
    found = xp.zeros(rows * vocabulary, dtype=xp.bool, device=getattr(logits, "device", None))
    starts = xp.arange(rows, device=getattr(logits, "device", None))[:, None] * vocabulary
    found[(starts + ids).reshape(-1)] = True
    return found.reshape(rows, vocabulary)


def _taken(array: Array, index: Array) -> Array:
    return namespace(array).take_along_axis(array, index, axis=-1)


def _heaviest(logits: Array, among: Array, weights: Array, room: Array) -> Array:
    """Which of the tokens `among` a row, `(rows, vocabulary)`, come first by logit and id until they weigh `room`
    together, the last one at least in part. Found by halving the range of logits, without an order."""
    xp = namespace(logits)
    weights = xp.where(among, weights, 0.0)
    finite = among & (logits > -math.inf)
    high = xp.max(xp.where(finite, logits, -math.inf), axis=-1, keepdims=True)
    low = xp.min(xp.where(finite, logits, math.inf), axis=-1, keepdims=True)
    low, high = xp.where(low < math.inf, low, 0.0), xp.where(high > -math.inf, high, 0.0)  # none: nothing to find
    for _ in range(64):  # the border's logit is in [low, high]
        middle = xp.where(low < high, low + (high - low) / 2, low)
        middle = xp.where(middle >= high, low, middle)
        above = finite & (logits > middle)
        enough = xp.sum(xp.where(above, weights, 0.0), axis=-1, keepdims=True) >= room
        next_above = xp.min(xp.where(above, logits, math.inf), axis=-1, keepdims=True)
        next_below = xp.max(xp.where(finite & ~above, logits, -math.inf), axis=-1, keepdims=True)
        low = xp.where(enough & (next_above < math.inf), next_above, low)
        high = xp.where(enough | (next_below == -math.inf), high, next_below)
        if not bool(xp.any(low < high)):
            break
    above = logits > high
    room = room - xp.sum(xp.where(above, weights, 0.0), axis=-1, keepdims=True)
    ties = among & (logits == high)
    before = (xp.cumulative_sum(xp.astype(ties, weights.dtype), axis=-1) - 1) * xp.max(
        xp.where(ties, weights, 0.0), axis=-1, keepdims=True
    )
    return (among & above) | (ties & (before < room))
