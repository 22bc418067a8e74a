"""Logits → entropy and varentropy, in one place for every engine and array library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np

from entropix.arrays import namespace
from entropix.fused import fused
from entropix.native import address, kernel
from entropix.types import Array, AttentionSignals, Signals

# Below the likeliest token by this much a token holds e^-80 of its probability: nothing at float32, and far
# enough from the denormal range, where exp is many times slower.
FLOOR = -80.0


def measure(logits: Array, attention: AttentionSignals | None = None, *, asked: Set[str] = frozenset()) -> Signals:
    """The uncertainty that logits (and attention) show.

    logits: `(rows, vocabulary)` before temperature and after masks; −∞ means impossible. asked: names of further
    signals to measure; those that these logits do not show are left out. Returns entropy in nats and varentropy in
    nats², `(rows,)`, within 1e-3 relative or 1e-6 absolute of float64. Raises ValueError for a row of NaN or with no
    finite logit.

    With d = z − max z, e = exp d, Z = Σe and m = Σ e·d / Z:  H = ln Z − m,  V = Σ e·(d − m)² / Z.
    V is centred before it is squared: B/Z − (A/Z)² loses every digit to cancellation where most of the
    probability lies in a flat tail under a likelier token. Source: this project, docs/method.md.
    """
    signals = measure_unchecked(logits, attention, asked=asked)
    together = signals.entropy + signals.varentropy
    if type(logits) is np.ndarray:
        finite = math.isfinite(float(together.sum()))
    else:
        xp = namespace(logits)
        finite = bool(xp.all(xp.isfinite(together)))
    if not finite:
        raise ValueError(
            "logits: a row holds NaN or +inf, or no finite value at all; masks must leave at least one token possible"
        )
    return signals


def measure_unchecked(
    logits: Array, attention: AttentionSignals | None = None, *, asked: Set[str] = frozenset()
) -> Signals:
    """`measure` without the look at what came out, for which a device's queue would have to drain: a row of NaN has
    signals of NaN, and no row disturbs another."""
    entropy, varentropy, normaliser = _entropies_numpy(logits) if type(logits) is np.ndarray else _entropies(logits)
    further = {}
    if "logit_std" in asked:
        further["logit_std"] = logit_std(logits)
    if "top_logprob" in asked:
        further["top_logprob"] = namespace(logits).max(logits, axis=-1) - normaliser
    return Signals(entropy, varentropy, normaliser, attention, **further)


def token_confidence(logits: Sequence[float], normaliser: float = 0.0) -> float:
    """−mean log-probability of a token's likeliest alternatives, nats: higher is surer (DeepConf, arXiv 2508.15260).
    logits: of the likeliest, largest first. NaN where a mask leaves fewer, since a forced token would have the
    confidence 0 of a model that is lost."""
    return normaliser - sum(logits) / len(logits) if logits[-1] > -math.inf else math.nan


def _trials(logits: Array) -> Iterator[tuple[np.ndarray[Any, Any]]]:
    """Rows on which such sums go wrong, in a vocabulary as that of `logits` and in one that divides by nothing."""
    for vocabulary in (logits.shape[-1], 12_345):
        noise = np.random.default_rng(vocabulary).standard_normal((11, vocabulary), np.float32)
        z = noise * np.float32(3)
        z[1] = 0.0
        z[2] = noise[2] * np.float32(1e-2)
        z[2, 0] = 11.0  # a peak over a flat tail
        z[3, :-1] = -np.inf
        z[4, vocabulary // 3 :] = -np.inf
        z[5, : vocabulary // 2] = -np.inf
        z[6] = -np.inf
        z[7, vocabulary // 2] = np.nan
        z[8] *= np.float32(100)
        z[9:] = 0.0
        z[9, vocabulary // 3] = 16.6  # nearly all of the probability: the tail is what the entropy is of
        z[10, 0] = 20.0
        yield (z,)


@fused(_trials)
def _entropies(logits: Array) -> tuple[Array, Array, Array]:
    """The reference: a handful of array-API operations on whole arrays."""
    xp = namespace(logits)
    z = xp.astype(logits, xp.float32) if logits.dtype not in (xp.float32, xp.float64) else logits
    top = xp.max(z, axis=-1, keepdims=True)
    d = z - top
    d = xp.clip(d, FLOOR, None)
    e = xp.exp(d)
    # the likeliest by themselves: a flat tail would lose its digits beside their 1
    likeliest = d == 0
    total = xp.sum(xp.where(likeliest, 0.0, e), axis=-1) + xp.sum(xp.astype(likeliest, e.dtype), axis=-1)
    mean = xp.sum(e * d, axis=-1) / total
    d = d - mean[:, None]
    log_total = xp.log(total)
    return log_total - mean, xp.sum(e * d * d, axis=-1) / total, log_total + top[:, 0]


def _entropies_numpy(logits: np.ndarray[Any, Any]) -> tuple[Array, Array, Array]:
    """The same for NumPy: in C where it could be compiled, else a row at a time in reused scratch."""
    rows, vocabulary = logits.shape
    library = kernel()
    if library is not None and logits.dtype == np.float32 and logits.strides[1] == 4:
        out = np.empty((rows, 3))
        source, target, stride = address(logits), address(out), logits.strides[0]
        for r in range(rows):
            library.entropix_entropies(source + r * stride, vocabulary, target + r * 24)
        return out[:, 0], out[:, 1], out[:, 2]
    dtype = logits.dtype if logits.dtype == np.float64 else np.dtype(np.float32)
    entropy = np.empty(rows)
    varentropy = np.empty(rows)
    normaliser = np.empty(rows)
    d = np.empty(vocabulary, dtype)
    e = np.empty(vocabulary, dtype)
    for r in range(rows):
        z = logits[r]
        likeliest = z.argmax()
        top = z[likeliest]
        if not math.isfinite(top):
            entropy[r] = varentropy[r] = normaliser[r] = math.nan
            continue
        np.subtract(z, top, out=d, dtype=dtype)
        if not d.min() >= FLOOR:  # rare without masks, and clipping costs as much as exp
            np.maximum(d, FLOOR, out=d)
        np.exp(d, out=e)
        e[likeliest] = 0  # by itself: a flat tail would lose its digits beside its 1
        total = 1 + float(e.sum())
        mean = float(e.dot(d)) / total
        log_total = math.log(total)
        entropy[r] = log_total - mean
        normaliser[r] = log_total + float(top)
        d -= dtype.type(mean)
        np.multiply(d, d, out=d)
        varentropy[r] = (float(e.dot(d)) + mean * mean) / total
    return entropy, varentropy, normaliser


@fused(_trials)
def logit_std(logits: Array) -> Array:
    """Standard deviation of the finite logits, `(rows,)`, as top-nσ needs it (arXiv 2411.07641); 0 where none is."""
    xp = namespace(logits)
    finite = xp.isfinite(logits)
    count = xp.clip(xp.sum(xp.astype(finite, xp.float32), axis=-1), 1.0, None)
    zero = xp.zeros_like(logits)
    mean = xp.sum(xp.where(finite, logits, zero), axis=-1) / count
    centred = xp.where(finite, logits - mean[:, None], zero)
    return xp.sqrt(xp.sum(centred * centred, axis=-1) / count)
