"""The engine contract on a transformers model: one slotted cache, one batched call per forward."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from entropix.engines.base import SequenceHandle, Work, shared_prefix
from entropix.engines.transformers import loading
from entropix.engines.transformers.attention import OBSERVING, PLAIN, Call, signals_of
from entropix.engines.transformers.cache import SlotCache, Span
from entropix.engines.transformers.inspection import (
    check_supported,
    describe,
    end_tokens,
    observed_layers,
    text_config,
)
from entropix.engines.transformers.running import groups, last_only, observation, switchable_configs, switched
from entropix.engines.transformers.tokenizer import TransformersTokenizer
from entropix.errors import CapacityError, ModelError, ParameterError, PromptError
from entropix.numeric import is_integer, plain
from entropix.types import AttentionSignals, Capabilities, ModelInfo, Observation


class TransformersSequence:
    """A live sequence: the tokens in its slot of the cache."""

    __slots__ = ("slot", "tokens")

    def __init__(self, slot: int, tokens: list[int]) -> None:
        self.slot = slot
        self.tokens = tokens


class TransformersEngine:
    """A transformers model that you already have, driven by the decoding loop.

    model, tokenizer: as transformers loads them. The model is used where it lies and as it is, apart from the
    name of its attention implementation, which changes for the length of each `forward` and is put back: your
    own calls between forwards find everything as it was (calls from other threads need a lock).
    context: most tokens in a sequence, at most what the model was built for. sequences: most live sequences.
    cells: most tokens over all of them (None: sequences × context); memory is taken as it is needed, for the
    longest row times the rows in use. attention_layers: whose attention is shown (None: the last layer with
    full attention). name: for `info`.

    Raises ModelError for a model that this engine cannot run, ParameterError for a value out of range."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        context: int = 4096,
        sequences: int = 16,
        cells: int | None = None,
        attention_layers: Iterable[int] | None = None,
        name: str | None = None,
    ) -> None:
        context, sequences, cells = plain(context), plain(sequences), plain(cells)
        for option, value in (("context", context), ("sequences", sequences), ("cells", cells)):
            if value is not None and (not is_integer(value) or value < 1):
                raise ParameterError(f"{option}={value!r}: must be an integer, at least 1")
        check_supported(model)
        config = text_config(model)
        context = min(context, getattr(config, "max_position_embeddings", None) or context)
        self.tokenizer = TransformersTokenizer(tokenizer, end_tokens(model))
        self.info: ModelInfo = describe(
            model,
            self.tokenizer,
            name or str(getattr(model.config, "_name_or_path", "")) or config.model_type,
        )
        cells = sequences * context if cells is None else cells
        self.capabilities = Capabilities(
            attention=True, fork=True, rewind=True, sequences=sequences, context=context, cells=cells
        )
        self.model: Any = model
        self._device: torch.device = model.get_input_embeddings().weight.device
        self._layers = observed_layers(config, attention_layers)
        self._configs = switchable_configs(model)
        self._head: Any = model.get_output_embeddings()
        self._cache = SlotCache(sequences, context)
        self._slots: list[TransformersSequence | None] = [None] * sequences

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str | None = None,
        dtype: Any = None,
        gguf_file: str | None = None,
        context: int = 4096,
        sequences: int = 16,
        cells: int | None = None,
        attention_layers: Iterable[int] | None = None,
    ) -> TransformersEngine:
        """An engine for a model directory, a .gguf file or a hub name.

        device: None takes cuda, then mps, then cpu. dtype: None takes bfloat16 where the hardware multiplies
        it natively, else float32. gguf_file: a GGUF inside the directory or hub repository; its weights are
        unpacked. The rest as in the constructor. Raises ModelError when the model cannot be found or read."""
        model, tokenizer, name = loading.load(name_or_path, device=device, dtype=dtype, gguf_file=gguf_file)
        return cls(
            model,
            tokenizer,
            context=context,
            sequences=sequences,
            cells=cells,
            attention_layers=attention_layers,
            name=name,
        )

    def open(self, tokens: Sequence[int] = ()) -> TransformersSequence:
        """A new sequence that is going to hold `tokens`, sharing the longest prefix that a live one holds."""
        kept = max(self._live(), key=lambda live: shared_prefix(tokens, live.tokens), default=None)
        if kept is None:
            return self._take([], None, 1)[0]
        return self._take(kept.tokens[: shared_prefix(tokens, kept.tokens)], kept, 1)[0]

    def fork(self, sequence: SequenceHandle, n: int = 1) -> list[TransformersSequence]:
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
        if isinstance(sequence, TransformersSequence) and self._holds(sequence):
            self._slots[sequence.slot] = None

    def cells_used(self) -> int:
        """Tokens held by live sequences; a fork is a copy and counts in full."""
        return sum(len(live.tokens) for live in self._live())

    def shutdown(self) -> None:
        """Let go of model and cache. A model that you passed in stays yours."""
        self.model = self._head = None
        self._configs = []
        self._cache = SlotCache(1, 1)
        self._slots = [None] * len(self._slots)

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        """Append tokens to sequences and show the position after each item's last token.

        Items of similar length go through the model together; very different lengths take a call each."""
        items = self._checked(work)
        before = [len(sequence.tokens) for sequence, _ in items]
        parts = []
        try:
            with torch.inference_mode():
                for group in groups([len(tokens) for _, tokens in items]):
                    # a call takes its rows in the order of their slots
                    first = self._gather([items[n][0] for n in group])
                    group.sort(key=lambda n: items[n][0].slot)
                    rows = [items[n] for n in group]
                    parts.append((group, *self._call(first, rows, attention)))
                    for sequence, tokens in rows:  # before the next group moves slots about
                        sequence.tokens.extend(tokens)
                return observation(parts)
        except BaseException:
            for (sequence, _), length in zip(items, before, strict=True):
                del sequence.tokens[length:]
            raise

    def _call(
        self, first: int, rows: list[tuple[TransformersSequence, list[int]]], attention: bool
    ) -> tuple[torch.Tensor, AttentionSignals | None]:
        """One model call over the slots from `first` on."""
        starts = tuple(len(sequence.tokens) for sequence, _ in rows)
        span = Span(first, starts, tuple(len(tokens) for _, tokens in rows), self._device)
        self._cache.reserve(first + span.rows, span.keys)
        padded = [tokens + tokens[-1:] * (span.queries - len(tokens)) for _, tokens in rows]
        call = Call(span, self._layers if attention else frozenset())
        implementation = OBSERVING if attention else PLAIN
        with switched(self._configs, implementation, self._cache, call), last_only(self._head, span):
            out = self.model(
                input_ids=torch.tensor(padded, device=self._device),
                position_ids=span.position_ids(),
                past_key_values=self._cache,
                use_cache=True,
                return_dict=True,
            )
        return out.logits[:, -1], signals_of(call) if attention else None

    def _gather(self, sequences: list[TransformersSequence]) -> int:
        """Make the sequences' slots neighbours and return the first of them.

        Attention then reads a view of the cache; sequences that keep advancing together move only once."""
        n, taken = len(sequences), sorted(sequence.slot for sequence in sequences)
        if taken[-1] - taken[0] == n - 1:
            return taken[0]
        first = max(
            range(len(self._slots) - n + 1),
            key=lambda a: bisect_left(taken, a + n) - bisect_left(taken, a),
        )
        self._cache.reserve(max(taken[-1] + 1, first + n), 0)
        outside = [sequence for sequence in sequences if not first <= sequence.slot < first + n]
        room = sorted(set(range(first, first + n)).difference(taken))
        for sequence, slot in zip(outside, room, strict=True):
            self._swap(sequence, slot)
        return first

    def _swap(self, sequence: TransformersSequence, slot: int) -> None:
        """Move a sequence to `slot`, and the one in that slot to where it was."""
        there, before = self._slots[slot], sequence.slot
        if there is None:
            self._cache.copy(before, slot, len(sequence.tokens))
        else:
            self._cache.exchange(before, slot, max(len(sequence.tokens), len(there.tokens)))
            there.slot = before
        self._slots[before], self._slots[slot] = there, sequence
        sequence.slot = slot

    def _take(self, prefix: list[int], source: TransformersSequence | None, n: int) -> list[TransformersSequence]:
        """n new sequences that begin as `prefix`, which `source` holds."""
        self._check_running()
        free = [slot for slot, live in enumerate(self._slots) if live is None]
        if len(free) < n:
            raise CapacityError(
                f"cannot hold {n} more sequences: {len(self._slots) - len(free)} of {len(self._slots)} are "
                "live; close some, or make the engine with a larger sequences="
            )
        self._check_cells(n * len(prefix))
        if source is not None and prefix:
            self._cache.reserve(free[n - 1] + 1, 0)
        taken = []
        for slot in free[:n]:
            if source is not None and prefix:
                with torch.inference_mode():
                    self._cache.copy(source.slot, slot, len(prefix))
            sequence = self._slots[slot] = TransformersSequence(slot, list(prefix))
            taken.append(sequence)
        return taken

    def _checked(self, work: Sequence[Work]) -> list[tuple[TransformersSequence, list[int]]]:
        """The work with nothing wrong in it; nothing has changed when this raises."""
        self._check_running()
        items = [(self._own(sequence), [int(token) for token in tokens]) for sequence, tokens in work]
        if not items:
            raise ParameterError("a forward takes at least one item")
        if len({sequence.slot for sequence, _ in items}) != len(items):
            raise ParameterError("a sequence appears twice in one forward; join its tokens into one item")
        vocabulary, context = self.info.vocabulary, self.capabilities.context
        for sequence, tokens in items:
            if not tokens:
                raise PromptError("a forward needs at least one token for each sequence")
            if min(tokens) < 0 or max(tokens) >= vocabulary:
                raise PromptError(f"token out of range 0 … {vocabulary - 1}")
            if len(sequence.tokens) + len(tokens) > context:
                raise CapacityError(
                    f"{len(sequence.tokens)} tokens and {len(tokens)} more exceed the context of {context}; "
                    "shorten the text, or make the engine with a larger context= if the model allows it"
                )
        self._check_cells(sum(len(tokens) for _, tokens in items))
        return items

    def _check_cells(self, more: int) -> None:
        used, cells = self.cells_used(), self.capabilities.cells
        if used + more > cells:
            raise CapacityError(
                f"{more} more tokens do not fit: {used} of {cells} cells are used; close or rewind sequences, "
                "or make the engine with a larger cells="
            )

    def _check_running(self) -> None:
        if self.model is None:
            raise ModelError("this engine was shut down; make a new one")

    def _own(self, sequence: SequenceHandle) -> TransformersSequence:
        if isinstance(sequence, TransformersSequence) and self._holds(sequence):
            return sequence
        raise ParameterError("the sequence is closed or belongs to another engine")

    def _holds(self, sequence: TransformersSequence) -> bool:
        return sequence.slot < len(self._slots) and self._slots[sequence.slot] is sequence

    def _live(self) -> list[TransformersSequence]:
        return [live for live in self._slots if live is not None]
