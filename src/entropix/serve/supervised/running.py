"""`entropix serve --supervised`, from its start to its end."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from entropix.errors import ParameterError
from entropix.serve.listening import Uvicorn, make_config, url_of
from entropix.serve.settings import Settings
from entropix.serve.supervised.front import Front
from entropix.serve.supervised.supervisor import Supervisor

INTERRUPTED = 128 + signal.SIGINT


def supervise(settings: Settings, sock: socket.socket, command: Sequence[str], tell: Callable[[str], None]) -> int:
    """Answer on `sock` until a signal comes, or until the engine's process does not start; the exit code.

    command: starts the engine's process. tell: given the line that says where the server is."""
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        raise ParameterError("--supervised needs Unix sockets, which this system has not; leave it out")
    return asyncio.run(_supervise(settings, sock, command, tell))


async def _supervise(
    settings: Settings, sock: socket.socket, command: Sequence[str], tell: Callable[[str], None]
) -> int:
    front = Front(settings)
    told = False

    def ready(said: dict[str, Any]) -> None:
        nonlocal told
        front.know(said["paths"])
        if not told:
            tell(f"{said['name']} at {url}")
        told = True

    def end() -> None:
        running.should_exit = True

    url = url_of(sock)
    most = settings.places + settings.queue
    supervisor = front.supervisor = Supervisor(command, most, ready, end, settings.hang_limit)
    running = Uvicorn(make_config(front.app, settings.grace, lifespan="off", ws="none"), supervisor, settings.grace)
    watching = asyncio.create_task(supervisor.run())
    try:
        await running.serve(sockets=[sock])
    finally:
        supervisor.drain(0)
        await watching
    if supervisor.code is not None:
        return supervisor.code
    return INTERRUPTED if running.interrupted == signal.SIGINT else 0
