"""What endpoints send → chunks of text with their tokens, in both shapes that log-probabilities have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from entropix.errors import EndpointError

IMPOSSIBLE = -1000.0
"""Log-probabilities below this stand for probability 0: APIs write −9999."""


HALF = re.compile(r"\ufffd|^bytes:|\\x[0-9a-f]{2}")
"""In a label: it stands for bytes that are no whole character."""


class Top(NamedTuple):
    """One of the likeliest tokens. data: its bytes, None where they are not known; id: None where it is not sent."""

    label: str
    data: bytes | None
    logprob: float
    id: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A token of a text. top: the likeliest in its place, likeliest first, the token itself among them or not."""

    label: str
    data: bytes | None
    logprob: float | None
    id: int | None
    top: tuple[Top, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompt, and how many of them a kept prefix saved."""

    prompt: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a stream. finish: why the text ended, None while it goes on. thinks: it holds text of a reasoning
    part, which is no part of the answer."""

    text: str = ""
    entries: tuple[Entry, ...] = field(default=())
    finish: str | None = None
    stopped: bool = False
    usage: Usage | None = None
    thinks: bool = False


def read_chunk(raw: Any) -> Chunk:
    """A server-sent event's JSON as a Chunk. Raises EndpointError for what has another shape."""
    try:
        usage = _usage(raw.get("usage"))
        choices = raw.get("choices") or []
        if not choices:
            return Chunk(usage=usage)
        choice = choices[0]
        delta = choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        if not isinstance(text, str):
            raise TypeError("the text is no string")
        return Chunk(
            text,
            _entries(choice.get("logprobs")),
            choice.get("finish_reason"),
            isinstance(choice.get("stop_reason"), str),
            usage,
            bool(delta.get("reasoning_content") or delta.get("reasoning")),
        )
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise EndpointError(f"the endpoint sent a chunk that is not of OpenAI's shape: {error}") from None


def _usage(raw: Any) -> Usage | None:
    if not isinstance(raw, Mapping):
        return None
    details = raw.get("prompt_tokens_details") or {}
    return Usage(int(raw.get("prompt_tokens") or 0), int(details.get("cached_tokens") or 0))


def _entries(raw: Any) -> tuple[Entry, ...]:
    if not raw:
        return ()
    if raw.get("content") is not None:
        return tuple(
            Entry(
                e["token"],
                _bytes(e),
                _logprob(e.get("logprob")),
                _id(e),
                _ranked(map(_top, e.get("top_logprobs") or ())),
            )
            for e in raw["content"]
        )
    labels = raw.get("tokens") or ()
    tops = raw.get("top_logprobs") or [None] * len(labels)
    return tuple(
        Entry(label, _bytes({"token": label}), _logprob(logprob), None, _ranked(_legacy(top)))
        for label, logprob, top in zip(labels, raw.get("token_logprobs") or (), tops, strict=True)
    )


def _top(raw: Any) -> Top:
    logprob = _logprob(raw.get("logprob"))
    return Top(raw["token"], _bytes(raw), -math.inf if logprob is None else logprob, _id(raw))


def _legacy(raw: Any) -> list[Top]:
    return [Top(label, _bytes({"token": label}), float(logprob), None) for label, logprob in (raw or {}).items()]


def _ranked(tops: Any) -> tuple[Top, ...]:
    return tuple(sorted((t for t in tops if t.logprob > IMPOSSIBLE), key=lambda t: -t.logprob))


def _logprob(value: Any) -> float | None:
    if value is None:
        return None
    value = float(value)
    return value if IMPOSSIBLE < value <= 1e-3 else None  # NaN is not between, either


def _id(raw: Any) -> int | None:
    value = raw.get("id")
    return value if isinstance(value, int) else None


def _bytes(raw: Any) -> bytes | None:
    """A token's bytes; of a label that stands for half a character they are not known."""
    label = raw["token"]
    if not isinstance(label, str):
        raise TypeError("a token is no string")
    if raw.get("bytes") is not None:
        return bytes(raw["bytes"])
    return None if HALF.search(label) else label.encode("utf-8", "surrogatepass")
