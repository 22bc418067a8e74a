"""A KV cache of slots: rows of different length side by side, none padded, none computed twice.

Each layer keeps keys and values as `(slots, heads, capacity, head_dim)`. A sequence owns one slot and its
tokens lie at 0 … length−1 of it, so a rewind moves no memory and a fork is one copy a layer. What lies beyond a
row's length is stale or zero, always finite, and never visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from entropix.engines.slotted import grown

FIRST_CAPACITY = 256


@dataclass(frozen=True)
class Span:
    """What one model call reads and writes: slots `first … first + rows − 1`.

    starts: tokens each row held before. counts: new tokens per row. The call is `queries` = max(counts) wide; a
    shorter row is padded on the right, and its padding is written beyond its end, where nothing looks."""

    first: int
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    device: torch.device

    @property
    def rows(self) -> int:
        return len(self.starts)

    @cached_property
    def queries(self) -> int:
        return max(self.counts)

    @cached_property
    def keys(self) -> int:
        """Key positions the call looks at, at least those of its longest row; padding included."""
        return max(self.starts) + self.queries

    @cached_property
    def level(self) -> bool:
        """All rows begin at the same position: slices instead of index lists."""
        return min(self.starts) == max(self.starts)

    @cached_property
    def positions(self) -> torch.Tensor:
        """`(rows, queries)`, where each query lies in its row."""
        steps = torch.arange(self.queries, device=self.device)
        if self.level:
            return (steps + self.starts[0]).expand(self.rows, -1)
        return torch.tensor(self.starts, device=self.device)[:, None] + steps

    @cached_property
    def ragged(self) -> bool:
        return min(self.counts) != self.queries

    @cached_property
    def last(self) -> torch.Tensor:
        """`(rows,)`, each row's last query that is not padding."""
        return torch.tensor(self.counts, device=self.device) - 1

    @cached_property
    def each(self) -> torch.Tensor:
        return torch.arange(self.rows, device=self.device)

    @cached_property
    def slots(self) -> torch.Tensor:
        return self.each + self.first

    def position_ids(self) -> torch.Tensor:
        """`positions`, with padding held at its row's last position so that no position table is overrun."""
        if not self.ragged:
            return self.positions
        end = torch.tensor(self.starts, device=self.device) + self.last
        return torch.minimum(self.positions, end[:, None])


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # the base class is untyped
    """One layer's keys and values."""

    is_croppable = True

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = (
            # zeros, not empty: a masked key still multiplies its value by 0, and 0 · NaN is NaN
            torch.zeros(
                (self.cache.slots, x.shape[1], self.cache.capacity, x.shape[-1]),
                dtype=x.dtype,
                device=x.device,
            )
            for x in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        span = self.cache.current()
        rows = slice(span.first, span.first + span.rows)
        if span.level:
            start = span.starts[0]
            new = slice(start, start + span.queries)
            self.keys[rows, :, new] = key_states
            self.values[rows, :, new] = value_states
        else:
            at = (span.slots[:, None], slice(None), span.positions)
            self.keys[at] = key_states.transpose(1, 2)
            self.values[at] = value_states.transpose(1, 2)
        return self.keys[rows, :, : span.keys], self.values[rows, :, : span.keys]

    def resize(self, slots: int, capacity: int) -> None:
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros((slots, old.shape[1], capacity, old.shape[3]))
            new[: old.shape[0], :, : old.shape[2]] = old
            setattr(self, name, new)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cache.current().keys, 0

    def get_seq_length(self) -> int:
        return max(self.cache.current().starts)

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):  # type: ignore[misc]  # the base class is untyped
    """All layers' slots. `span` is set by the engine for the length of one model call."""

    def __init__(self, most_slots: int, most_capacity: int) -> None:
        super().__init__(layers=[])
        self.most = most_slots, most_capacity
        self.slots = 1
        self.capacity = min(FIRST_CAPACITY, most_capacity)
        self.span: Span | None = None

    def current(self) -> Span:
        assert self.span is not None, "the slot cache is used outside an engine's forward"
        return self.span

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        while len(self.layers) <= layer_idx:
            self.layers.append(SlotLayer(self))
        return self.layers[layer_idx].update(key_states, value_states)  # type: ignore[no-any-return]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return max(self.current().starts)

    def get_mask_sizes(self, query_length: Any, layer_idx: int = 0) -> tuple[int, int]:
        return self.current().keys, 0

    def _initialized(self) -> list[SlotLayer]:
        return [layer for layer in self.layers if layer.is_initialized]

    def _kept(self) -> Iterator[torch.Tensor]:
        """Keys and values of every layer that has some."""
        for layer in self._initialized():
            yield from (layer.keys, layer.values)

    def reserve(self, slots: int, capacity: int) -> None:
        """Room for `slots` rows of `capacity` tokens; grows by doubling up to what was allowed."""
        slots = grown(self.slots, slots, self.most[0])
        capacity = grown(self.capacity, capacity, self.most[1])
        if (slots, capacity) != (self.slots, self.capacity):
            with torch.inference_mode():
                for layer in self._initialized():
                    layer.resize(slots, capacity)
            self.slots, self.capacity = slots, capacity

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of slot `source` into slot `target`."""
        with torch.inference_mode():
            for kept in self._kept():
                kept[target, :, :length] = kept[source, :, :length]

    def exchange(self, a: int, b: int, length: int) -> None:
        """Swap the first `length` tokens of two slots."""
        with torch.inference_mode():
            for kept in self._kept():
                held = kept[a, :, :length].clone()
                kept[a, :, :length] = kept[b, :, :length]
                kept[b, :, :length] = held
