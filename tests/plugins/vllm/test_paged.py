"""Signals read out of a paged key cache are those of the same keys in one row, however they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropix.signals.attention import attention_signals
from entropix.types import ATTENTION

torch = pytest.importorskip("torch")

from entropix.plugins.vllm.attention import compiled, paged  # noqa: E402

BLOCK, KV_HEADS, HEADS, WIDTH = 32, 2, 6, 64
LENGTHS = [1, 2, 31, 32, 33, 64, 100, 129]


def as_rows(keys: Any) -> Any:
    return keys


def as_columns(keys: Any) -> Any:
    return keys.transpose(-1, -2).reshape(keys.shape)


def as_tiles(keys: Any) -> Any:
    """(…, block, width) → sixteen tokens a tile, in it (width / 2, 16, 2)."""
    *outer, block, width = keys.shape
    tiles = keys.reshape(*outer, block // 16, 16, width // 2, 2).transpose(-3, -2)
    return tiles.reshape(keys.shape)


STORED = {paged.rows_of_keys: as_rows, paged.columns_of_keys: as_columns, paged.tiles_of_keys: as_tiles}


class Cache:
    """Rows of keys cut into blocks that lie anywhere, in a cache whose every other number is NaN."""

    def __init__(self, store: Any, lengths: list[int], seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.rows = [torch.randn(n, KV_HEADS, WIDTH, generator=draw) for n in lengths]
        self.queries = torch.randn(len(lengths), HEADS, WIDTH, generator=draw)
        self.lengths = torch.tensor(lengths)
        most = -(-max(lengths) // BLOCK)
        places = torch.randperm(len(lengths) * most, generator=draw).view(len(lengths), most) + 1
        self.table = places.int()
        blocks = torch.full((len(lengths) * most + 1, KV_HEADS, BLOCK, WIDTH), torch.nan)
        for row, keys in enumerate(self.rows):
            for at in range(0, len(keys), BLOCK):
                part = keys[at : at + BLOCK]
                blocks[places[row, at // BLOCK], :, : len(part)] = part.transpose(0, 1)
        # vLLM keeps a head's values behind its keys: the keys are a view with gaps
        whole = torch.cat([store(blocks), torch.full_like(blocks, torch.nan)], dim=2)
        self.keys = whole[:, :, :BLOCK]

    def true(self, row: int, scale: float) -> dict[str, float]:
        keys = self.rows[row].repeat_interleave(HEADS // KV_HEADS, dim=1).double()
        scores = torch.einsum("hd,thd->ht", self.queries[row].double(), keys) * scale
        signals = attention_signals(scores[None].numpy())
        return {name: float(getattr(signals, name)[0]) for name in ATTENTION}


@pytest.mark.parametrize("layout", paged.LAYOUTS)
@pytest.mark.parametrize("at_once", [1 << 22, 5 * KV_HEADS * BLOCK * WIDTH, 1])
def test_every_layout_in_any_blocks_gives_the_signals_of_the_valid_keys(
    layout: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged, "AT_ONCE", at_once)
    cache = Cache(STORED[layout], LENGTHS)
    signals = paged.paged_signals(
        cache.queries, cache.keys, layout, cache.table, cache.lengths, max(LENGTHS), scale=0.2
    )
    for row in range(len(LENGTHS)):
        for name, true in cache.true(row, 0.2).items():
            assert float(getattr(signals, name)[row]) == pytest.approx(true, abs=2e-6), (name, LENGTHS[row])


@pytest.mark.parametrize("layout", compiled.ORDERS)
@pytest.mark.parametrize("dtype", compiled.KINDS)
def test_c_gives_what_tensors_give(layout: Any, dtype: Any) -> None:
    if compiled.library() is None:
        pytest.skip("there is no C compiler")
    cache = Cache(STORED[layout], LENGTHS)
    whole = torch.cat([cache.keys, cache.keys], dim=2).to(dtype)
    keys = whole[:, :, :BLOCK]
    found = compiled.compiled_signals(cache.queries, keys, layout, cache.table, cache.lengths.numpy(), 0.2)
    true = paged.paged_signals(cache.queries, keys, layout, cache.table, cache.lengths, max(LENGTHS), 0.2)
    for i, name in enumerate(ATTENTION):
        assert found[:, i] == pytest.approx(getattr(true, name).numpy(), abs=1e-6), name


def test_c_leaves_to_tensors_what_it_cannot_read_or_threads_do_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(as_columns, LENGTHS)

    def signals(layout: Any, keys: Any) -> Any:
        return compiled.compiled_signals(cache.queries, keys, layout, cache.table, cache.lengths.numpy(), 0.2)

    assert signals(paged.rows_of_keys, cache.keys) is None
    assert signals(paged.columns_of_keys, cache.keys.half()) is None
    monkeypatch.setattr(compiled, "MOST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: compiled.FEW + 1)
    assert signals(paged.columns_of_keys, cache.keys) is None


def test_a_longer_bound_than_the_longest_row_changes_nothing() -> None:
    cache = Cache(as_rows, [5, 40, 129])
    tight, loose = (
        paged.paged_signals(
            cache.queries[:2], cache.keys, paged.rows_of_keys, cache.table[:2], cache.lengths[:2], longest, 0.2
        )
        for longest in (40, 129)
    )
    for name in ATTENTION:
        assert torch.allclose(getattr(tight, name), getattr(loose, name), atol=1e-6)


@pytest.mark.parametrize("length", [1, 31, 32, 70])
def test_rows_of_one_length_need_no_mask(length: int) -> None:
    cache = Cache(as_rows, [length] * 3)
    args = (cache.queries, cache.keys, paged.rows_of_keys, cache.table, cache.lengths, length, 0.2)
    masked, plain = paged.paged_signals(*args), paged.paged_signals(*args, level=True)
    for name in ATTENTION:
        assert torch.allclose(getattr(masked, name), getattr(plain, name), atol=1e-6)


@pytest.mark.parametrize("layout", paged.LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_layout_is_found_by_where_known_keys_went(layout: Any, dtype: Any) -> None:
    written = torch.randn(BLOCK, KV_HEADS, WIDTH, generator=torch.Generator().manual_seed(3)).to(dtype)
    stored = STORED[layout](written.transpose(0, 1)[None])
    assert paged.find_layout(stored, written) is layout


def test_a_strange_layout_is_not_taken_for_a_known_one() -> None:
    written = torch.randn(BLOCK, KV_HEADS, WIDTH, generator=torch.Generator().manual_seed(3))
    stored = written.transpose(0, 1)[None]
    assert paged.find_layout(stored.flip(-2), written) is None  # tokens backwards
    assert paged.find_layout(stored.roll(1, -1), written) is None  # dimensions shifted
    assert paged.find_layout(torch.zeros_like(stored), written) is None  # nothing was written


def test_rows_are_grouped_so_that_no_row_is_padded_to_more_than_twice_its_blocks() -> None:
    lengths = np.array([1, 32, 33, 500, 64, 65, 4096, 31, 2000, 129])
    groups = paged.alike(lengths, BLOCK)
    assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
    for group in groups:
        blocks = -(-lengths[group] // BLOCK)
        assert blocks.max() <= 2 * blocks.min()
