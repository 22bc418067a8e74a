"""The engine contract on an mlx-lm model: one slotted cache, prompts without their logits, one call for all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.tokenizer_utils import TokenizerWrapper

from entropix.engines.base import Work
from entropix.engines.huggingface.tokenizer import TransformersTokenizer
from entropix.engines.mlx import loading
from entropix.engines.mlx.attention import signals_of
from entropix.engines.mlx.cache import RowCache, Rows
from entropix.engines.mlx.inspection import describe, observed_layers, trained_context, tried, windows_of
from entropix.engines.slotted import SlotSequence, SlottedEngine, WorkItem, groups, sizes
from entropix.errors import CapabilityError
from entropix.types import ATTENTION, AttentionSignals, Capabilities, Observation

CHUNK = 512  # tokens of a row in one call: attention's scores grow with it, and what it saves does not


Shown = tuple[list[SlotSequence], np.ndarray[Any, Any], AttentionSignals | None]
"""Of one model call the sequences in the order of its rows, their logits, and what attention told."""


class MlxEngine(SlottedEngine):
    """An mlx-lm model that you already have, driven by the decoding loop.

    model, tokenizer: as `mlx_lm.load` gives them. A few tokens are run at once, to see what the model can do.
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
        windows = windows_of(model)
        self._layers = observed_layers(windows, attention_layers)
        able = tried(model, windows, self._layers)
        wrapped = isinstance(tokenizer, TokenizerWrapper)
        ends = tokenizer.eos_token_ids if wrapped else ()
        self.tokenizer = TransformersTokenizer(tokenizer._tokenizer if wrapped else tokenizer, ends)
        self.info = describe(model, self.tokenizer, able.vocabulary, name or str(model.args.model_type))
        context = min(context, trained_context(model) or context)
        self.capabilities = Capabilities(
            attention=able.attends,
            fork=True,
            rewind=True,
            sequences=sequences,
            context=context,
            cells=sequences * context if cells is None else cells,
        )
        self.model: Any = model
        self._together = able.together
        self._cache = RowCache(windows, sequences, context)
        self._begin(self._cache)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        dtype: Any = None,
        context: int = 4096,
        sequences: int = 16,
        cells: int | None = None,
        attention_layers: Iterable[int] | None = None,
    ) -> MlxEngine:
        """An engine for a model directory or a hub name.

        dtype: None takes the weights as they are stored, else "float32", "bfloat16" or "float16". The rest as in the
        constructor. Raises ModelError when the model cannot be found or read."""
        model, tokenizer, name = loading.load(name_or_path, dtype=dtype)
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
        self.model = None
        self._cache = RowCache([], 1, 1)
        self._end()
        mx.clear_cache()

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        """Append tokens to sequences and show the position after each item's last token.

        The last tokens of all items go through the model together; those before them in calls of their own, whose
        logits are not asked for, so that MLX does not compute them."""
        items = self._checked(work)
        if attention and not self.capabilities.attention:
            raise CapabilityError(
                f"a {self.info.architecture} model of mlx-lm shows no attention: it computes it in its own way; "
                "ask for none, or load the model with --engine transformers"
            )
        with self._undone_on_failure(items):
            self._prefill([(sequence, tokens[:-1]) for sequence, tokens in items if len(tokens) > 1])
            last = [(sequence, tokens[-1:]) for sequence, tokens in items]
            shown = [self._show(rows, attention) for rows in self._calls(last)]
            return _observation([sequence for sequence, _ in items], shown)

    def _prefill(self, waiting: list[WorkItem]) -> None:
        """Append tokens whose logits are not wanted."""
        while waiting:
            for rows in self._calls([(sequence, tokens[:CHUNK]) for sequence, tokens in waiting]):
                self._call(rows)
                self._cache.evaluate()
                self._append(rows)
            waiting = [(sequence, tokens[CHUNK:]) for sequence, tokens in waiting if len(tokens) > CHUNK]

    def _calls(self, rows: list[WorkItem]) -> Iterator[list[WorkItem]]:
        """The rows of each model call: those of similar length together, where the model can do that."""
        if not self._together:
            yield from ([row] for row in rows)
            return
        for group in groups([len(tokens) for _, tokens in rows]):
            widest = max(len(rows[n][1]) for n in group)
            # padding must end within the context: beyond it a model may know no positions
            room = [n for n in group if len(rows[n][0].tokens) + widest <= self.capabilities.context]
            if room:
                yield [rows[n] for n in room]
            yield from ([rows[n]] for n in group if n not in room)

    def _show(self, rows: list[WorkItem], attention: bool) -> Shown:
        """Append one token a row."""
        logits = self._call(rows, self._layers if attention else frozenset())[:, -1].astype(mx.float32)
        told = [each for layer in self._cache.layers for each in layer.seen or ()]
        mx.eval(logits, [scores for scores, _ in told])
        self._append(rows)
        return [sequence for sequence, _ in rows], np.array(logits, copy=False), signals_of(told) if attention else None

    def _call(self, rows: list[WorkItem], watched: frozenset[int] = frozenset()) -> mx.array:
        """Logits `(rows, width, vocabulary)` of one model call, not computed yet; sorts the rows by their slots."""
        first = self._gather([sequence for sequence, _ in rows])
        rows.sort(key=lambda row: row[0].slot)
        width = max(len(tokens) for _, tokens in rows)
        padded = [tokens + tokens[-1:] * (width - len(tokens)) for _, tokens in rows]
        with self._cache.reading(Rows(first, tuple(len(sequence.tokens) for sequence, _ in rows), width), watched):
            return self.model(mx.array(padded), cache=self._cache.layers)

    @staticmethod
    def _append(rows: list[WorkItem]) -> None:
        for sequence, tokens in rows:
            sequence.tokens.extend(tokens)


def _observation(order: list[SlotSequence], shown: list[Shown]) -> Observation:
    """The rows of several calls in the order of the items."""
    rows = [sequence for part, _, _ in shown for sequence in part]
    back = [rows.index(sequence) for sequence in order]

    def joined(arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        whole = whole if back == sorted(back) else whole[back]
        whole.flags.writeable = False
        return whole

    logits = joined([each for _, each, _ in shown])
    told = [signals for _, _, signals in shown if signals is not None]
    if not told:
        return Observation(logits)
    attention = AttentionSignals(*(joined([getattr(signals, name) for signals in told]) for name in ATTENTION))
    return Observation(logits, attention)
