"""vLLM's CPU attention back-end, and the same one with a layer that measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.config import get_current_vllm_config_or_none
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend, CPUAttentionBackendImpl, CPUAttentionMetadata

from entropix.plugins.vllm.attention.board import Board, Rows, logger, switched_on
from entropix.plugins.vllm.attention.compiled import compiled_signals
from entropix.plugins.vllm.attention.paged import Layout, alike, find_layout, paged_signals
from entropix.types import ATTENTION, AttentionSignals


class CPUBackend(CPUAttentionBackend):  # type: ignore[misc]  # vLLM is not there to check
    """vLLM's own back-end under its own name; builds observing layers only where the operator asked."""

    @staticmethod
    def get_impl_cls() -> type[CPUAttentionBackendImpl]:
        return ObservingImpl if switched_on(get_current_vllm_config_or_none()) else CPUAttentionBackendImpl


class ObservingImpl(CPUAttentionBackendImpl):  # type: ignore[misc]  # as above
    """vLLM's attention; where a board is attached, the last position's signals go there after it is computed."""

    board: Board | None = None
    layout: Layout | None = None

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: CPUAttentionMetadata | None,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """vLLM's result, untouched."""
        result = super().forward(
            layer, query, key, value, kv_cache, attn_metadata, output, output_scale, output_block_scale
        )
        board = self.board
        if board is not None and attn_metadata is not None:
            rows = board.rows
            if rows is not None and len(rows) == len(attn_metadata.seq_lens):
                self._show(board, rows, query, kv_cache, attn_metadata)
        return result

    def _show(
        self, board: Board, rows: Rows, query: torch.Tensor, kv_cache: torch.Tensor, metadata: CPUAttentionMetadata
    ) -> None:
        """Measure for the board. What goes wrong ends the signals, not the engine with everybody's answers."""
        try:
            board.put(self.observe(rows, query, kv_cache, metadata))
        except Exception:
            self.board = None
            logger.warning("Attention signals end here. Decisions are made from the logits alone.", exc_info=True)

    def refusal(self, layer: Any) -> str | None:
        """Why this layer cannot be measured, None if it can; then `layout` is known."""
        if self.alibi_slopes is not None:
            return "adds ALiBi's distances to its scores"
        if self.logits_soft_cap:
            return f"caps its scores softly (at {self.logits_soft_cap:g})"
        if self.sinks is not None:
            return "has attention sinks"
        if self.is_fp8_kv_cache:
            return f"keeps its keys as {self.kv_cache_dtype}"
        if layer.kv_cache.dim() != 4:
            return "has no paged cache of keys and values yet"
        self.layout = self._find_layout(layer)
        return None if self.layout else "stores its keys in an order that Entropix does not know"

    def observe(
        self, rows: Rows, query: torch.Tensor, kv_cache: torch.Tensor, metadata: CPUAttentionMetadata
    ) -> AttentionSignals:
        """Signals of the rows that ask, NaN elsewhere; NumPy float32 `(requests,)`."""
        asking = np.flatnonzero(rows)
        lengths = metadata.seq_lens.numpy()[asking]
        ends = metadata.query_start_loc.numpy()[1:][asking] - 1
        whole = np.full((len(ATTENTION), len(rows)), np.nan, np.float32)
        whole[:, asking] = self._measured(
            query[torch.from_numpy(ends)], keys_of(kv_cache), metadata.block_table[torch.from_numpy(asking)], lengths
        )
        return AttentionSignals(*whole)

    def _measured(
        self, queries: torch.Tensor, keys: torch.Tensor, table: torch.Tensor, lengths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating[Any]]:
        """The four signals `(4, rows)`: in C, or in tensors and rows of similar length together."""
        assert self.layout is not None
        found = compiled_signals(queries, keys, self.layout, table, lengths, self.scale)
        if found is not None:
            return found.T
        whole = np.empty((len(ATTENTION), len(lengths)), np.float32)
        for group in alike(lengths, keys.shape[2]):
            index, some = torch.from_numpy(group), lengths[group]
            longest = int(some.max())
            signals = paged_signals(
                queries[index],
                keys,
                self.layout,
                table[index],
                torch.from_numpy(some),
                longest,
                self.scale,
                level=int(some.min()) == longest,
            )
            whole[:, group] = torch.stack([getattr(signals, name) for name in ATTENTION]).numpy()
        return whole

    def _find_layout(self, layer: Any) -> Layout | None:
        """Let vLLM write known keys into a block of a cache of our own, and see where they went."""
        scratch = layer.kv_cache.new_zeros(2, *layer.kv_cache.shape[1:])
        heads, block = scratch.shape[1:3]
        generator = torch.Generator().manual_seed(0)
        written = torch.randn(block, heads, self.head_size, generator=generator).to(scratch.dtype)
        slots = torch.arange(block, 2 * block)
        self.do_kv_cache_update(layer, written, torch.zeros_like(written), scratch, slots)
        return find_layout(keys_of(scratch)[1:], written)


def keys_of(kv_cache: torch.Tensor) -> torch.Tensor:
    """The keys `(blocks, kv_heads, block, width)` as stored: the first half of every head's page."""
    blocks, heads, block, width = kv_cache.shape
    return kv_cache.view(blocks, heads, 2 * block, width // 2)[:, :, :block]
