"""Numbers that a caller gives, as Python's own."""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, TypeGuard


def plain(value: Any) -> Any:
    """A number of another library, such as NumPy's scalars and arrays or tensors without a dimension, a Decimal or what
    has an `__index__`, as the int or float it is; everything else, bool included, unchanged. Checks and JSON then see
    one kind of number."""
    if type(value) in (int, float) or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Decimal):
        return math.nan if value.is_nan() else float(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    counts = hasattr(type(value), "__index__") and not hasattr(value, "shape")
    return operator.index(value) if counts else value


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a plain value is an integer; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)
