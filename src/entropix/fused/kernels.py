"""The kernels. Importing this needs Triton; `entropix.fused` decides whether they are used.

Each is launched by the function below it, which takes and gives what the function in whose place it stands takes
and gives; rows on the first axis of the grid, which alone may be longer than 65535.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 4096
"""Logits of one program: 32 a thread in its registers, so that a row is read from memory once."""

FLOOR = -80.0
"""As in signals/logits.py."""

WRITTEN = 2048
"""Logits that one program of `force` writes."""


@triton.jit
def _entropies_of_chunks(logits, chunks, stride, vocabulary, FLOOR: tl.constexpr, BLOCK: tl.constexpr):
    row, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(logits + row * stride + column, mask=column < vocabulary, other=float("-inf")).to(tl.float32)
    top = tl.max(z, 0)
    d = z - tl.where(top == float("-inf"), 0.0, top)
    d = tl.where(d < FLOOR, FLOOR, d)  # not maximum, which would hide a NaN
    e = tl.exp(d)
    likeliest = d == 0.0  # by themselves: a flat tail would lose its digits beside their 1
    total = tl.sum(tl.where(likeliest, 0.0, e), 0) + tl.sum(likeliest.to(tl.float32), 0)
    mean = tl.sum(e * d, 0) / total
    d -= mean
    out = chunks + (row * tl.num_programs(1) + chunk) * 4
    tl.store(out, top)
    tl.store(out + 1, total)
    tl.store(out + 2, mean)
    tl.store(out + 3, tl.sum(e * d * d, 0))


@triton.jit
def _entropies_of_rows(chunks, out, count, FLOOR: tl.constexpr, CHUNKS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.arange(0, CHUNKS)
    inside = chunk < count
    place = chunks + (row * count + chunk) * 4
    tops = tl.load(place, mask=inside, other=float("-inf"))
    totals = tl.load(place + 1, mask=inside, other=0.0)
    means = tl.load(place + 2, mask=inside, other=0.0)
    squares = tl.load(place + 3, mask=inside, other=0.0)
    top = tl.max(tops, 0)
    shift = tops - top  # all −inf: NaN, and so is everything after it
    shift = tl.where(shift < FLOOR, FLOOR, shift)
    scale = tl.exp(shift)
    totals *= scale
    means += shift
    total = tl.sum(totals, 0)
    mean = tl.sum(totals * means, 0) / total
    means -= mean
    log_total = tl.log(total)
    tl.store(out + row * 3, log_total - mean)
    tl.store(out + row * 3 + 1, tl.sum(scale * squares + totals * means * means, 0) / total)
    tl.store(out + row * 3 + 2, log_total + top)


def entropies(logits: Any) -> tuple[Any, Any, Any]:
    """Entropy, varentropy, normaliser. Chunks are centred on their own means and then put together (Chan, Golub,
    LeVeque 1979): one pass, and no digits lost to cancellation. A token is cut off at FLOOR below its chunk's
    likeliest and a chunk at FLOOR below the row's."""
    rows, vocabulary = logits.shape
    count = triton.cdiv(vocabulary, BLOCK)
    chunks = torch.empty((rows, count, 4), dtype=torch.float32, device=logits.device)
    out = torch.empty((rows, 3), dtype=torch.float32, device=logits.device)
    _entropies_of_chunks[(rows, count)](logits, chunks, logits.stride(0), vocabulary, FLOOR=FLOOR, BLOCK=BLOCK)
    _entropies_of_rows[(rows,)](chunks, out, count, FLOOR=FLOOR, CHUNKS=triton.next_power_of_2(count))
    return out[:, 0], out[:, 1], out[:, 2]


@triton.jit
def _std_of_chunks(logits, chunks, stride, vocabulary, BLOCK: tl.constexpr):
    row, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(logits + row * stride + column, mask=column < vocabulary, other=float("-inf")).to(tl.float32)
    finite = tl.abs(z) < float("inf")
    count = tl.sum(finite.to(tl.float32), 0)
    mean = tl.sum(tl.where(finite, z, 0.0), 0) / tl.where(count > 0.0, count, 1.0)
    centred = tl.where(finite, z - mean, 0.0)
    out = chunks + (row * tl.num_programs(1) + chunk) * 3
    tl.store(out, count)
    tl.store(out + 1, mean)
    tl.store(out + 2, tl.sum(centred * centred, 0))


