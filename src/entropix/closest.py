"""The known names closest to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, whatever its case and whether it has - or _; None where none is."""
    plain = {_plain(other): other for other in reversed(list(known))}
    found = get_close_matches(_plain(name), plain, 1)
    return plain[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" for a message, "" where no name is like it."""
    found = closest(name, known)
    return f"; did you mean {found}?" if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
