"""What a model's attention looks at, read in the function through which mlx-lm's models compute it.

mlx-lm has no registry of attention functions, and fused kernels give no weights. The files of its models call
`scaled_dot_product_attention` by a name of their own, which `listen` binds to a function that passes every call on.
Only a `RowLayer` that was asked to keep the scores gets them, so a model that other code calls never meets it.
"""

from __future__ import annotations

import sys
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models import base

from entropix.engines.mlx.cache import RowLayer
from entropix.signals.attention import attention_signals, mean_over_layers
from entropix.types import AttentionSignals

NAME = "scaled_dot_product_attention"
theirs = base.scaled_dot_product_attention


def listen(model: Any) -> None:
    """Have the attention of this model's classes tell; classes that compute it in their own way stay silent."""
    for file in {type(module).__module__ for module in model.modules()}:
        names = vars(sys.modules[file])
        if names.get(NAME) is theirs:
            names[NAME] = telling


def telling(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    cache: Any,
    scale: float,
    mask: Any,
    sinks: mx.array | None = None,
) -> mx.array:
    """mlx-lm's attention, which leaves the scores of a single query with a cache that wants them.

    Nothing is known of attention whose weights are more than a softmax of these scores: sinks, or a mask that adds."""
    if isinstance(cache, RowLayer) and cache.seen is not None and queries.shape[2] == 1 and sinks is None:
        visible = None if mask is None or isinstance(mask, str) else mask
        if visible is None or visible.dtype == mx.bool_:
            cache.seen.append((scores(queries, keys, scale), visible))
    return theirs(queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks)


def scores(queries: mx.array, keys: mx.array, scale: float) -> mx.array:
    """Scaled scores `(rows, heads, keys)` of one query a row, in float32; grouped heads share keys without a copy."""
    rows, heads, _, width = queries.shape
    groups = queries.astype(mx.float32).reshape(rows, keys.shape[1], -1, width)
    return (groups @ keys.astype(mx.float32).swapaxes(-1, -2)).reshape(rows, heads, -1) * scale


def signals_of(seen: list[tuple[mx.array, mx.array | None]]) -> AttentionSignals:
    """What the watched layers told, averaged over them; NumPy, `(rows,)`."""
    return mean_over_layers([attention_signals(np.array(told), _valid(told, mask)) for told, mask in seen])


def _valid(told: mx.array, mask: mx.array | None) -> np.ndarray[Any, Any] | None:
    if mask is None:
        return None
    rows, _, keys = told.shape
    return np.array(mx.broadcast_to(mask.reshape(-1, keys), (rows, keys)))
