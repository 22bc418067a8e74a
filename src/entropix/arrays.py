"""The one place that asks which array library an array belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np

from entropix.types import Array


def namespace(array: Array) -> Any:
    """The array-API namespace of `array`.

    NumPy 2 is such a namespace itself, and going straight to it saves a few microseconds a call, which is what
    a step of a small model can spare."""
    if type(array) is np.ndarray:
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def take_along(array: Array, index: Array) -> Array:
    """`take_along_axis` over the last axis. torch's own looks after negative places, in four launches more."""
    if hasattr(array, "gather"):
        return array.gather(-1, index)
    return namespace(array).take_along_axis(array, index, axis=-1)


def real_dtype(xp: Any, like: Array) -> Any:
    """The widest real dtype on `like`'s device: float64, except where the device has none (Apple's MPS)."""
    if xp is np:
        return np.float64
    return xp.float32 if getattr(getattr(like, "device", None), "type", "") == "mps" else xp.float64


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """`array` in host memory."""
    if type(array) is np.ndarray:
        return array
    if hasattr(array, "detach"):
        return np.asarray(array.detach().cpu().numpy())
    return np.asarray(array)
