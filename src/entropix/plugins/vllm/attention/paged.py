"""Paged key cache → attention signals of the last position of each row. Plain tensor operations on any device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from entropix.signals.attention import attention_signals
from entropix.types import AttentionSignals

Layout = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(queries `(pairs, kv_heads, group, width)`, keys `(pairs, kv_heads, block, width)` as stored) → scores before
scaling `(pairs, kv_heads, group, block)`; both float32. A pair is one row and one block of its keys."""

# keys that are widened to float32 at a time: 16 MB, about what the caches next to two cores hold
AT_ONCE = 1 << 22


def rows_of_keys(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Token after token: FlashAttention, Triton."""
    return queries @ keys.transpose(-1, -2)


def columns_of_keys(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Dimension after dimension, each with all tokens of the block: vLLM's vector kernels on CPUs."""
    *outer, block, width = keys.shape
    return queries @ keys.reshape(*outer, width, block)


def tiles_of_keys(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Sixteen tokens a tile, in it two dimensions after two dimensions, each two of all tokens: AMX's bfloat16.

    Multiplied as it lies: the even and the odd dimensions of a query each meet both halves of every pair, and
    the two products that belong together are added. That is twice the arithmetic and no transposed copy."""
    *outer, block, width = keys.shape
    pairs, heads, group, _ = queries.shape
    tiles = keys.reshape(*outer, block // 16, width // 2, 32)
    halves = queries.reshape(pairs, heads, 1, group, width // 2, 2).movedim(-1, -3)
    products = halves.reshape(pairs, heads, 1, 2 * group, width // 2) @ tiles
    products = products.view(pairs, heads, block // 16, 2, group, 16, 2)
    scores = products[..., 0, :, :, 0] + products[..., 1, :, :, 1]
    return scores.transpose(2, 3).reshape(pairs, heads, group, block)


LAYOUTS: tuple[Layout, ...] = (rows_of_keys, columns_of_keys, tiles_of_keys)


def find_layout(keys: torch.Tensor, written: torch.Tensor) -> Layout | None:
    """The layout in which a back-end's own write put `written` into one block, None where no known one fits.

    keys: `(1, kv_heads, block, width)` as stored. written: `(block, kv_heads, width)`. Trying what is really
    in memory needs no knowledge of vLLM's choice of kernel, and notices when a later version stores otherwise."""
    stored, true = keys.float(), written.float().transpose(0, 1)[None]
    block, width = stored.shape[-2:]
    probe = torch.linspace(-1.0, 1.0, width, device=stored.device).square().sub(0.3)
    queries = torch.stack([probe, probe.flip(0).cumsum(0)]).expand(1, stored.shape[1], 2, width)
    expected = queries @ true.transpose(-1, -2)
    for layout in LAYOUTS:
        if layout is tiles_of_keys and (block % 16 or width % 2):
            continue
        if torch.allclose(layout(queries, stored), expected, rtol=1e-4, atol=1e-4):
            return layout
    return None


def alike(lengths: npt.NDArray[np.int64], block: int) -> list[npt.NDArray[np.int64]]:
    """Rows in groups whose numbers of blocks round up to the same power of two: padding at most doubles a row."""
    blocks = (lengths + block - 1) // block
    bins = np.ceil(np.log2(blocks)).astype(np.int64)
    return [np.flatnonzero(bins == b) for b in np.unique(bins)]


def paged_signals(
    queries: torch.Tensor,
    keys: torch.Tensor,
    layout: Layout,
    table: torch.Tensor,
    lengths: torch.Tensor,
    longest: int,
    scale: float,
    *,
    level: bool = False,
) -> AttentionSignals:
    """Signals of n rows' last queries over their valid keys; torch, float32, `(n,)`.

    queries: `(n, heads, width)`. keys: `(blocks, kv_heads, block, width)` as stored, `layout` reads it. table:
    `(n, at least ⌈longest / block⌉)`, each row's blocks in order; entries past a row's length are any valid
    block. lengths: `(n,)`, each at least 1, on the device of the cache. longest: an upper bound of them that
    the host knows, so that nothing here waits for a device. level: whether every row is known to be that long,
    which saves the mask."""
    n, heads, width = queries.shape
    kv_heads, block = keys.shape[1:3]
    count = -(-longest // block)
    grouped = queries.float().reshape(n, kv_heads, heads // kv_heads, width) * scale
    blocks = table[:, :count].reshape(-1)
    owners = torch.arange(n, device=queries.device).repeat_interleave(count)
    step = max(1, AT_ONCE // (kv_heads * block * width))
    parts = [
        layout(grouped[owners[at : at + step]], keys.index_select(0, blocks[at : at + step]).float())
        for at in range(0, n * count, step)
    ]
    scores = parts[0] if len(parts) == 1 else torch.cat(parts)
    scores = scores.view(n, count, kv_heads, heads // kv_heads, block).permute(0, 2, 3, 1, 4)
    scores = scores.reshape(n, heads, count * block)[:, :, :longest]
    valid = None if level else torch.arange(longest, device=queries.device) < lengths[:, None]
    return attention_signals(scores, valid)
