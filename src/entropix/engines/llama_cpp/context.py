"""A llama_context: the KV cache of some sequences, and the graph that computes on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entropix.engines.llama_cpp.library import Log
from entropix.engines.llama_cpp.rope import Rope
from entropix.engines.llama_cpp.tap import Tap
from entropix.errors import ModelError

FLASH_AUTO, FLASH_OFF, FLASH_ON = -1, 0, 1
KV_TYPES = {"f16": 1, "bf16": 30, "f32": 0, "q8_0": 8, "q5_1": 7, "q5_0": 6, "q4_1": 3, "q4_0": 2}
"""How keys and values can be kept, by ggml's numbers of types."""


@dataclass(frozen=True, slots=True)
class Layout:
    """cells: tokens that the context holds. slots: most sequences. rows: most tokens of one llama_decode. unified: all
    slots take from the same cells; else each has as many as the others, in a stream of its own. flash, kv_type: by
    llama.cpp's numbers. rope: how positions are stretched."""

    cells: int
    slots: int
    rows: int
    threads: int
    flash: int
    kv_type: int
    unified: bool
    rope: Rope


def make_context(llama: Any, log: Log, model: Any, how: Layout, tap: Tap | None) -> Any:
    """Raises ModelError when there is no memory for it."""
    settings = llama.llama_context_default_params()
    settings.n_ctx = how.cells
    settings.n_batch = settings.n_ubatch = how.rows  # one graph a decode: rows are found by number
    settings.n_seq_max = how.slots
    settings.n_threads = settings.n_threads_batch = how.threads
    settings.flash_attn_type = how.flash
    settings.kv_unified = how.unified
    settings.type_k = settings.type_v = how.kv_type
    how.rope.apply(settings)
    settings.swa_full = True  # sliding-window layers can be rewound too
    if tap is not None:
        settings.cb_eval = tap.callback
        settings.cb_eval_user_data = tap.user_data
    context = llama.llama_init_from_model(model, settings)
    if not context:
        raise ModelError(
            f"llama.cpp cannot make a context of {how.cells} cells: {log.take() or 'no reason given'}. Try fewer cells"
        )
    return context
