"""A process on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Callable

import pytest


class Terminal:
    """A process on a terminal of its own; `seen` is what it has written and nobody has waited for yet."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read until `text` appears after what was waited for before."""
        self.read(lambda: text in self.seen)
        self.seen = self.seen.partition(text)[2]

    def read(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not enough():
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            if not ready:
                self.process.kill()
                pytest.fail(f"nothing more came after {self.seen!r}")
            try:
                piece = os.read(self.master, 1000)
            except OSError:  # the other side is gone
                piece = b""
            if not piece:
                assert enough(), f"ended after {self.seen!r}"
                return
            self.seen += piece.decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        with contextlib.suppress(AssertionError):
            self.read(lambda: False)
        os.close(self.master)
        return self.process.wait(timeout=30)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
