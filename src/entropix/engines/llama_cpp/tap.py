"""Attention signals out of llama.cpp's graph, with flash attention left on.

A fused kernel has no attention weights to show, but its inputs are there: when the flash-attention node of a
chosen layer has been computed, its query (source 0), that layer's keys (1), the mask of cells a row may see (3)
and the scale are read, and the scores of the rows that are asked for are computed once more. A layer is known by
the name of its keys, `cache_k_l<layer>`. Attention sinks, where a model has them, are left out of the softmax.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from entropix.errors import ModelError, ParameterError

Rows = np.ndarray[Any, np.dtype[np.float64]]


class Tap(Protocol):
    """What listens at the graph. `callback` and `user_data` go into the context's parameters."""

    callback: Any
    user_data: Any
    layers: list[int]

    def arm(self, rows: Sequence[int], tokens: int) -> None:
        """Measure the tokens numbered `rows` in the next decode, which has `tokens` of them."""
        ...

    def read(self) -> Rows:
        """Entropy, varentropy, agreement, interaction, `(rows, 4)`, mean over the layers; disarms."""
        ...

    def probe(self) -> None:
        """In the next decode, only count the cells that its last token sees in each layer."""
        ...

    def visible(self) -> dict[int, int]:
        """Layer → cells counted by the probe; disarms."""
        ...


def make_tap(compiled: bool) -> Tap:
    """The compiled tap where it is wanted and there is a compiler, else the NumPy one."""
    from entropix.engines.llama_cpp.compiled_tap import CompiledTap
    from entropix.engines.llama_cpp.numpy_tap import NumpyTap

    if compiled and (tap := CompiledTap.build()) is not None:
        return tap
    return NumpyTap()


def set_up(tap: Tap, wanted: Sequence[int] | None, llama: Any, context: Any, batch: Any, window: int) -> bool:
    """Choose the tap's layers and try them; False when this model's attention cannot be seen here.

    Decodes a few single tokens and leaves the memory empty."""
    try:
        visible = find_layers(tap, llama, context, batch, window)
        if not visible:
            return False
        tap.layers = choose_layers(visible, wanted)
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        tap.arm([0], 1)
        decode_one(llama, context, batch, 0, 0)
        return bool(np.isfinite(tap.read()).all())
    except ModelError:
        return False
    finally:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)


def find_layers(tap: Tap, llama: Any, context: Any, batch: Any, window: int) -> dict[int, int]:
    """Layer → how many of three tokens it sees, the first of them beyond its sliding window, if it has one.

    Positions may be far apart when the tokens come from two sequences that are joined afterwards, so the cost
    is three tokens whatever the window.
    """
    far = window + 8
    tap.probe()
    decode_one(llama, context, batch, 0, 0)
    visible = tap.visible()
    if not visible or window <= 0:
        return visible
    decode_one(llama, context, batch, far, 1)
    llama.llama_memory_seq_cp(llama.llama_get_memory(context), 1, 0, -1, -1)
    tap.probe()
    decode_one(llama, context, batch, far + 1, 0)
    return tap.visible()


def decode_one(llama: Any, context: Any, batch: Any, position: int, slot: int) -> None:
    status = llama.llama_decode(context, batch.fill([0], [position], [slot], 1))
    if status != 0:
        raise ModelError(f"llama.cpp failed with {status} in this model's first forward")


def choose_layers(visible: dict[int, int], wanted: Sequence[int] | None) -> list[int]:
    """The layers to measure: those wanted, or the last one with full attention."""
    if wanted is None:
        most = max(visible.values(), default=0)
        return [max(layer for layer, n in visible.items() if n == most)] if visible else []
    layers = sorted(set(wanted))
    if not layers or not set(layers) <= visible.keys():
        raise ParameterError(
            f"attention_layers is {list(wanted)}: allowed are one or more of the layers whose attention can be "
            f"seen, {sorted(visible)}"
        )
    return layers


def find_op(ggml: Any, name: bytes) -> int:
    """The number of an operation that this ggml has, as every version with these parameters does."""
    return next(op for op in itertools.count() if ggml.ggml_op_name(op) == name)
