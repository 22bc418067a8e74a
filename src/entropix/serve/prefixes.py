"""Ended answers whose KV cache is kept, so that the next turn computes only what is new."""

from __future__ import annotations

from entropix.engines import Engine, SequenceHandle


class Prefixes:
    """At most `most` sequences of at most `cells` tokens together; the oldest gives way.

    The newest stays however long it is, or no long conversation would find its turns again; 0 keeps nothing.
    The engine shares a prefix with any live sequence by itself: keeping one is all there is to do. A sequence that a
    newer one begins with is dropped, so what was used last is always in the newest entries.
    """

    def __init__(self, engine: Engine, most: int, cells: int) -> None:
        self.engine = engine
        self.most = most
        self.cells = cells
        self._kept: list[SequenceHandle] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def used(self) -> int:
        """Tokens in all kept sequences, a shared prefix counted each time."""
        return sum(len(sequence.tokens) for sequence in self._kept)

    def keep(self, sequence: SequenceHandle) -> None:
        """Take over an ended answer's sequence."""
        tokens = list(sequence.tokens)
        for other in [s for s in self._kept if tokens[: len(s.tokens)] == list(s.tokens)]:
            self._drop(other)
        self._kept.append(sequence)
        least = 1 if self.cells and self.most else 0
        while len(self._kept) > least and (len(self._kept) > self.most or self.used > self.cells):
            self.reclaim()

    def reclaim(self) -> bool:
        """Give the oldest back; False when there is none."""
        if not self._kept:
            return False
        self._drop(self._kept[0])
        return True

    def clear(self) -> None:
        while self.reclaim():
            pass

    def _drop(self, sequence: SequenceHandle) -> None:
        self._kept.remove(sequence)
        self.engine.close(sequence)
