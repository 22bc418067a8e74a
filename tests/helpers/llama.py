"""llama.cpp and the embedded model in tests: skips without them, and llama.cpp's own samplers to compare with."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropix.engines.llama_cpp.library import chosen, load
from entropix.errors import ModelError
from entropix.models import embedded


def needs_llama_cpp() -> None:
    """Skips a test, or a module of them, where no llama.cpp can be used, and says why."""
    try:
        chosen()
    except ModelError as error:
        pytest.skip(str(error), allow_module_level=True)


def embedded_model() -> Path:
    """The file of SmolLM2-135M-Instruct; skips where it has not been downloaded."""
    path = embedded.find()
    if path is None:
        pytest.skip("the embedded model is not here yet: make demo brings it", allow_module_level=True)
    return path


U32 = ctypes.c_uint32
"""A seed of a sampler of llama.cpp."""

_KINDS: dict[type, Any] = {int: ctypes.c_int32, float: ctypes.c_float}


class _TokenData(ctypes.Structure):
    """llama_token_data."""

    _fields_ = (("id", ctypes.c_int32), ("logit", ctypes.c_float), ("p", ctypes.c_float))


class _TokenArray(ctypes.Structure):
    """llama_token_data_array."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("selected", ctypes.c_int64),
        ("sorted", ctypes.c_bool),
    )


class Sampler:
    """A sampler of the llama.cpp that is in use. arguments: of `llama_sampler_init_NAME`, plain integers being int32
    and floats float."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self._llama, handle = load()[0], ctypes.c_void_p
        kinds = [_KINDS.get(type(argument), type(argument)) for argument in arguments]
        make = self._llama.function(f"llama_sampler_init_{name}", handle, *kinds)
        if make is None:
            pytest.skip(f"this llama.cpp has no sampler {name}")
        self._handle = make(*arguments)

    def _call(self, name: str, *arguments: Any) -> None:
        kinds = [ctypes.c_void_p, *(type(argument) for argument in arguments)]
        self._llama.function(f"llama_sampler_{name}", None, *kinds)(self._handle, *arguments)

    def accept(self, token: int) -> None:
        self._call("accept", ctypes.c_int32(token))

    def apply(self, logits: np.ndarray[Any, Any]) -> tuple[dict[int, float], int | None]:
        """Token → logit of what it leaves of `logits`, `(vocabulary,)`, and the token that it selects."""
        items = (_TokenData * len(logits))(*[_TokenData(i, float(z), 0.0) for i, z in enumerate(logits)])
        array = _TokenArray(ctypes.addressof(items), len(logits), -1, False)
        self._call("apply", ctypes.c_void_p(ctypes.addressof(array)))
        found = ctypes.cast(array.data, ctypes.POINTER(_TokenData))  # a sampler may begin further on
        left = {found[i].id: found[i].logit for i in range(array.size)}
        return left, found[array.selected].id if array.selected >= 0 else None

    def free(self) -> None:
        self._call("free")
