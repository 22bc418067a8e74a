"""The application in a process or a thread."""

from __future__ import annotations

import socket
import sys
import threading

from entropix.engines.base import Yielding
from entropix.model import Model
from entropix.serve.app import Server
from entropix.serve.listening import Uvicorn, listen, make_config, url_of
from entropix.serve.settings import Settings

SWITCH_INTERVAL = 0.0005
"""Seconds after which Python hands over between threads. With the default, 5 ms, the engine's thread often waits
longer for its turn after a forward than everything it then does takes."""


def make_uvicorn(server: Server) -> Uvicorn:
    """A uvicorn server for the application, not yet running."""
    grace = server.settings.grace
    return Uvicorn(make_config(server.app, grace), server.scheduler, grace)


def serve(server: Server, sock: socket.socket, running: Uvicorn | None = None) -> int | None:
    """Answer requests until a signal comes; its number. running: by default `make_uvicorn`'s."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    engine = server.scheduler.model.engine
    if isinstance(engine, Yielding):
        engine.yielding = True
    running = running or make_uvicorn(server)
    try:
        running.run(sockets=[sock])
    finally:
        server.scheduler.stop()  # nothing may compute when the model is closed
    return running.interrupted


class Background:
    """A server in a thread of this process, for tests and notebooks: `with Background(model, settings) as url`."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.server = Server(model, settings)
        self._running = make_uvicorn(self.server)
        self._socket = listen(settings)
        self.url = url_of(self._socket)
        self._thread = threading.Thread(target=self._running.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        while not self._running.started and self._thread.is_alive():
            self._thread.join(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.should_exit = True
        self.server.scheduler.drain(0)
        self._thread.join(30)
        self._socket.close()
