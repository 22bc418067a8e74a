"""Numbers that a caller gives, as Python's own."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, TypeGuard


def plain(value: Any) -> Any:
    """A number of another library, such as NumPy's scalars and arrays or tensors without a dimension, as the int or
    float it is; everything else, bool included, unchanged. Checks and JSON then see one kind of number."""
    if type(value) in (int, float) or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a plain value is an integer; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)
