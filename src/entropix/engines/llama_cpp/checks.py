"""Sizes that llama.cpp would end the process for, refused before they reach it."""

from __future__ import annotations

from entropix.engines.llama_cpp.context import KV_TYPES
from entropix.errors import ParameterError
from entropix.numeric import is_integer

MOST_CELLS = 1 << 26  # far beyond any model; llama.cpp counts in 32 bits
MOST_THREADS = 512  # GGML_MAX_N_THREADS: more crash ggml instead of being refused


def check_sizes(**sizes: int) -> None:
    """Raise ParameterError for a number of tokens or of threads that is none, or too large."""
    for name, value in sizes.items():
        most = MOST_THREADS if name == "threads" else MOST_CELLS
        if not is_integer(value) or not 1 <= value <= most:
            raise ParameterError(f"{name} is {value!r}, allowed is an integer from 1 to {most}")


def check_cache(kv_type: str, flash_attention: bool) -> None:
    """Raise ParameterError for a type of keys and values that llama.cpp has not, or not without flash attention."""
    if kv_type not in KV_TYPES:
        raise ParameterError(f"kv_type is {kv_type!r}, allowed are {', '.join(KV_TYPES)}")
    if kv_type.startswith("q") and not flash_attention:
        raise ParameterError(f"kv_type {kv_type} needs flash attention: leave it on, or keep f16")
