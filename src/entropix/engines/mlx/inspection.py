"""What an mlx-lm model is, and how far this engine can run it. What can be tried is tried, not guessed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from entropix.engines.base import fingerprint, sample_ids
from entropix.engines.huggingface.tokenizer import TransformersTokenizer
from entropix.engines.mlx.attention import listen
from entropix.engines.mlx.cache import RowCache, Rows
from entropix.engines.slotted import chosen_layers
from entropix.errors import ModelError
from entropix.types import ModelInfo

LOUD = 1000.0
"""A value that no row may see: far from every true one, and small enough to be finite in float16."""
APART = 0.5
"""From which difference on, in standard deviations of the logits, a row has seen what was not its own. Rounding, in
quantised weights too, stays far below; what is loud leaves nothing of the right logits."""


@dataclass(frozen=True)
class Abilities:
    """What a model did when it was tried. vocabulary: the width of its logits. together: whether rows of different
    length may share a call. attends: whether its attention signals can be had."""

    vocabulary: int
    together: bool
    attends: bool


def arguments_of(model: Any) -> Any:
    """The arguments that a model's text decoder was made of."""
    return arguments_of(model.language_model) if hasattr(model, "language_model") else model.args


def windows_of(model: Any) -> list[int | None]:
    """For each cache that the model wants how many tokens attention sees, None for all.

    Raises ModelError for a model whose state is more than keys and values per token."""
    caches = make_prompt_cache(model)
    strange = sorted({type(cache).__name__ for cache in caches} - {KVCache.__name__, RotatingKVCache.__name__})
    if strange:
        raise ModelError(
            f"a {arguments_of(model).model_type} model keeps a state of another kind than keys and values "
            f"({', '.join(strange)}), which cannot be rewound or forked token by token; choose a model whose layers "
            "are all attention, or run this one on another engine"
        )
    return [cache.max_size if isinstance(cache, RotatingKVCache) else None for cache in caches]


def observed_layers(windows: list[int | None], wanted: Iterable[int] | None) -> frozenset[int]:
    """The layers to read attention from: those wanted, else the last with full attention.

    Raises ParameterError for a layer the model does not have."""
    if wanted is not None:
        return chosen_layers(wanted, len(windows))
    full = [n for n, window in enumerate(windows) if window is None]
    return frozenset({full[-1] if full else len(windows) - 1})


def tried(model: Any, windows: list[int | None], layers: frozenset[int]) -> Abilities:
    """Run a few tokens. Raises ModelError for a model that does not take the engine's cache."""
    listen(model)
    try:
        alone, seen = _second_token(model, windows, (1,), layers)
    except Exception as error:
        raise ModelError(
            f"this {arguments_of(model).model_type} model does not run with the engine's cache "
            f"({type(error).__name__}: {error}); choose another architecture or another engine"
        ) from error
    try:
        beside, _ = _second_token(model, windows, (3, 1), layers)
    except Exception:  # whatever a model that was not written for several rows runs into
        together = False
    else:
        together = bool(np.sqrt(np.mean((beside[-1] - alone[-1]) ** 2)) <= APART * np.std(alone[-1]))
    return Abilities(vocabulary=alone.shape[-1], together=together, attends=seen == len(layers))


def _second_token(
    model: Any, windows: list[int | None], starts: tuple[int, ...], layers: frozenset[int]
) -> tuple[np.ndarray[Any, Any], int]:
    """Logits `(rows, vocabulary)` after rows that hold `starts` tokens and one more, and how many layers told; beyond
    the end of every row the cache is loud."""
    cache = RowCache(windows, len(starts), max(starts) + 1)
    rows = len(starts)
    with cache.reading(Rows(0, (0,) * rows, max(starts))):
        model(mx.zeros((rows, max(starts)), mx.int32), cache=cache.layers)
    for layer in cache.layers:
        for row, start in enumerate(starts):
            if layer.values is not None:
                layer.values[row, :, start:] = LOUD
    with cache.reading(Rows(0, starts, 1), layers):
        logits = model(mx.ones((rows, 1), mx.int32), cache=cache.layers)[:, -1].astype(mx.float32)
    told = sum(len(layer.seen or ()) for layer in cache.layers)
    return np.array(logits), told


def describe(model: Any, tokenizer: TransformersTokenizer, vocabulary: int, name: str) -> ModelInfo:
    """Name, shape and fingerprint of a model, as the other engines give them."""
    arguments = arguments_of(model)
    shape: dict[str, Any] = {
        "architecture": str(arguments.model_type).removesuffix("_text"),
        "layers": len(model.layers),
        "heads": int(_first(arguments, "num_attention_heads", "n_head", "n_heads")),
        "width": int(_first(arguments, "hidden_size", "n_embd", "d_model")),
        "vocabulary": vocabulary,
    }
    pieces = [tokenizer.raw(token) for token in sample_ids(vocabulary)]
    return ModelInfo(name=name, fingerprint=fingerprint(**shape, pieces=pieces), **shape)


def trained_context(model: Any) -> int | None:
    """Most tokens of a text that the model was built for; None where it does not say."""
    return _first(arguments_of(model), "max_position_embeddings", "n_positions", "n_ctx") or None


def _first(arguments: Any, *names: str) -> int:
    """The first of these arguments that the model has, 0 without any: architectures call them differently."""
    return next((getattr(arguments, name) for name in names if getattr(arguments, name, None)), 0)
