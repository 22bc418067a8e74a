"""The engine's side of `--supervised`: the server as ever, that takes its orders from the process in front."""

from __future__ import annotations

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

PR_SET_PDEATHSIG = 1


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
        running.said = {"name": name, "paths": sorted(server.guard.paths)}
        return running

    def ready(self, server: Uvicorn, said: dict[str, object]) -> None:
        """Say that this process answers, and take orders for `server`."""
        self._server = server
        self._control.sendall(json.dumps(said).encode() + b"\n")

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while self._control.recv(1):  # each byte stands for a signal
                if self._server is not None:
                    self._server.handle_exit(signal.SIGTERM, None)
        os._exit(1)


class EngineUvicorn(Uvicorn):
    """Says when it is ready, and leaves signals alone."""

    lifeline: Lifeline
    said: dict[str, object]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.lifeline.ready(self, self.said)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
