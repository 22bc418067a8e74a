"""The tap in C: compiled on first use, kept in the user's cache directory, loaded with ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from entropix.engines.llama_cpp.library import load
from entropix.engines.llama_cpp.tap import Rows, find_op
from entropix.errors import ModelError
from entropix.native import compiled

OFF, MEASURE, PROBE = range(3)
PROBLEMS = {
    1: "no memory",
    2: "this model's attention has a form it does not know",
    3: "its struct ggml_tensor has another layout",
}
MOST_LAYERS = 1024


class State(ctypes.Structure):
    """`struct tap` of tap.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("mode", "tokens", "n_rows", "n_layers", "problem", "limit", "flash")),
        *((name, ctypes.c_void_p) for name in ("rows", "layers", "visible", "out", "get_name", "is_host", "get")),
    )


class CompiledTap:
    """See `entropix.engines.llama_cpp.tap.Tap`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        llama, _ = load()
        self._library = library
        self._layers: list[int] = []
        self._numbers = np.zeros(MOST_LAYERS, np.int32)
        self._visible = np.zeros(MOST_LAYERS, np.int32)
        self._rows = np.zeros(0, np.int32)
        self._out: Rows = np.zeros(0)
        self.state = State(limit=MOST_LAYERS, flash=find_op(llama, b"FLASH_ATTN_EXT"))
        self.state.layers = self._numbers.ctypes.data
        self.state.visible = self._visible.ctypes.data
        for field, name in (
            ("get_name", "ggml_get_name"),
            ("is_host", "ggml_backend_buffer_is_host"),
            ("get", "ggml_backend_tensor_get"),
        ):
            setattr(self.state, field, ctypes.cast(getattr(llama, name), ctypes.c_void_p).value)
        self.callback: Any = ctypes.cast(library.entropix_tap, llama.eval_callback)
        self.user_data = ctypes.addressof(self.state)
        self._room(1)

    @classmethod
    def build(cls) -> CompiledTap | None:
        """None where there is no compiler, or compiling fails."""
        library = tap_library()
        return None if library is None else cls(library)

    @property
    def layers(self) -> list[int]:
        return self._layers

    @layers.setter
    def layers(self, layers: list[int]) -> None:
        self._layers = layers
        self._numbers[: len(layers)] = layers
        self.state.n_layers = len(layers)
        self._room(len(self._rows))

    def arm(self, rows: Sequence[int], tokens: int) -> None:
        n = len(rows)
        if n > len(self._rows):
            self._room(n)
        self._rows[:n] = rows
        state = self.state
        state.tokens = tokens
        state.n_rows = n
        state.problem = 0
        state.mode = MEASURE

    def read(self) -> Rows:
        self.state.mode = OFF
        if self.state.problem:
            raise ModelError(f"attention cannot be measured: {PROBLEMS[self.state.problem]}")
        n, layers = self.state.n_rows, self.state.n_layers
        out = self._out[: layers * n * 4].reshape(layers, n, 4)
        return out[0].copy() if layers == 1 else np.asarray(out.mean(0))

    def probe(self) -> None:
        self._visible[:] = 0
        self.state.tokens = 1
        self.state.problem = 0
        self.state.mode = PROBE

    def visible(self) -> dict[int, int]:
        self.state.mode = OFF
        if self.state.problem:
            return {}
        return {int(layer): int(self._visible[layer]) for layer in np.flatnonzero(self._visible)}

    def _room(self, rows: int) -> None:
        self._rows = np.zeros(rows, np.int32)
        self._out = np.zeros(max(len(self._layers), 1) * rows * 4)
        self.state.rows = self._rows.ctypes.data
        self.state.out = self._out.ctypes.data


@cache
def tap_library() -> ctypes.CDLL | None:
    """tap.c as a library; None without a compiler."""
    return compiled(Path(__file__).with_name("tap.c"), Path(__file__).parent, ("ggml_tensor.h",))
