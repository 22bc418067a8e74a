"""Opening a model file, after a look at what it says about itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from entropix.engines.base import fingerprint, sample_ids
from entropix.engines.llama_cpp.library import Llama, chosen, load, metadata, uses_amx
from entropix.engines.llama_cpp.library.declarations import GgufParams
from entropix.engines.llama_cpp.tokenizer import LlamaCppTokenizer
from entropix.errors import ModelError
from entropix.folders import SPLIT, expanded
from entropix.types import ModelInfo

MAGIC = b"GGUF"
STRING, BOOL = 8, 7  # gguf_type
INTEGERS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 10: "u64", 11: "i64"}

TYPES = {
    "adapter": "an adapter (LoRA), which changes a model and is not one",
    "mmproj": "the projector of a multimodal model",
    "vocab": "a vocabulary without a model",
    "imatrix": "an importance matrix",
}
"""Of `general.type`, what is no model."""

ARCHITECTURES = {
    r"clip": "the projector of a multimodal model",
    r"t5": "an encoder-decoder",
    r".*bert.*|t5encoder": "an encoder, which reads text and writes none",
    r".*embed.*": "an embedding model",
    r"wavtokenizer-dec": "a decoder of audio",
    r"imatrix": "an importance matrix",
}
"""Architectures that generate no text, as patterns."""


def open_model(path: str | os.PathLike[str], gpu_layers: int) -> Any:
    """The loaded model at `path`. ModelError when it is missing, not GGUF, damaged or no text generator."""
    file = expanded(path)
    check_gguf(file, "model", "convert_hf_to_gguf.py")
    llama, log = load()
    reason = no_generator(file)
    if reason:
        raise ModelError(f"{file} is no text generator but {reason}; give a decoder-only language model")
    log.take()
    settings = llama.llama_model_default_params()
    settings.n_gpu_layers = gpu_layers
    # built by GCC before 13, the AMX kernels die of a segmentation fault at their first multiplication: the compiler
    # drops the tile configuration that ldtilecfg reads. The way round them leaves out all repacked weights
    settings.use_extra_bufts = not uses_amx()
    model = llama.llama_model_load_from_file(os.fsencode(file), settings)
    if not model:
        raise ModelError(
            f"llama.cpp cannot load {file}, which is truncated, damaged or of an architecture that "
            f"{chosen().name} does not know: {log.take() or 'no reason given'}. Download it again, or update entropix"
        )
    wrong = ""
    if llama.llama_model_has_encoder(model) or not llama.llama_model_has_decoder(model):
        wrong = f"{file} is no text generator: it has an encoder; give a decoder-only language model"
    elif llama.llama_model_is_diffusion(model):
        wrong = (
            f"{file} is a diffusion model, which does not predict the next token; give a decoder-only language model"
        )
    elif llama.llama_model_n_ctx_train(model) < 1:
        wrong = f"{file} says that its context holds no token (context_length is 0): convert the model again"
    if wrong:
        llama.llama_model_free(model)
        raise ModelError(wrong)
    return model


def check_gguf(file: Path, what: str, converter: str) -> None:
    """Raises ModelError unless `file`, a model or an adapter as `what` says, is a GGUF file that can be read."""
    if not file.exists():
        raise ModelError(f"no {what} file at {file}: give the path of an existing .gguf file")
    if not file.is_file():
        raise ModelError(f"{file} is not a file: give the path of a .gguf file")
    try:
        with file.open("rb") as stream:
            magic = stream.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}") from error
    if magic != MAGIC:
        raise ModelError(
            f"{file} is not a GGUF file: it begins with {magic!r}, a GGUF file with {MAGIC!r}. "
            f"Give a .gguf file, or convert the {what} with llama.cpp's {converter}"
        )


def header_values(file: Path, *keys: str) -> list[str | int | bool | None]:
    """The values of keys in a GGUF file, as `_value` has them; None for all where the file is damaged."""
    llama, _ = load()
    header = llama.gguf_init_from_file(os.fsencode(file), GgufParams(True, None))
    if not header:
        return [None] * len(keys)
    try:
        return [_value(llama, header, key) for key in keys]
    finally:
        llama.gguf_free(header)


def no_generator(file: Path) -> str:
    """Why the model in a GGUF file generates no text, token after token; "" where nothing says so, and for a file that
    cannot be read, of which loading says more."""
    llama, _ = load()
    header = llama.gguf_init_from_file(os.fsencode(file), GgufParams(True, None))
    if not header:
        return ""
    try:
        return _reason(lambda key: _value(llama, header, key), llama.gguf_get_n_tensors(header))
    finally:
        llama.gguf_free(header)


def _reason(value: Any, tensors: int) -> str:
    kind, architecture = value("general.type"), value("general.architecture")
    if isinstance(kind, str) and kind in TYPES:
        return TYPES[kind]
    for pattern, what in ARCHITECTURES.items():
        if isinstance(architecture, str) and re.fullmatch(pattern, architecture):
            return what
    if not tensors and not value("split.count"):  # the first part of a split model may hold none
        return TYPES["vocab"]
    if value(f"{architecture}.classifier.output_labels") or value(f"{architecture}.pooling_type") == 4:
        return "a classifier or reranker"
    if value(f"{architecture}.pooling_type"):
        return "an embedding model"
    if value(f"{architecture}.attention.causal") is False:
        return "no causal model: it does not predict the next token"
    return ""


def _value(llama: Llama, header: int, key: str) -> str | int | bool | None:
    """The value of a key; True for one of another type, None for a key that is not there."""
    at = llama.gguf_find_key(header, key.encode())
    if at < 0:
        return None
    kind = llama.gguf_get_kv_type(header, at)
    if kind == STRING:
        return bytes(llama.gguf_get_val_str(header, at)).decode("utf-8", "replace")
    if kind == BOOL:
        return bool(llama.gguf_get_val_bool(header, at))
    if kind in INTEGERS:
        return int(getattr(llama, f"gguf_get_val_{INTEGERS[kind]}")(header, at))
    return True


def describe(model: Any, tokenizer: LlamaCppTokenizer, path: Path, suffix: str = "") -> ModelInfo:
    """A loaded model's name, shape and fingerprint. suffix: of the name, for adapters."""
    llama, _ = load()
    shape = {
        "architecture": metadata(model, "general.architecture") or "unknown",
        "layers": llama.llama_model_n_layer(model),
        "heads": llama.llama_model_n_head(model),
        "width": llama.llama_model_n_embd(model),
        "vocabulary": tokenizer.size,
    }
    pieces = [tokenizer.raw(token) for token in sample_ids(tokenizer.size)]
    # the file's name is what the person knows; general.name can be a training run's ("8k Lc100K Mix1 Ep2")
    return ModelInfo(name=SPLIT.sub("", path.stem) + suffix, fingerprint=fingerprint(pieces=pieces, **shape), **shape)
