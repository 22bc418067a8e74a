"""A llama_batch over NumPy memory, so that filling it costs a slice assignment and not a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# From 64 rows per call llama.cpp's CPU attention takes another kernel, which rounds differently, and from 512 cells (it
# uses multiples of 256) it splits a single row's cache among threads. Staying below costs prompts about a fifth.
EXACT_ROWS, EXACT_CELLS = 63, 512


class TokenBatch:
    """Up to `size` tokens of one llama_decode, each in one sequence."""

    def __init__(self, llama: Any, size: int) -> None:
        self.size = size
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._slot = np.zeros(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        self._one = np.ones(size, np.int32)  # sequences per token
        # token i's list of sequences is the one entry _slot[i]
        stride = self._slot.itemsize
        self._slots = self._slot.ctypes.data + stride * np.arange(size, dtype=np.uintp)
        self._struct = llama.llama_batch()
        for name, array in (
            ("token", self._token),
            ("pos", self._position),
            ("n_seq_id", self._one),
            ("seq_id", self._slots),
            ("logits", self._wanted),
        ):
            setattr(self._struct, name, array.ctypes.data)

    def fill(
        self, tokens: Sequence[int], positions: Sequence[int], slots: Sequence[int], wanted: Sequence[int] | int
    ) -> Any:
        """The llama_batch of these tokens; `wanted` marks those whose logits are to be computed."""
        n = len(tokens)
        self._token[:n] = tokens
        self._position[:n] = positions
        self._slot[:n] = slots
        self._wanted[:n] = wanted
        self._struct.n_tokens = n
        return self._struct
