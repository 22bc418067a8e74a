"""Keyed noise: randomness as a stateless function of (seed, position, token id).

For the same logits the same seed gives the same text whatever else is in the batch, before and after a rewind, and on
every array library, because no generator has a state that could be advanced.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from entropix.arrays import namespace, real_dtype
from entropix.fused import fused
from entropix.types import Array


def _signed(x: int) -> int:
    x &= _ALL
    return x - (1 << 64) if x >= 1 << 63 else x


# SplitMix64 (Steele, Lea, Flood 2014). torch has no uint64 arithmetic, so arrays are int64 that wraps.
_ALL = (1 << 64) - 1
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_ARRAY_GOLDEN, _ARRAY_1, _ARRAY_2 = _signed(_GOLDEN), _signed(_MIX_1), _signed(_MIX_2)


def noise_key(seed: int, position: int) -> int:
    """What a row's noise depends on beside the token: an int64 from any whole seed and a position."""
    return _signed(_mix_one(seed_key(seed) + int(position) * _GOLDEN))


@lru_cache(maxsize=4096)
def seed_key(seed: int) -> int:
    """The part of `noise_key` that the seed alone decides, an int64; `position_keys` does the rest for whole arrays."""
    return _signed(_mix_one(int(seed) + _GOLDEN))


def _trials(numbers: Array, others: Array) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Any numbers; places and tokens as they occur, and as large as they can be."""
    g = np.random.default_rng(0)
    rows = 130
    whole = np.iinfo(np.int64)
    shape = (rows, *others.shape[1:])
    small = np.where(g.random(shape) < 0.9, g.integers(0, 300_000, shape), g.integers(whole.min, whole.max, shape))
    yield g.integers(whole.min, whole.max, rows), small


@fused(_trials, exact=True)
def position_keys(seeds: Array, positions: Array) -> Array:
    """`noise_key` of arrays, where they lie. seeds: `(rows,)` int64 from `seed_key`; positions: `(rows,)` int64."""
    return _mix(seeds + positions * _ARRAY_GOLDEN)


def _mix_one(x: int) -> int:
    x &= _ALL
    x = ((x ^ (x >> 30)) * _MIX_1) & _ALL
    x = ((x ^ (x >> 27)) * _MIX_2) & _ALL
    return x ^ (x >> 31)


def _mix(x: Array) -> Array:
    """`_mix_one` on int64 arrays. A mask after each shift keeps the sign bit from being dragged along."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _ARRAY_1
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _ARRAY_2
    return x ^ ((x >> 31) & ((1 << 33) - 1))


@fused(_trials, exact=True, most=1024)
def keyed_uniform(keys: Array, ids: Array) -> Array:
    """Uniform numbers strictly between 0 and 1.

    keys: `(rows,)` int64 from `noise_key`; ids: `(rows, K)` int64 token ids. Returns float `(rows, K)`."""
    xp = namespace(ids)
    bits = _mix(keys[:, None] + (ids + 1) * _ARRAY_GOLDEN)
    dtype = real_dtype(xp, ids)
    if dtype == xp.float64:
        return (xp.astype((bits >> 12) & ((1 << 52) - 1), dtype) + 0.5) * 2.0**-52
    return (xp.astype((bits >> 41) & ((1 << 23) - 1), dtype) + 0.5) * 2.0**-23


def keyed_gumbel(keys: Array, ids: Array) -> Array:
    """Standard Gumbel noise: the argmax of log p + noise is a draw from p. Shapes as in `keyed_uniform`."""
    u = keyed_uniform(keys, ids)
    xp = namespace(u)
    return -xp.log(-xp.log(u))
