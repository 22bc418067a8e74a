"""A process that answers HTTP, whatever stands behind it: a socket, uvicorn, signals, an orderly end."""

from __future__ import annotations

import socket
from types import FrameType
from typing import Any, Protocol

import uvicorn

from entropix.errors import ParameterError
from entropix.serve.connection import Connection
from entropix.serve.settings import Settings


class Stoppable(Protocol):
    """What computes the answers."""

    def drain(self, grace: float) -> None:
        """Take nothing more; end what still runs after `grace` seconds. Called in signal handlers, too."""
        ...

    @property
    def alive(self) -> bool:
        """Whether anything can still be answered."""
        ...


class Uvicorn(uvicorn.Server):
    """Stops at the first signal in order, and at the second at once. Until its answers have ended it listens."""

    def __init__(self, config: uvicorn.Config, behind: Stoppable, grace: float) -> None:
        super().__init__(config)
        self.behind, self.grace = behind, grace
        self.interrupted: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.interrupted is not None:
            self.should_exit = self.force_exit = True
            self.behind.drain(0)
            return
        self.interrupted = sig
        self.should_exit = not self.started
        self.behind.drain(self.grace)

    async def on_tick(self, counter: int) -> bool:
        # a request while running answers end gets 503; a closed socket would look like a crash
        if self.interrupted is not None and not self.behind.alive:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the application as it is, with a traceback in the log
            await self.lifespan.shutdown()


def make_config(app: Any, grace: float, **options: Any) -> uvicorn.Config:
    """How uvicorn runs here. grace: seconds that answers get to end; options: of uvicorn, before ours."""
    ours = {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "lifespan": "on",
        "timeout_graceful_shutdown": max(round(grace), 0) + 5,
        "timeout_keep_alive": 30,
        "http": Connection,
    }
    return uvicorn.Config(app, **{**ours, **options})


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
