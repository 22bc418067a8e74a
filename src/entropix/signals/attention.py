"""Attention scores → attention signals. One reference for every engine and array library."""

from __future__ import annotations

import math

from entropix.arrays import map_arrays, namespace
from entropix.types import Array, AttentionSignals

# exp of this is tiny but not denormal in float32; a score this far below the best holds no attention
FLOOR = -80.0


def attention_signals(scores: Array, valid: Array | None = None) -> AttentionSignals:
    """Signals of the heads that look from one position a row.

    scores: `(rows, heads, T)` scaled scores before softmax, any real dtype. valid: `(rows, T)` bool, which keys
    the row may see (None: all); each row sees at least one. Padding changes nothing: every figure is over the
    valid keys only. With a_h the softmax of head h over its T valid keys and ā the mean head:

    entropy      mean over heads of H(a_h) / ln T, 0 when T = 1
    varentropy   population variance over heads of H(a_h) / ln T
    agreement    1 − mean over heads of ½ Σ_t |a_h,t − ā_t|
    interaction  mean over heads and valid keys of |score|

    Returns float arrays `(rows,)`. Source: this project, docs/method.md.
    """
    xp = namespace(scores)
    if valid is None:
        rows, _, keys = scores.shape
        count = xp.full((rows,), float(keys), dtype=scores.dtype, device=scores.device)
        d = scores - xp.max(scores, axis=-1, keepdims=True)
        magnitude = xp.mean(xp.abs(scores), axis=(-2, -1))
    else:
        seen = valid[:, None, :]
        count = xp.sum(xp.astype(valid, scores.dtype), axis=-1)
        hidden = xp.asarray(-math.inf, dtype=scores.dtype, device=scores.device)
        d = xp.where(seen, scores, hidden)
        d = d - xp.max(d, axis=-1, keepdims=True)
        zero = xp.asarray(0.0, dtype=scores.dtype, device=scores.device)
        total = xp.sum(xp.where(seen, xp.abs(scores), zero), axis=(-2, -1))
        magnitude = total / (count * scores.shape[1])
    e = xp.exp(d)
    z = xp.sum(e, axis=-1, keepdims=True)
    a = e / z  # (rows, heads, T)
    # H = ln Z − Σ a·d; clipping d keeps 0·(−∞) out of the sum
    log_z = xp.log(z[..., 0])
    h = log_z - xp.sum(a * xp.clip(d, FLOOR, 0.0), axis=-1)  # (rows, heads)
    log_t = xp.log(count)[:, None]
    one = xp.ones_like(log_t)
    relative = xp.clip(h / xp.where(log_t > 0, log_t, one), 0.0, 1.0)
    relative = xp.where(log_t > 0, relative, xp.zeros_like(relative))
    mean_head = xp.mean(a, axis=1, keepdims=True)
    distance = 0.5 * xp.sum(xp.abs(a - mean_head), axis=-1)
    return AttentionSignals(
        entropy=xp.mean(relative, axis=-1),
        varentropy=xp.var(relative, axis=-1),
        agreement=1.0 - xp.mean(distance, axis=-1),
        interaction=magnitude,
    )


def mean_over_layers(layers: list[AttentionSignals]) -> AttentionSignals:
    """The plain mean of several layers' signals; a single layer is returned as it is."""
    if len(layers) == 1:
        return layers[0]
    return map_arrays(lambda *values: sum(values[1:], start=values[0]) / len(values), *layers)
