"""How models get onto an engine, by the engine's name. Importing this imports no runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from entropix.engines.base import Engine

FORMATS = {
    "gguf": ".gguf files",
    "transformers": "model directories",
    "mlx": "models quantised by mlx-lm",
}
"""The forms in which models come, and what a message calls them. Hub names stand for a form, too."""


@dataclass(frozen=True)
class EngineKind:
    """What an entry point of the group `entropix.engines` names.

    load: (model, **options) → Engine; raises ModelError for what it cannot load. options: the names that load takes.
    formats: keys of `FORMATS`, or () for an engine that finds models by names of its own: `load` is then given the name
    as it was typed. runtimes: packages of which it needs one. install: what brings one. () and "" for none.
    refused: of options that other engines have, why this one does not, and what to do instead."""

    name: str
    summary: str
    load: Callable[..., Engine]
    options: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    install: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)


def _llama_cpp(model: str, **options: Any) -> Engine:
    from entropix.engines.llama_cpp import LlamaCppEngine

    return LlamaCppEngine(model, **options)


def _mlx(model: str, **options: Any) -> Engine:
    from entropix.engines.mlx import MlxEngine

    return MlxEngine.load(model, **options)


def _transformers(model: str, **options: Any) -> Engine:
    from entropix.engines.transformers import TransformersEngine

    return TransformersEngine.load(model, **options)


LLAMA_CPP = EngineKind(
    name="llama_cpp",
    summary="llama.cpp: .gguf files",
    load=_llama_cpp,
    options=(
        *("context", "sequences", "cells", "attention_layers", "threads"),
        *("gpu_layers", "flash_attention", "kv_type", "batch"),
        *("lora", "rope_scaling", "rope_freq_base"),
    ),
    formats=("gguf",),
    runtimes=("xllamacpp", "llama_cpp"),
    install="'entropix-llm[llama]'",
)

TRANSFORMERS = EngineKind(
    name="transformers",
    summary="Hugging Face transformers: model directories, hub names and .gguf files",
    load=_transformers,
    options=("context", "sequences", "cells", "attention_layers", "device", "dtype"),
    formats=("gguf", "transformers"),
    runtimes=("torch",),  # transformers itself comes with mlx-lm too
    install="'entropix-llm[transformers]'",
    refused={
        "lora": "transformers loads adapters by peft: merge it (merge_and_unload) and save the model, or give the "
        "model with its adapter to Model(TransformersEngine(model, tokenizer))",
        "rope_scaling": "transformers reads it from the model's config.json: set rope_scaling (rope_parameters) there",
        "rope_freq_base": "transformers reads it from the model's config.json: set rope_theta there",
    },
)

MLX = EngineKind(
    name="mlx",
    summary="Apple's MLX: model directories and hub names, on Apple's GPUs or any processor",
    load=_mlx,
    options=("context", "sequences", "cells", "attention_layers", "dtype"),
    formats=("transformers", "mlx"),
    runtimes=("mlx_lm",),
    install="'entropix-llm[mlx]'",
    refused={
        "device": "MLX computes on the GPU where it has one; in Python mlx.core.set_default_device chooses",
        "lora": "mlx-lm loads adapters by adapter_path: make one model of both with mlx_lm.fuse, or give the model "
        "with its adapter to Model(MlxEngine(model, tokenizer))",
        "rope_scaling": "mlx-lm reads it from the model's config.json: set rope_scaling there",
        "rope_freq_base": "mlx-lm reads it from the model's config.json: set rope_theta there",
    },
)
