"""Sizes and work that llama.cpp would end the process for, refused before they reach it."""

from __future__ import annotations

from collections.abc import Sequence as Many

from entropix.engines.llama_cpp.cells import Sequence
from entropix.engines.llama_cpp.context import KV_TYPES
from entropix.errors import CapacityError, ParameterError
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


def check_items(items: Many[tuple[Sequence, Many[int]]], vocabulary: int, context: int) -> int:
    """How many tokens a forward of these items appends. Raises ParameterError or CapacityError."""
    if not items:
        raise ParameterError("forward needs at least one sequence with tokens")
    if len({s.slot for s, _ in items}) < len(items):
        raise ParameterError("a sequence appears twice in a forward; it may appear once")
    total = 0
    for sequence, tokens in items:
        if not len(tokens):
            raise ParameterError("every sequence in a forward needs at least one token")
        if min(tokens) < 0 or max(tokens) >= vocabulary:
            raise ParameterError(f"a token is out of range: allowed are 0 … {vocabulary - 1}")
        if len(sequence.tokens) + len(tokens) > context:
            raise CapacityError(
                f"{len(sequence.tokens)} + {len(tokens)} tokens are more than the context of "
                f"{context}: shorten the text, or build the engine with more context"
            )
        total += len(tokens)
    return total
