"""What a vote has found, for the terminal: the answer, how many texts agree, and the other answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from entropix.cli.output import Screen
from entropix.trace.terminal import one_line, visible
from entropix.types import Result, SearchRecord

if TYPE_CHECKING:
    from entropix.model import Stream

OTHERS = 5
"""Other answers that are shown, most frequent first."""

EVERY = 0.2
"""Seconds between two looks at a vote that goes on."""


def tell_vote(screen: Screen, result: Result) -> None:
    """The vote of an answer on standard error; nothing where none was held."""
    search = result.search
    if search is None or not search.shares:
        return
    screen.tell(f"vote: {one_line(str(search.answer), 60)} · {result.confidence:.0%} sure: {result.confidence_source}")
    tell_others(screen, search)


def tell_others(screen: Screen, search: SearchRecord) -> None:
    """The answers that lost, with their shares."""
    if not search.shares:
        return
    others = [(answer, share) for answer, share in search.shares.items() if answer != search.answer]
    for answer, share in others[:OTHERS]:
        screen.tell(f"  {share:4.0%}  {one_line(answer, 60)}")
    silent = 1 - sum(search.shares.values())
    if len(others) > OTHERS:
        screen.tell(f"  {sum(share for _, share in others[OTHERS:]):4.0%}  {len(others) - OTHERS} further answers")
    if silent > 0.005:
        screen.tell(f"  {silent:4.0%}  no answer")


def standing(search: SearchRecord | None) -> str:
    """A line about a vote that goes on."""
    if search is None:
        return "thinking"
    ended = sum(branch.answer is not None for branch in search.branches)
    if not ended:
        return f"{len(search.branches)} texts are written"
    answers = [branch.answer for branch in search.branches if branch.answer is not None]
    most = max(answers, key=answers.count)
    return (
        f"{answers.count(most)} of {ended} texts say {one_line(most, 40)} · {len(search.branches) - ended} are written"
    )


@contextlib.contextmanager
def showing_votes(screen: Screen, stream: Stream) -> Iterator[None]:
    """Within, a line on the terminal says how the votes stand; nothing where standard error is no terminal."""
    if screen.quiet or not screen.err.file.isatty():
        yield
        return
    last = 0.0
    with screen.err.status(Text("thinking")) as status:

        def look() -> bool:
            nonlocal last
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                searches = stream.searches
                lines = [standing(search) for search in searches]
                prefix = f"{len(lines)} questions: " if len(lines) > 1 else ""
                status.update(Text(visible(prefix + " | ".join(lines[:3]))))
            return True

        stream.watch = look
        yield
