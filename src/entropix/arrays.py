"""The one place that asks which array library an array belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, TypeVar

import numpy as np

from entropix.types import Array

T = TypeVar("T")


def namespace(array: Array) -> Any:
    """The array-API namespace of `array`.

    NumPy 2 is such a namespace itself, and going straight to it saves a few microseconds per call, which is what
    a step of a small model can spare."""
    if type(array) is np.ndarray:
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def map_arrays(function: Callable[..., Array], first: T, *others: T) -> T:
    """`function` of each array of a dataclass of arrays, field by field, also of a dataclass within it. A field that is
    None in `first` stays None. others: of the same class; their arrays are further arguments."""
    found = {}
    for name in first.__dataclass_fields__:  # type: ignore[attr-defined]
        value = getattr(first, name)
        if value is not None:
            rest = [getattr(other, name) for other in others]
            value = map_arrays(function, value, *rest) if is_dataclass(value) else function(value, *rest)
        found[name] = value
    return type(first)(**found)


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
