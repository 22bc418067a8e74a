"""The engine's process: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from entropix.errors import ParameterError
from entropix.serve.errors import ApiError, unavailable

log = logging.getLogger("entropix.serve")

OPTION = "--engine-process"
"""Given to the process that is to be the engine's, with the numbers of two sockets: to listen on, and ours."""

STARTS = 5
"""Starts in a row that may fail, once one has not."""

STABLE = 60.0
"""Seconds after which a process counts as one that works, so that the next is started at once when it ends."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a start: none before the first, as most crashes are rare, then these, doubled each time."""

LONGEST_FOLDER = 90
"""Bytes: a socket's name has at most 104, on macOS."""

LOOKS = 5
"""Looks for a sign of progress within the limit. They are counted, and not the time: a process in front that was
stopped itself has missed no more than one."""

HANGS = 40.0
"""Seconds that a process may take to end beyond those that its answers got."""


@dataclass(eq=False)
class EngineProcess:
    """A process that answers at the socket `path`. ended: how, once it has."""

    path: str
    process: asyncio.subprocess.Process
    control: asyncio.StreamWriter
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Supervisor:
    """Keeps one engine's process running. command: starts it, without OPTION. most: requests that may wait for one.
    on_ready: called with what each says of itself once it answers. on_end: called when there will be none any more.
    hang_limit: seconds without a sign of progress after which one that answers is killed, 0 for never."""

    def __init__(
        self,
        command: Sequence[str],
        most: int,
        on_ready: Callable[[dict[str, Any]], None],
        on_end: Callable[[], None],
        hang_limit: float = 0.0,
    ) -> None:
        self.command, self.most, self.hang_limit = command, most, hang_limit
        self.on_ready, self.on_end = on_ready, on_end
        self.restarts = self.waiting = 0
        self.code: int | None = None
        """The exit code of a process whose end is the end of all."""
        self.alive = True
        self._worked = False
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._up: asyncio.Future[EngineProcess] = self._loop.create_future()
        self._running: asyncio.subprocess.Process | None = None
        self._current: EngineProcess | None = None
        self._orders: asyncio.StreamWriter | None = None
        self._starts = 0
        try:
            self._folder = tempfile.mkdtemp(prefix="entropix-")  # of this user alone, and so is what is in it
        except OSError as error:
            raise ParameterError(f"there is no folder for a socket: {error.strerror}; set TMPDIR to one") from None
        if len(os.fsencode(self._folder)) > LONGEST_FOLDER:
            shutil.rmtree(self._folder)
            raise ParameterError(f"the name {self._folder} is too long for a socket's; set TMPDIR to a shorter one")

    @property
    def state(self) -> str:
        if self._stopping.is_set() or not self.alive:
            return "stopping"
        if self._current is not None:
            return "running"
        return "restarting" if self._worked else "starting"

    async def engine(self, until: float, *, again: bool) -> EngineProcess:
        """The process that answers, waited for until the loop's clock says `until`. again: the request has waited
        before, so it has a place here. Raises ApiError."""
        if self._current is not None:
            return self._current
        self.check_open()
        if self.waiting >= self.most and not again:
            raise unavailable(f"the engine's process is {self.state}, and {self.waiting} requests wait for it already")
        self.waiting += 1
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(self._up)
        except TimeoutError:
            raise waited(self.state) from None
        finally:
            self.waiting -= 1

    def check_open(self) -> None:
        """Raise the ApiError that a request gets when nothing is started any more."""
        if self._stopping.is_set() or not self.alive:
            raise stopping()

    def drain(self, grace: float) -> None:
        """As `listening.Stoppable`: pass a signal on."""
        self._loop.call_soon_threadsafe(self._stop, grace)

    async def run(self) -> None:
        """Until stopped, or until a process will not start."""
        failed, pause = 0, 0.0
        try:
            while not self._stopping.is_set():
                try:
                    worked, code = await self._one()
                except OSError as error:  # no memory or no processes left, as a rule
                    log.error(
                        "the engine's process cannot be started", extra={"event": "engine_ended", "how": str(error)}
                    )
                    worked, code = None, 1
                if self._stopping.is_set():
                    break
                failed = failed + 1 if worked is None else 0
                if not self._worked or failed >= STARTS:
                    self._give_up(code, failed)
                    break
                stable = worked is not None and worked > STABLE
                pause = 0.0 if stable or not self.restarts else min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                self.restarts += 1
                log.warning(
                    "the engine's process is started again",
                    extra={"event": "engine_restart", "restarts": self.restarts, "in_seconds": pause},
                )
                await self._sleep(pause)
        finally:
            self.alive = False
            if not self._up.done():
                self._up.set_exception(stopping())
                self._up.exception()  # it is read here, so that asyncio does not warn
            shutil.rmtree(self._folder, ignore_errors=True)
            self.on_end()

    async def _one(self) -> tuple[float | None, int]:
        """One process from its start to its end: the seconds it has answered, None if it never did, and its exit code,
        negative for a signal."""
        self._starts += 1
        path = os.path.join(self._folder, str(self._starts))
        ours, its = socket.socketpair()
        with its, socket.socket(socket.AF_UNIX) as listening:
            # of this process alone: once it is dead, no request waits in a backlog that the next one would inherit
            listening.bind(path)
            listening.listen(1024)
            fds = (listening.fileno(), its.fileno())
            process = await asyncio.create_subprocess_exec(
                *self.command,
                OPTION,
                f"{fds[0]},{fds[1]}",
                pass_fds=fds,
                stdin=asyncio.subprocess.DEVNULL,
                process_group=0,  # Ctrl-C reaches this process alone, which passes it on
            )
        self._running = process
        reader, self._orders = await asyncio.open_connection(sock=ours)
        try:
            if self._stopping.is_set():
                process.kill()
            said = await reader.readline()
            engine, since, hung = None, time.monotonic(), False
            if said.endswith(b"\n"):
                engine = EngineProcess(path, process, self._orders)
                self._ready(engine, json.loads(said))
                hung = await self._watch(reader)
                if hung:
                    process.kill()
            code = await process.wait()
        finally:
            self._running = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            self._orders.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
        how = f"no progress for {self.hang_limit:g} s" if hung else described(code)
        if engine is not None:
            self._current = None
            self._up = self._loop.create_future()
            engine.ended.set_result(how)
        if not self._stopping.is_set():
            log.error("the engine's process has ended", extra={"event": "engine_ended", "how": how, "code": code})
        return None if engine is None else time.monotonic() - since, code

    async def _watch(self, reader: asyncio.StreamReader) -> bool:
        """Wait for the end of a process that answers; True as soon as it hangs: it says that it gets on, and has not
        said so for the whole limit."""
        look = self.hang_limit / LOOKS if self.hang_limit else None
        missed = 0
        while missed < LOOKS:
            try:
                async with asyncio.timeout(look):
                    if not await reader.read(1024):
                        return False
            except TimeoutError:
                missed += 1
            except ConnectionError:
                return False
            else:
                missed = 0
        return True

    def _ready(self, engine: EngineProcess, said: dict[str, Any]) -> None:
        self._worked = True
        self._current = engine
        self._up.set_result(engine)
        self.on_ready(said)

    def _give_up(self, code: int, failed: int) -> None:
        self.code = code if code >= 0 else 128 - code
        if failed > 1 or code < 0:
            times = f"{failed} times in a row " if failed > 1 else ""
            log.error(
                f"the engine's process did not start {times}({described(code)}); giving up",
                extra={"event": "engine_given_up"},
            )

    def _stop(self, grace: float) -> None:
        self._stopping.set()
        if self._running is None:
            return
        if self._current is None:  # it has nothing to lose
            self._running.kill()
            return
        if self._orders is not None:
            self._orders.write(b".")
        self._loop.call_later(grace + HANGS, self._kill, self._running)

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def waited(how: str) -> ApiError:
    """A request's time is over. how: what it has waited as, or for."""
    return unavailable(
        f"the request has waited for its whole time limit; the engine's process was {how}", code="timeout"
    )


def stopping() -> ApiError:
    return unavailable("the server is shutting down", retry=10, code="shutting_down")


def described(code: int) -> str:
    """How a process ended, from its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
