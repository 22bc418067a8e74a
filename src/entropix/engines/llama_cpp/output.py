"""Where llama.cpp leaves the logits of a llama_decode."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

MOST_VIEWS = 128


class Output:
    """The buffer of one context. vocabulary: logits of a row."""

    def __init__(self, llama: Any, context: Any, vocabulary: int) -> None:
        self._llama, self._context, self._vocabulary = llama, context, vocabulary
        self._views: dict[tuple[int, int], np.ndarray[Any, Any]] = {}

    def logits(self, rows: int) -> np.ndarray[Any, Any]:
        """`(rows, vocabulary)`, read-only and in place: the next llama_decode overwrites it. Making such an array costs
        more than finding it again."""
        if not rows:
            return np.empty((0, self._vocabulary), np.float32)
        address = self._llama.llama_get_logits(self._context)
        view = self._views.get((address, rows))
        if view is None:
            memory: Any = (ctypes.c_float * (rows * self._vocabulary)).from_address(address)
            view = np.ndarray((rows, self._vocabulary), np.float32, buffer=memory)
            view.flags.writeable = False
            if len(self._views) > MOST_VIEWS:
                self._views.clear()
            self._views[address, rows] = view
        return view
