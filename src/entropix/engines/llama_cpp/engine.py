"""The engine contract on llama.cpp: one unified KV cache in which forks share their prefix's cells."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence as Many
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entropix.engines.base import SequenceHandle, Work, shared_prefix
from entropix.engines.llama_cpp.adapters import Adapters, Asked, parse_adapters
from entropix.engines.llama_cpp.barriers import Barriers
from entropix.engines.llama_cpp.batch import EXACT_CELLS, EXACT_ROWS, TokenBatch
from entropix.engines.llama_cpp.cells import Cells, Sequence
from entropix.engines.llama_cpp.checks import check_cache, check_sizes
from entropix.engines.llama_cpp.context import FLASH_AUTO, FLASH_OFF, KV_TYPES, Layout, make_context
from entropix.engines.llama_cpp.library import apart, check_process, load, release
from entropix.engines.llama_cpp.opening import describe, open_model
from entropix.engines.llama_cpp.output import Output
from entropix.engines.llama_cpp.rope import parse_rope
from entropix.engines.llama_cpp.slots import SLOTS, Slots
from entropix.engines.llama_cpp.tap import Tap, make_tap, set_up
from entropix.engines.llama_cpp.tokenizer import LlamaCppTokenizer
from entropix.engines.work import check_work
from entropix.errors import CapabilityError, CapacityError, EntropixError, ModelError, ParameterError
from entropix.machine import available_cpus
from entropix.numeric import is_integer, plain
from entropix.types import AttentionSignals, Capabilities, Observation

if TYPE_CHECKING:
    from entropix.engines.llama_cpp.apart import ApartEngine

MOST_SEQUENCES = 128  # half of llama.cpp's LLAMA_MAX_SEQ
LEAST_CELLS = 8192  # by default; short contexts leave room for many sequences


class LlamaCppEngine:
    """A GGUF model on llama.cpp.

    path: a .gguf file. context: most tokens in one sequence, at most what the model was trained for (see rope_scaling).
    sequences: most live sequences, 1 … 128. cells: KV-cache tokens over all sequences, a shared prefix counted
    once; by default the larger of context and 8192. threads: by default one a CPU this process may use.
    gpu_layers: how many layers go to a GPU if this llama.cpp can use one, −1 for all. batch: most tokens of one
    llama_decode; longer prompts take several. flash_attention: off also switches the attention signals off.
    attention: False leaves the attention signals out. attention_layers: whose attention is measured, by default
    the last layer that sees the whole text.
    compile_tap: measure attention in C compiled on first use where there is a compiler; otherwise, and without
    one, in NumPy, which is slower and says the same. kv_type: how keys and values are kept (KV_TYPES); the
    quantised ones save memory and show no attention. lora: LoRA adapters as GGUF files, "file" or "file:scale", one or
    several, or {file: scale}. rope_scaling: "linear:2" or "yarn:4" stretches the context so many times beyond what the
    model was trained for; rope_freq_base: of the rotary frequencies, by default the model's own.
    """

    yielding = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        context: int = 4096,
        sequences: int = 16,
        cells: int | None = None,
        threads: int | None = None,
        gpu_layers: int = -1,
        flash_attention: bool = True,
        attention: bool = True,
        attention_layers: Many[int] | None = None,
        batch: int = 512,
        compile_tap: bool = True,
        kv_type: str = "f16",
        lora: Asked = None,
        rope_scaling: str | None = None,
        rope_freq_base: float | None = None,
    ) -> None:
        threads = available_cpus() if threads is None else plain(threads)
        context, sequences, cells, batch = plain(context), plain(sequences), plain(cells), plain(batch)
        check_sizes(context=context, cells=1 if cells is None else cells, threads=threads, batch=batch)
        check_cache(kv_type, flash_attention)
        cells = max(context, LEAST_CELLS) if cells is None else cells
        if not is_integer(sequences) or not 1 <= sequences <= MOST_SEQUENCES:
            raise ParameterError(f"sequences is {sequences!r}, allowed is 1 … {MOST_SEQUENCES}")
        self._rope, adapters = parse_rope(rope_scaling, plain(rope_freq_base)), parse_adapters(lora)
        self._llama, self._log = load()
        if threads > 1:
            check_process()
        self._model = open_model(path, gpu_layers)
        self._on_cpu = gpu_layers == 0 or not self._llama.llama_supports_gpu_offload()
        self._contexts: list[Any] = []
        kept: list[Any] = []
        self._finalizer = weakref.finalize(self, release, self._contexts, self._model, kept)
        try:
            self._rope.check(self._llama, self._model)
            self._adapters = Adapters(self._llama, self._log, self._model, adapters)
        except EntropixError:
            self._finalizer()
            raise
        self._barriers = Barriers(threads)
        self._batch = TokenBatch(self._llama, max(batch, sequences))
        self._tap: Tap | None = make_tap(compile_tap) if attention and flash_attention else None
        kept.append(self._tap)
        self._threads, self._flash = threads, FLASH_AUTO if flash_attention else FLASH_OFF
        self._kv = KV_TYPES[kv_type]
        self._context = self._new_context(cells, SLOTS * sequences, self._batch.size, unified=True)
        self._memory = self._llama.llama_get_memory(self._context)
        self._slots = Slots(self._llama, self._memory, sequences)
        self._busy = False
        self._apart: ApartEngine | None = None

        self.tokenizer = LlamaCppTokenizer(self._model)
        self.tokenizer.owner = self
        self._output = Output(self._llama, self._context, self.tokenizer.size)
        self.info = describe(self._model, self.tokenizer, Path(path), self._adapters.suffix)
        stateful = self._llama.llama_model_is_recurrent(self._model) or self._llama.llama_model_is_hybrid(self._model)
        if stateful:  # cannot be cut, and its batches are reordered, so that rows could not be found
            self._tap = None
        if self._tap is not None:
            window = self._llama.llama_model_n_swa(self._model)
            tap = (self._tap, attention_layers, self._llama, self._context, self._batch, window)
            if not apart(lambda: set_up(*tap)):
                self._tap = None
        if attention_layers is not None and self._tap is None:
            self.shutdown()
            raise CapabilityError("attention_layers names layers, but this model shows no attention here")
        total = self._llama.llama_n_ctx(self._context)
        self._cells = Cells(total)
        trained = int(self._llama.llama_model_n_ctx_train(self._model) * self._rope.factor)
        self.capabilities = Capabilities(
            attention=self._tap is not None,
            fork=True,
            rewind=not stateful,
            sequences=sequences,
            context=min(context, trained, total),
            cells=total,
            # as many as fit into as much memory again
            reproducible=min(sequences, max(total // min(context, trained, total), 1)) if self._on_cpu else 0,
        )

    @classmethod
    def from_model(cls, model: Any, **settings: Any) -> LlamaCppEngine:
        """An engine of the model that a `llama_cpp.Llama` object, or a path, names; it is loaded on its own."""
        return cls(getattr(model, "model_path", model), **settings)

    @property
    def alive(self) -> bool:
        """Whether the model is still in memory."""
        return self._finalizer.alive

    # the contract

    def open(self, tokens: Many[int] = (), *, prompt: int = 0) -> Sequence:
        if prompt:
            return self._aside().open(tokens, prompt=prompt)
        self._begin()
        source, shared = None, 0
        if self.capabilities.rewind:
            for other in self._slots.live:
                if other is not None and (n := shared_prefix(tokens, other.tokens)) > shared:
                    source, shared = other, n
        sequence = self._add(source, shared)
        self._busy = False
        return sequence

    def fork(self, sequence: SequenceHandle, n: int = 1) -> list[Sequence]:
        if (home := self._home(sequence)) is not self:
            return home.fork(sequence, n)
        source = self._own(sequence)
        self._begin()
        if self._slots.free < n:
            self._busy = False
            raise CapacityError(
                f"{n} forks do not fit: {self._slots.free} of {self._slots.most} sequences are free; "
                "close some, or build the engine with more sequences"
            )
        forks = [self._add(source, len(source.tokens)) for _ in range(n)]
        self._busy = False
        return forks

    def rewind(self, sequence: SequenceHandle, length: int) -> None:
        if (home := self._home(sequence)) is not self:
            home.rewind(sequence, length)
            return
        own = self._own(sequence)
        self._begin()
        held = len(own.tokens)
        if not 0 <= length <= held:
            self._busy = False
            raise ParameterError(f"cannot rewind to {length} tokens: the sequence holds {held}")
        if length < held:
            if length and not self.capabilities.rewind:
                self._busy = False
                raise CapabilityError("this model is recurrent: llama.cpp can rewind it to its beginning only")
            dropped = own.cells[length:]
            del own.tokens[length:], own.cells[length:]
            self._llama.llama_memory_seq_rm(self._memory, own.slot, length, -1)
            self._cells.drop(dropped)
        self._busy = False

    def close(self, sequence: SequenceHandle) -> None:
        if not isinstance(sequence, Sequence) or sequence.slot < 0 or not self._finalizer.alive:
            return
        if (home := self._home(sequence)) is not self:
            home.close(sequence)
            return
        own = self._own(sequence)
        self._begin()
        slot, cells = own.slot, own.cells
        own.slot, own.tokens, own.cells = -1, [], []
        before = self._cells.free
        self._cells.drop(cells)
        self._slots.bury(slot, self._cells.free - before, self._cells.total - self._cells.free)
        self._busy = False

    def cells_used(self) -> int:
        self._begin()
        self._busy = False
        return self._cells.total - self._cells.free

    def forward(self, work: Many[Work], *, attention: bool = False) -> Observation:
        if attention and self._tap is None:
            raise CapabilityError("this engine shows no attention for this model")
        if any(self._home(sequence) is not self for sequence, _ in work):
            shown = self._aside().forward_beside(self, work, attention)
            self._barriers.look()
            return shown
        items = [(self._own(sequence), tokens) for sequence, tokens in work]
        self._begin()
        try:
            self._check(items)
        except BaseException:
            self._busy = False
            raise
        logits, seen = self._decode_items(items, attention)
        for sequence, tokens in items:
            sequence.cells += self._cells.take(len(tokens))
            sequence.tokens += tokens
        self._busy = False
        self._barriers.look()
        signals = None if seen is None else AttentionSignals(*np.ascontiguousarray(seen.T, np.float32))
        return Observation(logits, signals)

    def shutdown(self) -> None:
        self.tokenizer.uses.end()
        self._slots.clear()
        self._barriers.close()
        self._finalizer()

    # one llama_decode and several

    def _decode_items(
        self, items: list[tuple[Sequence, Many[int]]], attention: bool
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """Single tokens together, each longer item on its own: kernels for many tokens round differently from
        those for few, and so a prompt is computed the same whatever is decoded beside it."""
        short = [n for n, (_, tokens) in enumerate(items) if len(tokens) == 1]
        if len(short) == len(items) <= self._batch.size:
            new = [tokens[0] for _, tokens in items]
            return self._decode(
                new, [len(s.tokens) for s, _ in items], [s.slot for s, _ in items], list(range(len(new))), attention
            )
        if len(items) == 1:
            return self._decode_long(items, attention)
        logits = np.empty((len(items), self.tokenizer.size), np.float32)
        seen = np.empty((len(items), 4)) if attention else None
        groups = [[n] for n in range(len(items)) if n not in set(short)]
        groups += [short[a : a + self._batch.size] for a in range(0, len(short), self._batch.size)]
        for group in groups:
            some, signals = self._decode_items([items[n] for n in group], attention)
            logits[group] = some
            if seen is not None:
                seen[group] = signals
        return logits, seen

    def _decode(
        self, tokens: list[int], positions: list[int], slots: list[int], rows: list[int], attention: bool
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """Logits (rows, vocabulary) in place, and attention (rows, 4), of the tokens numbered `rows`."""
        wanted: list[int] | int = 1
        if len(rows) < len(tokens):
            wanted = [0] * len(tokens)
            for row in rows:
                wanted[row] = 1
        batch = self._batch.fill(tokens, positions, slots, wanted)
        tap = self._tap if attention and rows else None
        if tap is not None:
            tap.arm(rows, len(tokens))
        if self.yielding:
            self._llama.llama_set_n_threads(self._context, *self._barriers.threads)
        status = self._llama.llama_decode(self._context, batch)
        if status == 1 and self._slots.dig_up():
            status = self._llama.llama_decode(self._context, batch)
        seen = tap.read() if tap is not None else None
        if status == 1:
            raise CapacityError("llama.cpp finds no room in its KV cache; close sequences or give it more cells")
        if status != 0:
            raise ModelError(f"llama.cpp failed with {status}: {self._log.take() or 'no reason given'}")
        return self._output.logits(len(rows)), seen

    def _decode_long(
        self, items: list[tuple[Sequence, Many[int]]], attention: bool
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        tokens = [token for _, new in items for token in new]
        positions = [p for s, new in items for p in range(len(s.tokens), len(s.tokens) + len(new))]
        slots = [s.slot for s, new in items for _ in new]
        last = (np.cumsum([len(new) for _, new in items]) - 1).tolist()
        size = self._batch.size
        if self._on_cpu and positions[-1] < EXACT_CELLS:
            size = min(size, EXACT_ROWS)
        if len(tokens) <= size:
            return self._decode(tokens, positions, slots, last, attention)
        logits: list[np.ndarray[Any, Any]] = []
        seen: list[np.ndarray[Any, Any]] = []
        for a in range(0, len(tokens), size):
            b = a + size
            rows = [row - a for row in last if a <= row < b]
            some, signals = self._decode(tokens[a:b], positions[a:b], slots[a:b], rows, attention)
            logits.append(some.copy())  # the next decode overwrites it
            if signals is not None:
                seen.append(signals)
        return np.concatenate(logits), np.concatenate(seen) if attention else None

    # bookkeeping

    def _aside(self) -> ApartEngine:
        """The context for sequences whose values depend on nothing else; made when the first is opened."""
        from entropix.engines.llama_cpp.apart import ApartEngine

        if self._apart is None:
            self._begin()
            self._busy = False
            self._apart = ApartEngine(self)
        return self._apart

    def _home(self, sequence: SequenceHandle) -> LlamaCppEngine:
        """The engine that holds a sequence: this one, or the one apart."""
        apart = isinstance(sequence, Sequence) and sequence.prompt > 0
        return self._apart if apart and self._apart is not None else self

    def _own(self, sequence: SequenceHandle) -> Sequence:
        if not self.alive:
            raise ModelError("this engine was shut down; build a new one")
        if isinstance(sequence, Sequence) and sequence.slot >= 0 and self._slots.live[sequence.slot] is sequence:
            return sequence
        raise ParameterError("this sequence is closed, or belongs to another engine")

    def _check(self, items: list[tuple[Sequence, Many[int]]]) -> None:
        total = check_work(items, self.tokenizer.size, self.capabilities.context)
        if total > self._cells.free - self._slots.buried_cells:
            self._slots.dig_up()
        if total > self._cells.free:
            raise CapacityError(
                f"{total} tokens do not fit into the {self._cells.free} free of {self._cells.total} KV-cache "
                "cells: close sequences, or build the engine with more cells"
            )

    def _add(self, source: Sequence | None, length: int) -> Sequence:
        """A new sequence that shares the first `length` tokens of `source`."""
        if not self._slots.free:
            self._busy = False
            raise CapacityError(f"all {self._slots.most} sequences are in use: close one, or load with more of them")
        slot = self._slots.take()
        sequence = Sequence(slot)
        if source is not None and length:
            self._llama.llama_memory_seq_cp(self._memory, source.slot, slot, 0, length)
            cells = source.cells[:length]
            self._cells.share(cells)
            sequence.tokens, sequence.cells = source.tokens[:length], cells
        self._slots.live[slot] = sequence
        return sequence

    def _begin(self) -> None:
        """Begin an operation. One that did not end (a failed decode, Ctrl-C) is undone here: what the handles
        hold is the truth, and llama.cpp's memory and our counts are cut back to it."""
        if not self.alive:
            raise ModelError("this engine was shut down; build a new one")
        if self._busy:
            memory, llama = self._memory, self._llama
            for slot, sequence in enumerate(self._slots.live):
                if sequence is None:
                    llama.llama_memory_seq_rm(memory, slot, -1, -1)
                    continue
                n = min(len(sequence.tokens), len(sequence.cells), llama.llama_memory_seq_pos_max(memory, slot) + 1)
                if not llama.llama_memory_seq_rm(memory, slot, n, -1):
                    llama.llama_memory_seq_rm(memory, slot, -1, -1)
                    n = 0
                del sequence.tokens[n:], sequence.cells[n:]
            self._slots.dig_up()
            self._cells.recount(s for s in self._slots.live if s is not None)
        self._busy = True

    # construction

    def _new_context(self, cells: int, slots: int, rows: int, *, unified: bool) -> Any:
        how = Layout(cells, slots, rows, self._threads, self._flash, self._kv, unified, self._rope)
        context = make_context(self._llama, self._log, self._model, how, self._tap)
        self._contexts.append(context)
        self._adapters.apply(context)
        return context
