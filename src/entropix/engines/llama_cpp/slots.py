"""Which of llama.cpp's sequence numbers are live, free, or still hold what a closed sequence left."""

from __future__ import annotations

from typing import Any

from entropix.engines.llama_cpp.cells import Sequence

SLOTS = 2  # llama.cpp sequences for each of ours, so that closed ones can keep theirs for a while
LEAST_GARBAGE = 1024


class Slots:
    """Up to `most` live sequences in `spare` · most slots; with `spare` 1 nothing is left behind.

    A closed sequence stays in the cache while others are live. Attention adds up a row's cells in the order of their
    places; freed places would be taken by the rows that go on, whose later tokens would then come before their
    earlier ones, and their rounding, so now and then their text, would depend on when a neighbour ended. The garbage
    is bounded by what is in use, and goes when nothing is live or room is needed.
    """

    def __init__(self, llama: Any, memory: Any, most: int, spare: int = SLOTS) -> None:
        self._llama = llama
        self._memory = memory
        self.most = most
        self.live: list[Sequence | None] = [None] * (spare * most)
        self._buried: list[int] = []
        self.buried_cells = 0

    @property
    def free(self) -> int:
        """How many further sequences can be live."""
        return self.most - (len(self.live) - self.live.count(None))

    def take(self) -> int:
        """A slot with nothing in it; the caller has seen that one is free."""
        for slot, sequence in enumerate(self.live):
            if sequence is None and slot not in self._buried:
                return slot
        self.dig_up()
        return self.live.index(None)

    def bury(self, slot: int, cells: int, used: int) -> None:
        """Close a slot whose sequence alone held `cells` cells; `used` are those of live sequences."""
        self.live[slot] = None
        self._buried.append(slot)
        self.buried_cells += cells
        if len(self.live) == self.most or self.buried_cells > max(used, LEAST_GARBAGE) or self.free == self.most:
            self.dig_up()

    def dig_up(self) -> bool:
        """Really free what closed sequences held; whether there was anything."""
        for slot in self._buried:
            self._llama.llama_memory_seq_rm(self._memory, slot, -1, -1)
        found = bool(self._buried)
        self._buried, self.buried_cells = [], 0
        return found

    def clear(self) -> None:
        """Nothing is live any more, and llama.cpp's memory is gone or about to go."""
        self.live = [None] * len(self.live)
        self._buried, self.buried_cells = [], 0
