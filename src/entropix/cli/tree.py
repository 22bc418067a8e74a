"""The tree of a search: live while it grows, and printed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from entropix.cli.output import WIDE, Screen
from entropix.trace.tree import search_tree
from entropix.types import SearchRecord

if TYPE_CHECKING:
    from entropix.model import Stream

EVERY = 0.1
"""Seconds between two drawings."""


def show_tree(console: Console, search: SearchRecord | None) -> None:
    """Print a search's tree, or nothing where there was none."""
    if search is None:
        return
    if not console.file.isatty():
        console.width = WIDE
    console.print(search_tree(console, search))


@contextlib.contextmanager
def showing_tree(screen: Screen, stream: Stream, wanted: bool) -> Iterator[None]:
    """Within, the first answer's tree is drawn while it grows, where standard error is a terminal. The drawing
    goes away at the end, or when the answer begins to stream on the same terminal."""
    console = screen.err
    if not wanted or not console.file.isatty():
        yield
        return
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    last = 0.0

    def draw() -> bool:
        nonlocal last
        said = any(job.emitted for job in stream._jobs)
        if said and screen.out.file.isatty():
            live.stop()  # the answer has begun to stream on the same terminal
            return True
        search = stream.searches[0]
        if search is not None and time.monotonic() - last >= EVERY:
            last = time.monotonic()
            live.update(search_tree(console, search, most=max(console.height - 4, 1)), refresh=True)
        return True

    stream.watch = draw
    with live:
        yield
