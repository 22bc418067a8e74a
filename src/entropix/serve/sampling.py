"""The sampling fields that clients send → filters and penalties, which hold under every policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from entropix.errors import ParameterError
from entropix.sampling import Filters, Repetition
from entropix.serve.errors import invalid
from entropix.serve.schema import Common

T = TypeVar("T")


def filters_of(asked: Common) -> Filters:
    """What is taken out of the window before the policy draws. Raises ApiError."""
    given = {
        "top_k": max(asked.top_k or 0, 0),
        "min_p": asked.min_p,
        "typical": asked.typical_p,
        "top_h": asked.top_h,
        "xtc_probability": asked.xtc_probability,
        "xtc_threshold": asked.xtc_threshold,
        "adaptive_target": asked.adaptive_target,
        "adaptive_decay": asked.adaptive_decay,
    }
    return _made(Filters, given)


def repetition_of(asked: Common) -> Repetition:
    """Penalties on what has been said. Raises ApiError."""
    if None not in (asked.repetition_penalty, asked.repeat_penalty):
        raise invalid("repetition_penalty and repeat_penalty are the same; give one of them", "repeat_penalty")
    given = {
        "repetition": asked.repetition_penalty or asked.repeat_penalty,
        "presence": asked.presence_penalty,
        "frequency": asked.frequency_penalty,
        "last": asked.repeat_last_n,
        "dry_multiplier": asked.dry_multiplier,
        "dry_base": asked.dry_base,
        "dry_allowed_length": asked.dry_allowed_length,
    }
    return _made(Repetition, given)


def _made(kind: Callable[..., T], given: Mapping[str, float | None]) -> T:
    """Settings of the fields that were given. Raises ApiError."""
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ParameterError as error:
        raise invalid(str(error)) from None
