"""A KV cache of slots for mlx-lm's models: rows of different length side by side, in the place of its own caches.

mlx-lm's batch cache aligns its rows at their ends, so that a row which is rewound would have to be moved. Here each
layer keeps keys and values as `(slots, heads, capacity, head_dim)`, a sequence owns one slot and its tokens lie at
0 … length − 1 of it: a rewind moves no memory, a fork is one copy a layer. What lies beyond a row's length is stale or
zero, always finite, and never visible. Layers with a sliding window keep everything too, and hide what has left it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mlx.core as mx

from entropix.engines.slotted import grown

FIRST_CAPACITY = 256


@dataclass(frozen=True)
class Rows:
    """What one model call reads and writes: slots `first … first + len(starts) − 1`, each `width` tokens wide.

    starts: tokens each row held before."""

    first: int
    starts: tuple[int, ...]
    width: int

    @property
    def keys(self) -> int:
        """Key positions the call looks at, those of its longest row."""
        return max(self.starts) + self.width

    @property
    def level(self) -> bool:
        """All rows begin at the same position: slices instead of index arrays."""
        return min(self.starts) == max(self.starts)

    @property
    def slots(self) -> slice:
        return slice(self.first, self.first + len(self.starts))

    @cached_property
    def begins(self) -> mx.array:
        return mx.array(self.starts)

    @cached_property
    def places(self) -> tuple[mx.array, mx.array]:
        """Slot `(rows, 1)` and position `(rows, width)` of every new token."""
        slots = mx.arange(self.slots.start, self.slots.stop)
        return slots[:, None], self.begins[:, None] + mx.arange(self.width)

    def mask(self, window: int | None) -> mx.array:
        """Which keys each query may see, `(rows or 1, 1, width, keys)`; window: how many, counted from its own."""
        starts = self.begins[:1] if self.level else self.begins
        query = (starts[:, None] + mx.arange(self.width))[:, None, :, None]
        key = mx.arange(self.keys)
        seen = key <= query
        return seen if window is None else seen & (key > query - window)


class RowLayer:
    """One layer's keys and values, with the methods that mlx-lm's models call on a cache.

    offset: where the rows of the call under way begin; an array where they differ. window: of a layer with sliding
    attention. seen: the scores of the layer's attention in this call, None where not asked for (attention.py)."""

    def __init__(self, cache: RowCache, window: int | None) -> None:
        self.cache = cache
        self.window = window
        self.offset: Any = 0
        self.seen: list[tuple[mx.array, mx.array | None]] | None = None
        self.keys: mx.array | None = None
        self.values: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Write the new tokens' keys and values, and give those of the rows' whole texts."""
        rows = self.cache.current()
        self.offset = self.offset + rows.width
        self.keys, shown = self._written(self.keys, keys, rows)
        self.values, mixed = self._written(self.values, values, rows)
        return shown, mixed

    def _written(self, held: mx.array | None, new: mx.array, rows: Rows) -> tuple[mx.array, mx.array]:
        if held is None:
            shape = (self.cache.slots, new.shape[1], self.cache.capacity, new.shape[3])
            # zeros, not empty: a masked key still multiplies its value by 0, and 0 · NaN is NaN
            held = mx.zeros(shape, new.dtype)
        if rows.level:
            held[rows.slots, :, rows.starts[0] : rows.keys] = new
        else:
            slots, positions = rows.places
            held[slots, :, positions] = new.transpose(0, 2, 1, 3)
        return held, held[rows.slots, :, : rows.keys]

    def make_mask(self, width: int, return_array: bool = False, window_size: int | None = None) -> Any:
        """What attention takes as its mask: None where a query may see every key, else "causal" or an array."""
        rows, window = self.cache.current(), window_size or self.window
        assert width == rows.width, f"a mask of {width} tokens in a call of {rows.width}"
        if not rows.level or (window is not None and rows.keys > window):
            return rows.mask(window)
        if width == 1:
            return None
        return rows.mask(None)[0, 0] if return_array else "causal"


class RowCache:
    """All layers' slots. windows: for each layer how many tokens its attention sees, None for all."""

    def __init__(self, windows: Sequence[int | None], most_slots: int, most_capacity: int) -> None:
        self.layers = [RowLayer(self, window) for window in windows]
        self.most = most_slots, most_capacity
        self.slots = 1
        self.capacity = min(FIRST_CAPACITY, most_capacity)
        self._rows: Rows | None = None

    def current(self) -> Rows:
        assert self._rows is not None, "the cache is used outside an engine's forward"
        return self._rows

    @contextmanager
    def reading(self, rows: Rows, watched: frozenset[int] = frozenset()) -> Iterator[None]:
        """One model call over these rows; the layers `watched` keep their attention's scores."""
        self.reserve(rows.slots.stop, rows.keys)
        self._rows = rows
        for n, layer in enumerate(self.layers):
            layer.offset = rows.starts[0] if rows.level else rows.begins
            layer.seen = [] if n in watched else None
        try:
            yield
        finally:
            self._rows = None

    def evaluate(self) -> None:
        """Compute what has been written. MLX computes when it is asked to, and only in the thread that asked first."""
        mx.eval([held for layer in self.layers for held in (layer.keys, layer.values) if held is not None])

    def reserve(self, slots: int, capacity: int) -> None:
        """Room for `slots` rows of `capacity` tokens; grows by doubling up to what was allowed."""
        slots = grown(self.slots, slots, self.most[0])
        capacity = grown(self.capacity, capacity, self.most[1])
        if (slots, capacity) != (self.slots, self.capacity):
            for layer, name, held in self._kept():
                new = mx.zeros((slots, held.shape[1], capacity, held.shape[3]), held.dtype)
                new[: held.shape[0], :, : held.shape[2]] = held
                setattr(layer, name, new)
            self.slots, self.capacity = slots, capacity
            self.evaluate()

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of slot `source` into slot `target`."""
        self._move({target: source}, length)

    def exchange(self, a: int, b: int, length: int) -> None:
        """Swap the first `length` tokens of two slots."""
        self._move({a: b, b: a}, length)

    def _move(self, sources: dict[int, int], length: int) -> None:
        """Into each slot what lies in another. What is moved is computed before anything is written: a view of an array
        makes MLX copy the whole of it at the next write."""
        moved = [
            (held, target, mx.contiguous(held[source, :, :length]))
            for _, _, held in self._kept()
            for target, source in sources.items()
        ]
        mx.eval([part for _, _, part in moved])
        for held, target, part in moved:
            held[target, :, :length] = part
        self.evaluate()

    def _kept(self) -> list[tuple[RowLayer, str, mx.array]]:
        pairs = [(layer, name, getattr(layer, name)) for layer in self.layers for name in ("keys", "values")]
        return [(layer, name, held) for layer, name, held in pairs if held is not None]
