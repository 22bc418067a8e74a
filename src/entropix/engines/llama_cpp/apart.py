"""Sequences whose values depend on nothing else: not on kept prefixes, and not on what is decoded beside them."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any

import numpy as np

from entropix.engines.base import Work
from entropix.engines.llama_cpp.batch import EXACT_ROWS
from entropix.engines.llama_cpp.cells import Cells, Sequence
from entropix.engines.llama_cpp.engine import LlamaCppEngine
from entropix.engines.llama_cpp.output import Output
from entropix.engines.llama_cpp.slots import Slots
from entropix.types import AttentionSignals, Capabilities, Observation

PAD = 256
"""llama.cpp looks at cells in such steps."""


class ApartEngine(LlamaCppEngine):
    """A second context over another engine's weights, with a stream of cells for each sequence.

    llama.cpp rounds by the number of rows in a call and by the places of a row's cells. Here both depend on the
    position alone: a sequence's cells stand in the order of its tokens from the beginning of its stream, and each
    llama_decode has one sequence only: its prompt in chunks that begin at multiples of 63, from the prompt's last token
    on a single one. So the same tokens give the same logits to the bit, also when they are computed again. Nothing is
    shared: a fork is a copy. Each stream takes as much memory as a whole context."""

    def __init__(self, whole: LlamaCppEngine) -> None:
        for name in (
            "llama",
            "log",
            "model",
            "on_cpu",
            "contexts",
            "finalizer",
            "tap",
            "threads",
            "flash",
            "kv",
            "rope",
            "adapters",
            "batch",
        ):
            setattr(self, f"_{name}", getattr(whole, f"_{name}"))
        self.tokenizer, self.info = whole.tokenizer, whole.info
        able = whole.capabilities
        streams, cells = able.reproducible, -(-able.context // PAD) * PAD
        self._context = self._new_context(streams * cells, streams, EXACT_ROWS, unified=False)
        self._memory = self._llama.llama_get_memory(self._context)
        self._slots = Slots(self._llama, self._memory, streams, spare=1)
        self._cells = Cells(streams * cells)
        self._busy = False
        self._apart = None
        self._output = Output(self._llama, self._context, self.tokenizer.size)
        self.capabilities = Capabilities(
            able.attention, able.fork, able.rewind, streams, able.context, streams * cells, streams
        )

    def open(self, tokens: Many[int] = (), *, prompt: int = 0) -> Sequence:
        self._begin()
        sequence = self._add(None, 0)
        sequence.prompt = prompt
        self._busy = False
        return sequence

    def forward_beside(self, other: LlamaCppEngine, work: Many[Work], attention: bool) -> Observation:
        """A forward of sequences of which some are here and some are `other`'s. Where it fails, none has grown."""
        here = [n for n, (sequence, _) in enumerate(work) if getattr(sequence, "prompt", 0)]
        rest = [n for n in range(len(work)) if n not in set(here)]
        items = [(self._own(work[n][0]), work[n][1]) for n in here]
        self._begin()
        self._check(items)
        logits = np.empty((len(work), self.tokenizer.size), np.float32)
        seen = np.empty((len(work), 4), np.float32)
        for n, (sequence, tokens) in zip(here, items, strict=True):
            logits[n], signals = self._compute(sequence, tokens, attention)
            if signals is not None:
                seen[n] = signals
        if rest:
            shown = other.forward([work[n] for n in rest], attention=attention)
            logits[rest] = shown.logits
            if shown.attention is not None:
                seen[rest] = np.stack(_fields(shown.attention), axis=1)
        for sequence, tokens in items:
            sequence.cells += self._cells.take(len(tokens))
            sequence.tokens += tokens
        self._busy = False
        return Observation(logits, AttentionSignals(*np.ascontiguousarray(seen.T)) if attention else None)

    def _compute(self, sequence: Sequence, tokens: Many[int], attention: bool) -> tuple[Any, Any]:
        """Logits and attention after the last of `tokens`."""
        start, end = len(sequence.tokens), len(sequence.tokens) + len(tokens)
        alone = sequence.prompt - 1  # from here on every token has a call of its own
        shown: tuple[Any, Any] = None, None
        at = start
        while at < end:
            to = min(at + EXACT_ROWS - at % EXACT_ROWS, alone, end) if at < alone else at + 1
            part = list(tokens[at - start : to - start])
            rows = [len(part) - 1] if to == end else []
            shown = self._decode(part, list(range(at, to)), [sequence.slot] * len(part), rows, attention)
            at = to
        logits, signals = shown
        return logits[0], None if signals is None else signals[0]

    def _add(self, source: Sequence | None, length: int) -> Sequence:
        sequence = super()._add(None, 0)
        if source is not None and length:
            self._llama.llama_memory_seq_cp(self._memory, source.slot, sequence.slot, -1, -1)
            sequence.tokens, sequence.prompt = source.tokens[:length], source.prompt
            sequence.cells = self._cells.take(length)
        return sequence


def _fields(attention: AttentionSignals) -> list[Any]:
    return [attention.entropy, attention.varentropy, attention.agreement, attention.interaction]
