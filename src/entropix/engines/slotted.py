"""Engines whose cache has slots, one for each sequence: who lies where, what fits, and which slots a call reads.

What is in the slots is the runtime's; this knows numbers of slots and lists of tokens only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from entropix.engines.base import SequenceHandle, Work, shared_prefix
from entropix.engines.work import check_work
from entropix.errors import CapacityError, ModelError, ParameterError
from entropix.numeric import is_integer, plain
from entropix.types import Capabilities, ModelInfo

NARROW = 4  # a call this narrow is not worth splitting


class SlotSequence:
    """A live sequence: the tokens in its slot of the cache."""

    __slots__ = ("slot", "tokens")

    def __init__(self, slot: int, tokens: list[int]) -> None:
        self.slot = slot
        self.tokens = tokens


WorkItem = tuple[SlotSequence, list[int]]
"""A sequence and the tokens to append to it, looked at and found right."""


class SlotStore(Protocol):
    """The cache: keys and values of tokens 0 … length − 1 in each slot."""

    def reserve(self, slots: int, capacity: int) -> None:
        """Room for so many slots of so many tokens."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of slot `source` into slot `target`."""
        ...

    def exchange(self, a: int, b: int, length: int) -> None:
        """Swap the first `length` tokens of two slots."""
        ...


class SlottedEngine:
    """The part of the engine contract that only moves slots about. An engine sets `info` and `capabilities`, calls
    `_begin` with its cache, and adds `tokenizer`, `forward` and `shutdown`."""

    info: ModelInfo
    capabilities: Capabilities

    def _begin(self, store: SlotStore) -> None:
        """Nothing is live; `store` will hold what is."""
        self._store: SlotStore | None = store
        self._slots: list[SlotSequence | None] = [None] * self.capabilities.sequences

    def _end(self) -> None:
        """Let go of the cache; whatever is asked for from now on is refused."""
        self._store = None
        self._slots = [None] * len(self._slots)

    def open(self, tokens: Sequence[int] = ()) -> SlotSequence:
        """A new sequence that is going to hold `tokens`, sharing the longest prefix that a live one holds."""
        kept = max(self._live(), key=lambda live: shared_prefix(tokens, live.tokens), default=None)
        if kept is None:
            return self._take([], None, 1)[0]
        return self._take(kept.tokens[: shared_prefix(tokens, kept.tokens)], kept, 1)[0]

    def fork(self, sequence: SequenceHandle, n: int = 1) -> list[SlotSequence]:
        """n more sequences that hold all of `sequence`'s tokens; its slot is copied."""
        source = self._own(sequence)
        return self._take(source.tokens, source, n)

    def rewind(self, sequence: SequenceHandle, length: int) -> None:
        """Forget everything after the first `length` tokens; moves no memory."""
        held = self._own(sequence).tokens
        if not 0 <= length <= len(held):
            raise ParameterError(f"cannot rewind to {length} tokens: the sequence holds 0 … {len(held)}")
        del held[length:]

    def close(self, sequence: SequenceHandle) -> None:
        """Give the sequence's slot back. Closing twice is allowed."""
        if isinstance(sequence, SlotSequence) and self._holds(sequence):
            self._slots[sequence.slot] = None

    def cells_used(self) -> int:
        """Tokens held by live sequences; a fork is a copy and counts in full."""
        return sum(len(live.tokens) for live in self._live())

    def _checked(self, work: Sequence[Work]) -> list[WorkItem]:
        """The work with nothing wrong in it; nothing has changed when this raises."""
        self._running()
        items = [(self._own(sequence), [int(token) for token in tokens]) for sequence, tokens in work]
        self._check_cells(check_work(items, self.info.vocabulary, self.capabilities.context))
        return items

    @contextmanager
    def _undone_on_failure(self, items: Sequence[WorkItem]) -> Iterator[None]:
        """Whatever is raised within, the sequences hold what they held before; what lies beyond is never read."""
        before = [len(sequence.tokens) for sequence, _ in items]
        try:
            yield
        except BaseException:
            for (sequence, _), length in zip(items, before, strict=True):
                del sequence.tokens[length:]
            raise

    def _gather(self, sequences: Sequence[SlotSequence]) -> int:
        """Make the sequences' slots neighbours and return the first of them.

        Attention then reads a view of the cache; sequences that keep advancing together move only once."""
        n, taken = len(sequences), sorted(sequence.slot for sequence in sequences)
        if taken[-1] - taken[0] == n - 1:
            return taken[0]
        first = max(
            range(len(self._slots) - n + 1),
            key=lambda a: bisect_left(taken, a + n) - bisect_left(taken, a),
        )
        self._running().reserve(max(taken[-1] + 1, first + n), 0)
        outside = [sequence for sequence in sequences if not first <= sequence.slot < first + n]
        room = sorted(set(range(first, first + n)).difference(taken))
        for sequence, slot in zip(outside, room, strict=True):
            self._swap(sequence, slot)
        return first

    def _swap(self, sequence: SlotSequence, slot: int) -> None:
        """Move a sequence to `slot`, and the one in that slot to where it was."""
        there, before = self._slots[slot], sequence.slot
        if there is None:
            self._running().copy(before, slot, len(sequence.tokens))
        else:
            self._running().exchange(before, slot, max(len(sequence.tokens), len(there.tokens)))
            there.slot = before
        self._slots[before], self._slots[slot] = there, sequence
        sequence.slot = slot

    def _take(self, prefix: list[int], source: SlotSequence | None, n: int) -> list[SlotSequence]:
        """n new sequences that begin as `prefix`, which `source` holds."""
        store = self._running()
        free = [slot for slot, live in enumerate(self._slots) if live is None]
        if len(free) < n:
            raise CapacityError(
                f"cannot hold {n} more sequences: {len(self._slots) - len(free)} of {len(self._slots)} are "
                "live; close some, or make the engine with a larger sequences="
            )
        self._check_cells(n * len(prefix))
        if source is not None and prefix:
            store.reserve(free[n - 1] + 1, 0)
        taken = []
        for slot in free[:n]:
            if source is not None and prefix:
                store.copy(source.slot, slot, len(prefix))
            sequence = self._slots[slot] = SlotSequence(slot, list(prefix))
            taken.append(sequence)
        return taken

    def _check_cells(self, more: int) -> None:
        used, cells = self.cells_used(), self.capabilities.cells
        if used + more > cells:
            raise CapacityError(
                f"{more} more tokens do not fit: {used} of {cells} cells are used; close or rewind sequences, "
                "or make the engine with a larger cells="
            )

    def _running(self) -> SlotStore:
        if self._store is None:
            raise ModelError("this engine was shut down; make a new one")
        return self._store

    def _own(self, sequence: SequenceHandle) -> SlotSequence:
        if isinstance(sequence, SlotSequence) and self._holds(sequence):
            return sequence
        raise ParameterError("the sequence is closed or belongs to another engine")

    def _holds(self, sequence: SlotSequence) -> bool:
        return sequence.slot < len(self._slots) and self._slots[sequence.slot] is sequence

    def _live(self) -> list[SlotSequence]:
        return [live for live in self._slots if live is not None]


