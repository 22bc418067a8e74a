"""Filters and the draw, on the candidate window."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, replace

import numpy as np

from entropix.arrays import namespace, real_dtype, take_along
from entropix.native import address, kernel
from entropix.sampling.adaptive import Aim, aimed
from entropix.sampling.behind import IN_C, Behind
from entropix.sampling.noise import keyed_gumbel
from entropix.sampling.window import Window
from entropix.types import Array, Decisions


@dataclass(frozen=True, slots=True)
class Choice:
    """The token of each row and where it stood.

    tokens, ranks: `(rows,)`, rank 0 being the likeliest. filtered: `(rows, k)` log-probabilities of the first
    k ≤ K tokens, those behind them being impossible, or None when every row took its likeliest token. drawn:
    `(rows, n)` window ranks of the candidates in the order they were drawn, −1 where a row drew fewer, or None
    when no row drew more than one. probabilities: `(rows,)`, what each row's token had before adaptive-p; None where no
    row has that.
    """

    tokens: Array
    ranks: Array
    filtered: Array | None = None
    drawn: Array | None = None
    probabilities: Array | None = None


def apply_filters(
    logits: Array, temperature: Array, top_k: Array, top_p: Array, min_p: Array, behind: Behind | None = None
) -> Array:
    """Log-probabilities of a window after temperature, top-k, top-p and min-p, in this order.

    logits: `(rows, K)`, descending. Parameters `(rows,)`: temperature 0 keeps only the likeliest token, top_k 0
    keeps the whole window, top_p 1 and min_p 0 switch their filter off. A removed token has −∞; the likeliest
    always survives; each filter works on what the one before it left, renormalised. Returns float `(rows, K)`
    that sum to one per row after exp. behind: what was found behind the window, whose tokens are the last columns;
    then what sums to one has tokens that are not shown.
    """
    xp = namespace(logits)
    dtype = real_dtype(xp, logits)
    z = xp.astype(logits, dtype)
    greedy = temperature <= 0
    # colder than this nothing but the likeliest token has a probability that float64 can hold
    warm = xp.where(greedy, 1.0, xp.clip(temperature, 1e-6, None))
    z = (z - z[:, :1]) / warm[:, None]
    size = z.shape[-1] if behind is None else z.shape[-1] - behind.ids.shape[1]
    rank = xp.arange(z.shape[-1], device=getattr(z, "device", None))[None, :]
    limit = xp.where(greedy, xp.ones_like(top_k), xp.where(top_k <= 0, xp.full_like(top_k, size), top_k))
    if behind is not None:
        limit = xp.where(limit > size, xp.full_like(limit, size), limit)
        all_of_it = z
    z = xp.where(rank < limit[:, None], z, -math.inf)  # a bare number: an array of one would wait for the device
    p = xp.exp(z)
    total = xp.sum(p, axis=-1, keepdims=True)
    if behind is not None:
        total = xp.where(behind.mass[:, None] > 0, behind.mass[:, None], total)
    # a token stays while the mass before it is below top_p: the first always stays. min-p compares with the
    # likeliest token, whose weight is exp 0 = 1 here, so it needs no renormalisation.
    before = (xp.cumulative_sum(p, axis=-1) - p) / total
    keep = ((before < top_p[:, None]) & (p >= min_p[:, None]) & (p > 0)) | (rank == 0)
    p = xp.where(keep, p, xp.zeros_like(p))
    left = xp.sum(p, axis=-1, keepdims=True)
    if behind is not None:
        whole = xp.all(keep[:, :size], axis=-1, keepdims=True) & (behind.kept[:, None] > 0)
        keep = keep | (whole & (rank >= size))
        left = xp.where(whole, behind.kept[:, None], left)
        z = all_of_it
    z = xp.where(keep, z, -math.inf)
    return z - xp.log(left)


def distribution(logits: Array, decisions: Decisions) -> Array:
    """Log-probabilities `(rows, vocabulary)` of the token that these decisions draw, −∞ where none can be drawn: for
    hosts that draw themselves. logits: `(rows, vocabulary)`, all of which are put in order. Of several candidates it
    is the first draw."""
    xp = namespace(logits)
    order = xp.argsort(-logits, axis=-1, stable=True)  # ties by token id, as in a window
    filters = decisions.temperature, decisions.top_k, decisions.top_p, decisions.min_p
    return take_along(apply_filters(take_along(logits, order), *filters), xp.argsort(order, axis=-1))


def reach(decisions: Decisions, window: int) -> int:
    """How many of the likeliest tokens a draw by these decisions can look at, at most `window`."""
    xp = namespace(decisions.temperature)
    if xp is np:  # plain numbers: for so few of them an array operation costs more than it does
        pairs = zip(decisions.temperature.tolist(), decisions.top_k.tolist(), strict=True)
        return min(max(1 if t <= 0 else k if k > 0 else window for t, k in pairs), window)
    greedy = decisions.temperature <= 0
    if bool(xp.all(greedy)):
        return 1
    widths = xp.where((decisions.top_k <= 0) & ~greedy, window, decisions.top_k)
    return min(max(int(xp.max(widths)), 1), window)


def choose(
    window: Window, decisions: Decisions, keys: Array, aim: Aim | None = None, *, most: int | None = None
) -> Choice:
    """Draw each row's token. keys: `(rows,)` int64, `noise_key(seed, position)` of each row. aim: what adaptive-p aims
    at, None where no row has it. most: no row has more candidates than this; then nothing is read back from the device,
    and the whole window is looked at.

    With one candidate this is Gumbel-max: a draw from the filtered distribution. With n candidates the n
    largest of log p + noise are n distinct draws without replacement, of which the likeliest is kept: a
    likelihood comparison, which looks at nothing after the token. Source: Gumbel-top-k, arXiv 1903.06059.
    """
    found = _choose(window, decisions, keys, most)
    return found if aim is None else _aim(found, window, decisions, keys, aim)


def _choose(window: Window, decisions: Decisions, keys: Array, most: int | None) -> Choice:
    """`choose` without adaptive-p."""
    xp = namespace(window.logits)
    if xp is np:
        library = kernel()
        candidates = int(decisions.candidates.max()) if most is None else most
        if library is not None and window.logits.dtype == np.float32 and candidates <= IN_C:
            return _choose_in_c(library, window, decisions, keys, max(candidates, 1))
    greedy = decisions.temperature <= 0
    if most is None and bool(xp.all(greedy)):
        ranks = xp.zeros(window.ids.shape[0], dtype=xp.int64, device=window.ids.device)
        return Choice(window.ids[:, 0], ranks)
    # nothing behind the largest top_k can be drawn, so nothing behind it needs noise, sorting or exp
    size = window.ids.shape[1]
    width = reach(decisions, size) if most is None and window.behind is None else size
    ids = window.ids[:, :width]
    logits = window.logits[:, :width]
    filters = decisions.temperature, decisions.top_k, decisions.top_p, decisions.min_p
    filtered = apply_filters(logits, *filters, behind=window.behind)
    noisy = filtered + keyed_gumbel(keys, ids)
    n = int(xp.max(xp.where(greedy, 1, decisions.candidates))) if most is None else most
    ranks, drawn = _largest(noisy, decisions, n)
    return Choice(take_along(ids, ranks[:, None])[:, 0], ranks, filtered, drawn)


def _largest(noisy: Array, decisions: Decisions, n: int) -> tuple[Array, Array | None]:
    """Ranks and drawn of a Choice, from log p + noise `(rows, k)`; no row has more than n candidates."""
    xp = namespace(noisy)
    if n <= 1:
        return xp.argmax(noisy, axis=-1), None
    order = xp.argsort(-noisy, axis=-1, stable=True)[:, :n]
    column = xp.arange(order.shape[1], device=order.device)[None, :]
    possible = xp.isfinite(take_along(noisy, order))
    several = (column < decisions.candidates[:, None]) & (decisions.temperature > 0)[:, None]
    mine = (column == 0) | (several & possible)
    # the window is sorted, so the likeliest of the drawn is the one with the smallest rank
    return xp.min(xp.where(mine, order, noisy.shape[-1]), axis=-1), xp.where(mine, order, -1)


def _aim(found: Choice, window: Window, decisions: Decisions, keys: Array, aim: Aim) -> Choice:
    """The choice of a step of which some rows have adaptive-p: those draw again from what it makes of their
    probabilities, with the same noise."""
    xp = namespace(aim.mean)
    if found.filtered is None:  # nothing to draw: every row has one token left
        return replace(found, probabilities=xp.ones_like(aim.mean))
    mine, width = aim.rows, found.filtered.shape[-1]
    ids, filtered = window.ids[:, :width], aimed(found.filtered, aim)
    n = 1 if found.drawn is None else found.drawn.shape[-1]
    ranks, drawn = _largest(filtered + keyed_gumbel(keys, ids), decisions, n)
    ranks = xp.where(mine, ranks, found.ranks)
    tokens = xp.where(mine, take_along(ids, ranks[:, None])[:, 0], found.tokens)
    if drawn is not None:
        drawn = xp.where(mine[:, None], drawn, found.drawn)
    return Choice(tokens, ranks, filtered, drawn, xp.exp(take_along(found.filtered, ranks[:, None])[:, 0]))


def _choose_in_c(library: ctypes.CDLL, window: Window, decisions: Decisions, keys: Array, most: int) -> Choice:
    """`choose` for float32 logits in host memory, a row at a time."""
    rows, size = window.ids.shape
    tail, masses = size - window.size, [(0.0, 0.0)] * rows
    if window.behind is not None:
        masses = list(zip(window.behind.mass.tolist(), window.behind.kept.tolist(), strict=True))
    temperatures = decisions.temperature.tolist()
    if max(temperatures) <= 0:
        return Choice(window.ids[:, 0], np.zeros(rows, np.int64))
    width = size if tail else reach(decisions, size)
    ids, logits = np.ascontiguousarray(window.ids), np.ascontiguousarray(window.logits)
    filtered = np.empty((rows, width))
    wanted = [1 if t <= 0 else n for t, n in zip(temperatures, decisions.candidates.tolist(), strict=True)]
    most = max(1, min(most, max(wanted), width))
    drawn = np.empty((rows, most), np.int64) if most > 1 else None
    to_drawn = None if drawn is None else address(drawn)
    source, names, target = address(logits), address(ids), address(filtered)
    columns = (decisions.top_k, decisions.top_p, decisions.min_p)
    numbers = zip(temperatures, *(column.tolist() for column in columns), wanted, keys.tolist(), strict=True)
    ranks = []
    for r, (temperature, top_k, top_p, min_p, candidates, key) in enumerate(numbers):
        ranks.append(
            library.entropix_draw(
                source + r * size * 4,
                names + r * size * 8,
                width,
                temperature,
                top_k,
                top_p,
                min_p,
                candidates,
                most,
                key,
                tail,
                *masses[r],
                target + r * width * 8,
                None if to_drawn is None else to_drawn + r * most * 8,
            )
        )
    if rows == 1:
        return Choice(ids[0, ranks], np.array(ranks), filtered, drawn)
    return Choice(ids[range(rows), ranks], np.array(ranks), filtered, drawn)
