"""Where the logits processor says which rows want attention signals, and finds them after the forward."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from entropix.types import AttentionSignals

if TYPE_CHECKING:
    from vllm.config import VllmConfig

# vLLM shows what is logged below its own name
logger = logging.getLogger("vllm.entropix.attention")

Rows = npt.NDArray[np.bool_]


class Board:
    """Between one logits processor and the one attention layer that measures for it.

    Before the forward `wants(rows)`, after it `take()`. A forward in between that is not the batch's own (a
    warm-up, a profile run) has another number of rows and leaves no mark. Building one costs nothing and is
    possible before the model is loaded; the layer is looked for when a row first asks.
    """

    def __init__(self, config: VllmConfig) -> None:
        self._config: VllmConfig | None = config if switched_on(config) else None
        self._attached = False
        self._signals: AttentionSignals | None = None
        self.rows: Rows | None = None
        """The rows to measure in the coming forward, `(requests,)` in batch order; None: none. Set by `wants`."""

    def wants(self, rows: Rows | None) -> None:
        """Say which requests of the coming forward ask: bool `(requests,)` in batch order, or None for none.

        Call it every step before the forward (in `update_state`, after removals, additions and moves): what an
        earlier step left is forgotten. Where this model cannot be measured, the first call that asks says why
        in the log, once."""
        self._signals = self.rows = None
        if self._config is None or rows is None or not rows.any():
            return
        if not self._attached:
            reason = self._attach(self._config)
            if reason is not None:
                logger.warning("No attention signals: %s. Decisions are made from the logits alone.", reason)
                self._config = None
                return
            self._attached = True
        self.rows = rows

    def take(self) -> AttentionSignals | None:
        """The signals of this step, float32 `(requests,)` in batch order; NaN in rows that did not ask.

        NumPy on CPUs, torch elsewhere. None where no request asked, the operator did not switch them on, or this
        model cannot be measured. A second call in a step gives None."""
        signals = self._signals
        self._signals = self.rows = None
        return signals

    def put(self, signals: AttentionSignals) -> None:
        """What the layer measured in this forward; called by the attention implementation, once a `wants`."""
        self.rows, self._signals = None, signals

    def _attach(self, config: VllmConfig) -> str | None:
        """Make the last layer with full attention report here; the reason if that is not possible."""
        reason = unsupported(config)
        if reason is not None:
            return reason
        full = full_attention_layers(config)
        if not full:
            return "the model has no layer with full causal attention"
        name, layer = full[-1]
        observer = layer.impl
        if not hasattr(observer, "refusal"):
            return f"layer {name} runs {type(observer).__name__}, which Entropix does not observe"
        refusal: str | None = observer.refusal(layer)
        if refusal is not None:
            return f"layer {name} {refusal}"
        observer.board = self
        logger.info("Attention signals are read from layer %s", name)
        return None


def switched_on(config: VllmConfig | None) -> bool:
    """Whether the operator asked for attention signals: `{"entropix": {"attention": true}}`."""
    extra = getattr(config, "additional_config", None)
    ours = extra.get("entropix") if isinstance(extra, dict) else None
    return isinstance(ours, dict) and ours.get("attention") is True


def unsupported(config: VllmConfig) -> str | None:
    """What of the whole engine's configuration rules attention signals out, None if nothing does."""
    parallel = config.parallel_config
    if parallel.world_size != 1:
        return f"the model is spread over {parallel.world_size} workers, and each sees only its own heads or layers"
    if parallel.enable_dbo:
        return "dual batch overlap (--enable-dbo) splits a batch in two"
    if config.cache_config.kv_sharing_fast_prefill:
        return "--kv-sharing-fast-prefill leaves tokens out of the last layers"
    return None


def full_attention_layers(config: VllmConfig) -> list[tuple[str, Any]]:
    """The decoder's layers that see the whole text, in the order in which the model built them.

    Only vLLM's plain layer counts: its subclasses are cross, encoder, chunked and sink attention."""
    from vllm.model_executor.layers.attention import Attention
    from vllm.v1.attention.backend import AttentionType

    return [
        (name, layer)
        for name, layer in config.compilation_config.static_forward_context.items()
        if type(layer) is Attention and layer.attn_type == AttentionType.DECODER and layer.sliding_window is None
    ]
