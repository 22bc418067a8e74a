"""The tap without a compiler: asked about every node in Python, slower, and the reference for tap.c."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from entropix.engines.llama_cpp.library import load
from entropix.engines.llama_cpp.tap import Rows, find_op
from entropix.errors import ModelError
from entropix.signals.attention import attention_signals

KEYS = b"cache_k_l"
TYPES = {0: np.float32, 1: np.float16}  # ggml_type F32, F16


class Tensor(ctypes.Structure):
    """The beginning of `struct ggml_tensor`; that it fits this ggml is checked where it is used."""


Tensor._fields_ = (
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_float * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.POINTER(Tensor)),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
)


class NumpyTap:
    """See `entropix.engines.llama_cpp.tap.Tap`."""

    def __init__(self) -> None:
        self._ggml, _ = load()
        self._op = find_op(self._ggml, b"FLASH_ATTN_EXT")
        self.layers: list[int] = []
        self.user_data = None
        self.callback: Any = self._ggml.eval_callback(self._evaluate)
        self._rows: list[int] = []
        self._tokens = 0
        self._mode = "off"
        self._seen: dict[int, Any] = {}
        self._problem: BaseException | None = None

    def arm(self, rows: Sequence[int], tokens: int) -> None:
        self._rows, self._tokens, self._seen, self._problem = list(rows), tokens, {}, None
        self._mode = "measure"

    def read(self) -> Rows:
        self._mode = "off"
        if isinstance(self._problem, KeyboardInterrupt):
            raise self._problem
        if self._problem is not None or len(self._seen) < len(self.layers):
            raise ModelError(f"attention cannot be measured: {self._problem or 'a layer did not show it'}")
        return np.asarray(np.mean([self._seen[layer] for layer in self.layers], axis=0), np.float64)

    def probe(self) -> None:
        self._tokens, self._seen, self._problem = 1, {}, None
        self._mode = "probe"

    def visible(self) -> dict[int, int]:
        self._mode = "off"
        return {} if self._problem is not None else dict(self._seen)

    def _evaluate(self, address: int, ask: bool, _: Any) -> bool:
        if self._mode == "off":
            return not ask
        try:  # an exception cannot pass through the library
            node = Tensor.from_address(address)
            if node.op != self._op:
                return not ask
            if self._ggml.ggml_get_name(address) != address + Tensor.name.offset:
                raise ModelError("struct ggml_tensor has another layout than is known here")
            layer = layer_of(node)
            if layer < 0 or (self._mode == "measure" and layer not in self.layers):
                return not ask
            if not ask:
                look = self._probe if self._mode == "probe" else self._measure
                self._seen[layer] = look(node)
            return True
        except BaseException as error:  # Ctrl-C too, which `read` raises again
            self._problem = error
            return not ask

    def _probe(self, node: Tensor) -> int:
        return int((self._array(node.src[3].contents)[0, 0, self._tokens - 1] == 0).sum())

    def _measure(self, node: Tensor) -> Rows:
        queries, keys = (self._array(node.src[i].contents)[0] for i in (0, 1))  # (heads, rows or cells, dim)
        masks = self._array(node.src[3].contents)[0, 0]  # (rows, cells)
        scale, bias, softcap = node.op_params[0], node.op_params[1], node.op_params[2]
        heads, rows, dim = queries.shape
        if rows != self._tokens or bias or heads % len(keys):
            raise ModelError("this model's attention has a form that is not known here")
        out = np.empty((len(self._rows), 4))
        for i, row in enumerate(self._rows):
            seen = np.flatnonzero(masks[row] == 0)
            q = queries[:, row].reshape(len(keys), -1, dim)  # heads that share keys stand together
            scores = q @ keys[:, seen].astype(np.float32).transpose(0, 2, 1) * scale
            if softcap:
                scores = softcap * np.tanh(scores / softcap)
            signals = attention_signals(scores.reshape(1, heads, -1))
            out[i] = [
                float(s[0]) for s in (signals.entropy, signals.varentropy, signals.agreement, signals.interaction)
            ]
        return out

    def _array(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """A tensor as an array with reversed axes: in place in host memory, a copy elsewhere."""
        if tensor.type not in TYPES:
            raise ModelError(f"tensors of ggml type {tensor.type} are not read here")
        kind = np.dtype(TYPES[tensor.type])
        shape, strides = list(tensor.ne)[::-1], list(tensor.nb)[::-1]
        size = kind.itemsize + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        buffer = tensor.buffer or (tensor.view_src.contents.buffer if tensor.view_src else None)
        memory: Any
        if buffer and self._ggml.ggml_backend_buffer_is_host(buffer):
            memory = (ctypes.c_char * size).from_address(tensor.data)
        else:
            memory = ctypes.create_string_buffer(size)
            self._ggml.ggml_backend_tensor_get(ctypes.addressof(tensor), memory, 0, size)
        return np.ndarray(shape, kind, buffer=memory, strides=strides)


def layer_of(node: Tensor) -> int:
    """The layer of a flash-attention node, −1 when its keys do not show it."""
    _, found, rest = bytes(node.src[1].contents.name).partition(KEYS)
    digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    return int(digits) if found and digits else -1