def sizes(context: int, sequences: int, cells: int | None) -> tuple[int, int, int | None]:
    """The three as integers. Raises ParameterError for one that is below 1 or no integer."""
    context, sequences, cells = plain(context), plain(sequences), plain(cells)
    for option, value in (("context", context), ("sequences", sequences), ("cells", cells)):
        if value is not None and (not is_integer(value) or value < 1):
            raise ParameterError(f"{option}={value!r}: must be an integer, at least 1")
    return context, sequences, cells


def chosen_layers(wanted: Iterable[int], layers: int) -> frozenset[int]:
    """The layers to read attention from, as they were asked for. Raises ParameterError for one the model has not."""
    chosen = frozenset(wanted)
    if not chosen or not all(isinstance(n, int) and 0 <= n < layers for n in chosen):
        raise ParameterError(f"attention_layers={wanted!r}: name at least one layer from 0 to {layers - 1}")
    return chosen


def groups(counts: Sequence[int]) -> list[list[int]]:
    """Items that share a model call, by index, so that padding at most doubles the work of a wide call."""
    found: list[list[int]] = []
    widest = 0
    for n in sorted(range(len(counts)), key=lambda n: -counts[n]):
        if not found or (widest > NARROW and 2 * counts[n] < widest):
            found.append([])
            widest = counts[n]
        found[-1].append(n)
    return [sorted(group) for group in found]


def grown(have: int, wanted: int, most: int) -> int:
    """`have` doubled until it covers `wanted`, no further than `most` unless padding wants more."""
    if wanted <= have:
        return have
    while have < wanted:
        have *= 2
    return max(wanted, min(have, most))
