"""Keyed noise: randomness as a stateless function of (seed, position, token id).

The same seed gives the same text whatever else is in the batch, before and after a rewind, and on every array
library, because no generator has a state that could be advanced.
"""

from __future__ import annotations

from typing import Any

from entropix.arrays import namespace, real_dtype
from entropix.types import Array


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x


# SplitMix64 (Steele, Lea, Flood 2014). torch has no uint64 arithmetic, so everything is int64 that wraps.
_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(xp: Any, x: Array, bits: int) -> Array:
    """Logical right shift of int64: the sign bit is not dragged along."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(xp: Any, x: Array) -> Array:
    x = (x ^ _shift(xp, x, 30)) * _MIX_1
    x = (x ^ _shift(xp, x, 27)) * _MIX_2
    return x ^ _shift(xp, x, 31)


def keyed_uniform(seeds: Array, positions: Array, ids: Array) -> Array:
    """Uniform numbers strictly between 0 and 1.

    seeds, positions: `(rows,)` int64; ids: `(rows, K)` int64 token ids. Returns float `(rows, K)`."""
    xp = namespace(ids)
    key = _mix(xp, _mix(xp, seeds + _GOLDEN) + positions * _GOLDEN)
    bits = _mix(xp, key[:, None] + (ids + 1) * _GOLDEN)
    dtype = real_dtype(xp, ids)
    if dtype == xp.float64:
        return (xp.astype(_shift(xp, bits, 12), dtype) + 0.5) * 2.0**-52
    return (xp.astype(_shift(xp, bits, 41), dtype) + 0.5) * 2.0**-23


def keyed_gumbel(seeds: Array, positions: Array, ids: Array) -> Array:
    """Standard Gumbel noise: the argmax of log p + noise is a draw from p. Shapes as in `keyed_uniform`."""
    u = keyed_uniform(seeds, positions, ids)
    xp = namespace(u)
    return -xp.log(-xp.log(u))
