"""Who holds which cell of the KV cache, counted exactly as llama.cpp's unified cache shares them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Sequence:
    """A live sequence: its slot in llama.cpp (−1 once closed), its tokens, and the cell of each token. prompt: how long
    the prompt of a sequence in the context apart is, 0 for all others."""

    __slots__ = ("cells", "prompt", "slot", "tokens")

    def __init__(self, slot: int, prompt: int = 0) -> None:
        self.slot = slot
        self.prompt = prompt
        self.tokens: list[int] = []
        self.cells: list[int] = []


class Cells:
    """Reference counts of `total` cells. Which number a cell has is ours alone; llama.cpp has its own."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._holders = np.zeros(total, np.int32)
        self._free = list(range(total))

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self, n: int) -> list[int]:
        """n cells with one holder; the caller has seen that they are free."""
        if n == 1:
            cell = self._free.pop()
            self._holders[cell] = 1
            return [cell]
        cells = self._free[-n:]
        del self._free[-n:]
        self._holders[cells] = 1
        return cells

    def share(self, cells: list[int]) -> None:
        self._holders[cells] += 1

    def drop(self, cells: list[int]) -> None:
        if cells:
            held = np.asarray(cells)
            self._holders[held] -= 1
            self._free += held[self._holders[held] == 0].tolist()

    def recount(self, sequences: Iterable[Sequence]) -> None:
        """Begin anew from what the sequences hold."""
        self._holders[:] = 0
        for sequence in sequences:
            self._holders[sequence.cells] += 1
        self._free = np.flatnonzero(self._holders == 0).tolist()
