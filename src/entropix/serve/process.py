"""The server as a process: sockets, signals, an orderly end."""

from __future__ import annotations

import socket
import sys
import threading
from types import FrameType

import uvicorn

from entropix.errors import ParameterError
from entropix.model import Model
from entropix.serve.app import Server
from entropix.serve.connection import Connection
from entropix.serve.settings import Settings

SWITCH_INTERVAL = 0.0005
"""Seconds after which Python hands over between threads. With the default, 5 ms, the engine's thread often waits
longer for its turn after a forward than everything it then does takes."""


class Uvicorn(uvicorn.Server):
    """Stops at the first signal in order, and at the second at once. Until its answers have ended it listens."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self.server = server
        self.interrupted: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        scheduler = self.server.scheduler
        if self.interrupted is not None:
            self.should_exit = self.force_exit = True
            scheduler.drain(0)
            return
        self.interrupted = sig
        self.should_exit = not self.started
        scheduler.drain(self.server.settings.grace)

    async def on_tick(self, counter: int) -> bool:
        # a request while running answers end gets 503; a closed socket would look like a crash
        if self.interrupted is not None and not self.server.scheduler.alive:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the application as it is, with a traceback in the log
            await self.lifespan.shutdown()


def listen(settings: Settings) -> socket.socket:
    """A listening socket. Raises ParameterError when the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise ParameterError(
            f"cannot listen on {settings.host} port {settings.port}: {(error.strerror or str(error)).lower()}; "
            "choose another with --host and --port (0 takes a free port)"
        ) from None
    sock.set_inheritable(True)
    return sock


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_uvicorn(server: Server) -> Uvicorn:
    """A uvicorn server for the application, not yet running."""
    config = uvicorn.Config(
        server.app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=max(round(server.settings.grace), 0) + 5,
        timeout_keep_alive=30,
        http=Connection,
    )
    return Uvicorn(config, server)


def serve(server: Server, sock: socket.socket) -> int | None:
    """Answer requests until a signal comes; its number."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    running = make_uvicorn(server)
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
