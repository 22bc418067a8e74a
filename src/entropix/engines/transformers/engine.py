"""The engine contract on a transformers model: one slotted cache, one batched call per forward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from entropix.engines.base import Work
from entropix.engines.huggingface.tokenizer import TransformersTokenizer
from entropix.engines.slotted import SlottedEngine, WorkItem, groups, sizes
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
from entropix.engines.transformers.running import cache_name, last_only, observation, switchable_configs, switched
from entropix.types import AttentionSignals, Capabilities, ModelInfo, Observation


class TransformersEngine(SlottedEngine):
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
        context, sequences, cells = sizes(context, sequences, cells)
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
        self._cache_name = cache_name(model)
        self._cache = SlotCache(sequences, context)
        self._begin(self._cache)

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

    def shutdown(self) -> None:
        """Let go of model and cache. A model that you passed in stays yours."""
        self.model = self._head = None
        self._configs = []
        self._cache = SlotCache(1, 1)
        self._end()

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        """Append tokens to sequences and show the position after each item's last token.

        Items of similar length go through the model together; very different lengths take a call each."""
        items = self._checked(work)
        parts = []
        with self._undone_on_failure(items), torch.inference_mode():
            for group in groups([len(tokens) for _, tokens in items]):
                # a call takes its rows in the order of their slots
                first = self._gather([items[n][0] for n in group])
                group.sort(key=lambda n: items[n][0].slot)
                rows = [items[n] for n in group]
                parts.append((group, *self._call(first, rows, attention)))
                for sequence, tokens in rows:  # before the next group moves slots about
                    sequence.tokens.extend(tokens)
            return observation(parts)

    def _call(self, first: int, rows: list[WorkItem], attention: bool) -> tuple[torch.Tensor, AttentionSignals | None]:
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
                use_cache=True,
                return_dict=True,
                **{self._cache_name: self._cache},
            )
        return out.logits[:, -1], signals_of(call) if attention else None
