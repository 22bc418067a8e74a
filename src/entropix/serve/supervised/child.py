"""The engine's side of `--supervised`: the server as ever, that takes its orders from the process in front."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from entropix.serve.app import Server
from entropix.serve.listening import Uvicorn, make_config
from entropix.serve.scheduler import Scheduler

PR_SET_PDEATHSIG = 1

BEAT_EVERY = 0.5
"""Seconds between two signs of progress."""


class Lifeline:
    """The connection to the process in front. When it breaks, that process is gone, and this one ends at once.

    sockets: the numbers of the sockets to listen on and of the connection. Signals are ignored from here on: a service
    manager may send them to every process, and the one in front passes them on."""

    def __init__(self, sockets: str) -> None:
        listening, control = map(int, sockets.split(","))
        self.listening = socket.socket(fileno=listening)
        self._control = socket.socket(fileno=control)
        for sock in (self.listening, self._control):
            sock.set_inheritable(False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if sys.platform == "linux":  # also while the native library holds Python's lock
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        faulthandler.enable()  # where a crash was, on standard error
        self._server: Uvicorn | None = None
        threading.Thread(target=self._listen, name="entropix-lifeline", daemon=True).start()

    def serving(self, server: Server, name: str) -> Uvicorn:
        """What runs the application here. name: of the model."""
        grace = server.settings.grace
        # the socket is the front's alone, and so is the header in which it sends the client's address
        running = EngineUvicorn(make_config(server.app, grace, forwarded_allow_ips="*"), server.scheduler, grace)
        running.lifeline = self
        running.headway = Headway(server.scheduler)
        running.said = {"name": name, "paths": sorted(server.guard.paths)}
        return running

    def ready(self, server: Uvicorn, said: dict[str, object]) -> None:
        """Say that this process answers, and take orders for `server`."""
        self._server = server
        self._control.sendall(json.dumps(said).encode() + b"\n")

    def beat(self) -> None:
        """Tell the process in front that this one gets on."""
        with contextlib.suppress(OSError):  # it is gone, or has not read so many that it knows
            self._control.send(b".", socket.MSG_DONTWAIT)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while self._control.recv(1):  # each byte stands for a signal
                if self._server is not None:
                    self._server.handle_exit(signal.SIGTERM, None)
        os._exit(1)


class Headway:
    """Whether an engine's thread gets on, from one look to the next. One that waits for work does."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._seen: tuple[int, float] | None = None

    def made(self) -> bool:
        before, self._seen = self._seen, self._scheduler.progress
        return self._seen is None or self._seen != before


class EngineUvicorn(Uvicorn):
    """Says when it is ready and that it gets on, and leaves signals alone."""

    lifeline: Lifeline
    headway: Headway
    said: dict[str, object]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.lifeline.ready(self, self.said)
        self._beating = asyncio.create_task(self._beat())  # the loop alone would let it go

    async def _beat(self) -> None:
        """A sign of progress as long as there is some. It comes from the event loop, which must get on as well."""
        while True:
            if self.headway.made():
                self.lifeline.beat()
            await asyncio.sleep(BEAT_EVERY)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
