"""`paged_signals` in C for CPUs: one pass on one thread, without a copy of the keys.

The tensor version starts some forty operations per step, which wake vLLM's threads again and again, and widens the keys
into memory of their own. Only where there is much to do and there are many threads is it the faster one.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from entropix.native import compiled
from entropix.plugins.vllm.attention.paged import Layout, columns_of_keys, tiles_of_keys

ORDERS: dict[Layout, int] = {columns_of_keys: 0, tiles_of_keys: 1}
KINDS = {torch.float32: 0, torch.bfloat16: 1}
STRIP = 32
MOST = 1 << 23
"""Numbers in keys that one thread gets through in about two milliseconds."""
FEW = 4
"""Threads that the tensor version needs to be as fast as this one."""


class Paged(ctypes.Structure):
    """`struct paged` of paged.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("keys", "table", "lengths", "queries", "out")),
        *((name, ctypes.c_int64) for name in ("block_stride", "head_stride")),
        *((n, ctypes.c_int32) for n in ("rows", "columns", "heads", "groups", "width", "block", "order", "brief")),
    )


@cache
def library() -> Any:
    """paged.c as a function, None without a compiler."""
    found = compiled(Path(__file__).with_name("paged.c"))
    if found is None:
        return None
    found.entropix_paged.argtypes = (ctypes.POINTER(Paged),)
    found.entropix_paged.restype = ctypes.c_bool
    return found.entropix_paged


def compiled_signals(
    queries: torch.Tensor,
    keys: torch.Tensor,
    layout: Layout,
    table: torch.Tensor,
    lengths: npt.NDArray[np.int64],
    scale: float,
) -> npt.NDArray[np.float64] | None:
    """Arguments as of `paged_signals`, the lengths on the host → the four signals `(n, 4)` in the order of ATTENTION.

    None where that is not possible or not worth it: no compiler, keys of another kind or order, more to do than MOST
    and more than FEW threads."""
    n, heads, width = queries.shape
    _, groups, block, _ = keys.shape
    if layout not in ORDERS or keys.dtype not in KINDS:
        return None
    if int(lengths.sum()) * groups * width > MOST and torch.get_num_threads() > FEW:
        return None
    if block % STRIP or width % 2 or keys.stride(2) != width or keys.stride(3) != 1:
        return None
    function = library()
    if function is None:
        return None
    scaled = (queries.float() * scale).contiguous()
    table = table.to(torch.int32).contiguous()
    lengths = np.ascontiguousarray(lengths, np.int64)
    out = np.empty((n, 4))
    call = Paged(
        keys.data_ptr(), table.data_ptr(), lengths.ctypes.data, scaled.data_ptr(), out.ctypes.data,
        keys.stride(0), keys.stride(1),
        n, table.shape[1], heads, groups, width, block, ORDERS[layout], KINDS[keys.dtype],
    )  # fmt: skip
    return out if function(ctypes.byref(call)) else None
