"""What large values show of themselves where Python prints them: one line, however long a text or a trace is."""

from __future__ import annotations

from collections.abc import Sized

MOST = 60
"""Characters of a text that a line shows."""


def line(kind: str, *parts: object) -> str:
    """`kind(part, part)`; parts that are None are left out."""
    return f"{kind}({', '.join(str(part) for part in parts if part is not None)})"


def quoted(text: str) -> str:
    """The beginning of a text as a literal, so that line breaks and control characters stay in one line."""
    return repr(text) if len(text) <= MOST else repr(text[: MOST - 1] + "…")


def percent(share: float) -> str:
    """0.8314 as "83%"; a share that is neither 0 nor 1 never reads as if it was."""
    text = f"{share:.0%}"
    if text == "0%" and share > 0:
        return "<1%"
    return ">99%" if text == "100%" and share < 1 else text


def counted(things: Sized, noun: str, plural: str = "s") -> str:
    """How many there are: "1 token", "2 tokens"."""
    return f"{len(things)} {noun}{plural if len(things) != 1 else ''}"
