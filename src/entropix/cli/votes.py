"""What a vote has found, for the terminal: the answer, how many texts agree, and the other answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from entropix.cli.output import Screen
from entropix.cli.running import reading
from entropix.trace.terminal import one_line, visible
from entropix.types import Result, SearchRecord

if TYPE_CHECKING:
    from entropix.model import Stream

OTHERS = 5
"""Other answers that are shown, most frequent first."""

EVERY = 0.2
"""Seconds between two looks at a vote that goes on."""


class HasAnswer(Protocol):
    """A text of a vote, its answer once it has been read."""

    @property
    def answer(self) -> str | None: ...


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
        rest = others[OTHERS:]
        answers = f"{len(rest)} further answer{'s' if len(rest) > 1 else ''}"
        screen.tell(f"  {sum(share for _, share in rest):4.0%}  {answers}")
    if silent > 0.005:
        screen.tell(f"  {silent:4.0%}  no answer")


def standing(texts: Sequence[HasAnswer]) -> str:
    """A line about a vote that goes on, from its texts so far; none where no vote is held."""
    if not texts:
        return "thinking"
    answers = [text.answer for text in texts if text.answer is not None]
    if not answers:
        return f"{len(texts)} text{'s are' if len(texts) > 1 else ' is'} being written"
    most = max(answers, key=answers.count)
    left = len(texts) - len(answers)
    return f"{answers.count(most)} of {len(answers)} texts say {one_line(most, 40)} · {left} being written"


def standings(questions: Sequence[Sequence[HasAnswer]]) -> str:
    """How the votes of several questions stand, of the first three in detail."""
    prefix = f"{len(questions)} questions: " if len(questions) > 1 else ""
    return prefix + " | ".join(standing(texts) for texts in questions[:3])


@contextlib.contextmanager
def showing_votes(screen: Screen, stream: Stream) -> Iterator[None]:
    """Within, a line on the terminal says how the votes of a stream stand; nothing where standard error is none."""
    with vote_line(screen) as show:

        def look() -> bool:
            show(lambda: reading(stream) or standings([s.branches if s else [] for s in stream.searches]))
            return True

        stream.watch = look
        yield


@contextlib.contextmanager
def vote_line(screen: Screen) -> Iterator[Callable[[Callable[[], str]], None]]:
    """A line about votes that go on. What it gives is called as often as one likes, with a function that says the line,
    which is asked now and then."""
    last = 0.0
    if screen.quiet or not screen.err.file.isatty():
        yield lambda line: None
        return
    with screen.err.status(Text("thinking")) as status:

        def show(line: Callable[[], str]) -> None:
            nonlocal last
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                status.update(Text(visible(line())))

        yield show
