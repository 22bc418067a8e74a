"""The K likeliest tokens of each row. Everything after this is `(rows, K)`, whatever the vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from entropix.arrays import namespace, take_along
from entropix.fused import fused
from entropix.native import address, kernel
from entropix.types import Array

if TYPE_CHECKING:
    from entropix.sampling.behind import Behind

WINDOW = 256
"""How many candidates a row keeps by default. What a draw with a larger top-k finds behind them: sampling/behind.py."""

BLOCK = 64


@dataclass(frozen=True, slots=True)
class Window:
    """The likeliest tokens of each row, likeliest first, ties by token id.

    ids: `(rows, K)` int64; logits: `(rows, K)` before temperature. A masked token has logit −∞. behind: what rows have
    found behind their window, whose tokens are then the last columns of ids and logits.
    """

    ids: Array
    logits: Array
    behind: Behind | None = None

    @property
    def size(self) -> int:
        """How many of the likeliest tokens there are."""
        width: int = self.ids.shape[1]
        return width if self.behind is None else width - self.behind.ids.shape[1]

    def narrow(self) -> Window:
        """The likeliest tokens alone."""
        return self if self.behind is None else Window(self.ids[:, : self.size], self.logits[:, : self.size])


def top_window(logits: Array, k: int = WINDOW) -> Window:
    """The k likeliest tokens of each row of `(rows, vocabulary)` logits; k is cut to the vocabulary."""
    k = min(k, logits.shape[-1])
    if k < 1:
        raise ValueError(f"window of {k} tokens: at least 1 is needed")
    if type(logits) is np.ndarray:
        library = kernel()
        if library is not None and logits.dtype == np.float32 and logits.strides[1] == 4:
            return _top_in_c(library, logits, k)
        rows = [_top_row(row, k) for row in logits]
        if len(rows) == 1:
            ids, values = rows[0]
            return Window(ids[None], values[None])
        return Window(np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows]))
    xp = namespace(logits)
    values, ids = logits.topk(k, dim=-1) if hasattr(logits, "topk") else _top_by_sort(xp, logits, k)
    values, ids = _ordered(values, ids)
    return Window(ids, values)


def _trials(values: Array, ids: Array) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Windows with ties, NaN and nothing."""
    g = np.random.default_rng(0)
    size = ids.shape[-1]
    numbers = g.choice(np.array([-np.inf, -2.5, -0.0, 0.0, 1.0, 3.0, np.nan], np.float32), (6, size))
    numbers[0] = g.standard_normal(size)
    numbers[1] = -np.inf
    yield numbers, g.permuted(np.tile(np.arange(size) * 7, (6, 1)), axis=1)


@fused(_trials, exact=True, most=1024)
def _ordered(values: Array, ids: Array) -> tuple[Array, Array]:
    """Each row likeliest first, ties by token id."""
    xp = namespace(values)
    order = xp.argsort(ids, axis=-1, stable=True)
    ids, values = take_along(ids, order), take_along(values, order)
    order = xp.argsort(values, axis=-1, descending=True, stable=True)
    return take_along(values, order), take_along(ids, order)


def _top_in_c(library: ctypes.CDLL, logits: np.ndarray[Any, Any], k: int) -> Window:
    rows, vocabulary = logits.shape
    ids, values = np.empty((rows, k), np.int64), np.empty((rows, k), np.float32)
    source, stride = address(logits), logits.strides[0]
    to_ids, to_values = address(ids), address(values)
    for r in range(rows):
        if library.entropix_window(source + r * stride, vocabulary, k, to_ids + r * k * 8, to_values + r * k * 4):
            raise MemoryError(f"no memory for a window of {k} tokens")
    return Window(ids, values)


def _top_by_sort(xp: Any, logits: Array, k: int) -> tuple[Array, Array]:
    """For array libraries without a top-k of their own."""
    ids = xp.argsort(logits, axis=-1, descending=True, stable=True)[:, :k]
    return take_along(logits, ids), ids


def _top_row(row: np.ndarray[Any, Any], k: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The k largest of one row without partitioning, let alone sorting, a vocabulary.

    The k-th largest of the blocks' maxima is at most the k-th largest value, so everything that can be among
    the k largest is at or above it: usually a few more than k values."""
    n = row.shape[0]
    blocks = n // BLOCK
    if blocks > k:
        # a block is a column here: element-wise maxima of whole rows vectorise, short inner reductions do not
        maxima = row[: blocks * BLOCK].reshape(BLOCK, blocks).max(axis=0)
        bound = np.partition(maxima, blocks - k)[blocks - k]
        ids = np.flatnonzero(row >= bound)
    else:
        ids = np.arange(n)
    values = row[ids]
    if len(ids) > 4 * k:
        border = np.partition(values, len(values) - k)[len(values) - k]
        above, ties = np.flatnonzero(values > border), np.flatnonzero(values == border)
        keep = np.sort(np.concatenate([above, ties[: k - len(above)]]))  # of ties those with the smallest token ids
        ids, values = ids[keep], values[keep]
    order = np.argsort(-values, kind="stable")[:k]
    return ids[order], values[order]
