"""One thread at a time on an engine, in the order in which they came.

A forward leaves its logits in memory that the next forward overwrites, and no runtime here may be called by two threads
at once: llama.cpp ends the process. So whatever computes on an engine holds its guard, for as long as it reads what the
engine showed.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from entropix.errors import ModelError

LATELY = 1.0
"""Seconds in which a thread that decodes comes back for its next step."""


class Guard:
    """A reentrant lock that is handed over in the order of asking, so that no thread starves beside a busy one.

    Entering raises ModelError when the model was closed, and in a process that was forked since the model was loaded:
    the runtime's threads exist only in the process that made them, and a forward there would wait for them for ever.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._closed = False
        self._endings: deque[Callable[[], None]] = deque()
        self._left: dict[int, float] = {}
        """When each thread last left."""

    @property
    def is_shared(self) -> bool:
        """Whether another thread uses the engine: it waits, or has left less than `LATELY` ago."""
        me, since = threading.get_ident(), time.monotonic() - LATELY
        return bool(self._waiting) or any(left > since for thread, left in self._left.items() if thread != me)

    @property
    def usable(self) -> bool:
        """Whether the engine may still be called: not closed, and not in a forked process."""
        return not self._closed and os.getpid() == self._process

    def close(self) -> None:
        """Let no further thread in; for the owner that is about to shut the engine down."""
        self._closed = True

    @contextmanager
    def ending(self) -> Iterator[bool]:
        """For giving things back: holds the guard, and never refuses. Whether the engine may be called."""
        if not self.usable:
            yield False
            return
        with self:
            yield True

    def afterwards(self, end: Callable[[], None]) -> None:
        """Call `end` now, or as soon as this thread leaves the guard: the garbage collector ends what was dropped in
        the middle of any call, of a forward too."""
        if self._owner == threading.get_ident():
            self._endings.append(end)
        else:
            end()

    def __enter__(self) -> Guard:
        if os.getpid() != self._process:
            raise ModelError(
                "this process was forked after the model was loaded, and the model's threads did not come along; "
                "start processes with multiprocessing.get_context('spawn')"
            )
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return self
        self._wait(me)
        if self._closed:
            self.__exit__(None, None, None)
            raise ModelError("the model is closed; load it again")
        return self

    def _wait(self, me: int) -> None:
        with self._lock:
            if self._owner is None:
                self._owner, self._depth = me, 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append((me, turn))
        try:
            turn.acquire()  # let go by the thread before, which has made this one the owner
        except BaseException:  # Ctrl-C
            with self._lock:
                if (me, turn) in self._waiting:
                    self._waiting.remove((me, turn))
                    raise
            self._leave()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._depth > 1:
            self._depth -= 1
            return
        try:
            while self._endings:
                self._endings.popleft()()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._left[threading.get_ident()] = time.monotonic()
        with self._lock:
            self._owner, self._depth = None, 0
            if self._waiting:
                self._owner, turn = self._waiting.popleft()
                self._depth = 1
                turn.release()


_guards: WeakKeyDictionary[Any, Guard] = WeakKeyDictionary()
_making = threading.Lock()


def guard_of(engine: object) -> Guard:
    """The one guard of an engine. It is made at the first call, in the process that may use the engine."""
    guard = _guards.get(engine)
    if guard is None:
        with _making:
            guard = _guards.setdefault(engine, Guard())
    return guard