@triton.jit
def _std_of_rows(chunks, out, count, CHUNKS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.arange(0, CHUNKS)
    inside = chunk < count
    place = chunks + (row * count + chunk) * 3
    counts = tl.load(place, mask=inside, other=0.0)
    means = tl.load(place + 1, mask=inside, other=0.0)
    squares = tl.load(place + 2, mask=inside, other=0.0)
    total = tl.sum(counts, 0)
    total = tl.where(total > 0.0, total, 1.0)
    means -= tl.sum(counts * means, 0) / total
    tl.store(out + row, tl.sqrt(tl.sum(squares + counts * means * means, 0) / total))


def logit_std(logits: Any) -> Any:
    """The standard deviation of what is finite."""
    rows, vocabulary = logits.shape
    count = triton.cdiv(vocabulary, BLOCK)
    chunks = torch.empty((rows, count, 3), dtype=torch.float32, device=logits.device)
    out = torch.empty((rows,), dtype=torch.float32, device=logits.device)
    _std_of_chunks[(rows, count)](logits, chunks, logits.stride(0), vocabulary, BLOCK=BLOCK)
    _std_of_rows[(rows,)](chunks, out, count, CHUNKS=triton.next_power_of_2(count))
    return out


@triton.jit
def _order(values, ids, out_values, out_ids, size, K: tl.constexpr, SOME: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * size
    column = tl.arange(0, K)
    v = tl.load(values + start + column, mask=column < size, other=0.0)
    token = tl.load(ids + start + column, mask=column < size, other=0)
    lost = v != v
    rank = tl.zeros([K], tl.int32)
    for first in range(0, K, SOME):
        others = first + tl.arange(0, SOME)
        other = tl.load(values + start + others, mask=others < size, other=0.0)
        its = tl.load(ids + start + others, mask=others < size, other=0)
        gone = other != other
        # NaN goes first, as torch sorts it; a place each, whatever the numbers are, so that all of them are written
        more = (other[None, :] > v[:, None]) | (gone[None, :] & (lost[:, None] == 0))
        same = (other[None, :] == v[:, None]) | (gone[None, :] & lost[:, None])
        before = (more | (same & (its[None, :] < token[:, None]))) & (others < size)[None, :]
        rank += tl.sum(before.to(tl.int32), 1)
    tl.store(out_values + start + rank, v, mask=column < size)
    tl.store(out_ids + start + rank, token, mask=column < size)


def ordered(values: Any, ids: Any) -> tuple[Any, Any]:
    """Descending, ties by id. Each counts those before it: at 256 that is less than a launch more."""
    rows, size = values.shape
    values, ids = values.contiguous(), ids.contiguous()
    out_values, out_ids = torch.empty_like(values), torch.empty_like(ids)
    _order[(rows,)](values, ids, out_values, out_ids, size, K=max(triton.next_power_of_2(size), 16), SOME=16)
    return out_values, out_ids


@triton.jit
def _mix(x, ONE: tl.constexpr, TWO: tl.constexpr):
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * ONE
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * TWO
    return x ^ ((x >> 31) & ((1 << 33) - 1))


@triton.jit
def _position_keys(
    seeds, positions, out, rows, GOLDEN: tl.constexpr, ONE: tl.constexpr, TWO: tl.constexpr, SOME: tl.constexpr
):
    row = tl.program_id(0) * SOME + tl.arange(0, SOME)
    x = tl.load(seeds + row, mask=row < rows, other=0)
    x += tl.load(positions + row, mask=row < rows, other=0).to(tl.int64) * GOLDEN
    tl.store(out + row, _mix(x, ONE, TWO), mask=row < rows)


@triton.jit
def _uniform(keys, ids, out, stride, size, GOLDEN: tl.constexpr, ONE: tl.constexpr, TWO: tl.constexpr, K: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, K)
    token = tl.load(ids + row * stride + column, mask=column < size, other=0)
    bits = _mix(tl.load(keys + row) + (token + 1) * GOLDEN, ONE, TWO)
    # integers and powers of two: exact, so that the noise is bit for bit what arrays give
    u = (((bits >> 12) & ((1 << 52) - 1)).to(tl.float64) + 0.5) * 2.220446049250313e-16
    tl.store(out + row * size + column, u, mask=column < size)


# SplitMix64's numbers as in sampling/noise.py, as signed ones
GOLDEN, ONE, TWO = (n - (1 << 64) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def position_keys(seeds: Any, positions: Any) -> Any:
    """SplitMix64 of seeds and positions."""
    out = torch.empty_like(seeds)
    rows = seeds.shape[0]
    _position_keys[(triton.cdiv(rows, 128),)](seeds, positions, out, rows, GOLDEN=GOLDEN, ONE=ONE, TWO=TWO, SOME=128)
    return out


def keyed_uniform(keys: Any, ids: Any) -> Any:
    """Uniform numbers of keys and tokens, float64."""
    rows, size = ids.shape
    out = torch.empty((rows, size), dtype=torch.float64, device=ids.device)
    width = triton.next_power_of_2(size)
    _uniform[(rows,)](keys, ids, out, ids.stride(0), size, GOLDEN=GOLDEN, ONE=ONE, TWO=TWO, K=width)
    return out


@triton.jit
def _force(logits, ours, tokens, stride, vocabulary, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    left = tl.where(column == tl.load(tokens + row), 0.0, float("-inf"))
    end = tl.where(tl.load(ours + row) != 0, vocabulary, 0)
    tl.store(logits + row * stride + column, left, mask=column < end)


def force(logits: Any, ours: Any, tokens: Any) -> Any:
    """Our rows: −inf, and 0 at the token. In place; the others are not touched."""
    rows, vocabulary = logits.shape
    # as bytes, since a pointer to bits is a special case of the compiler
    mine = ours.view(torch.uint8)
    _force[(rows, triton.cdiv(vocabulary, WRITTEN))](logits, mine, tokens, logits.stride(0), vocabulary, BLOCK=WRITTEN)
    return logits
