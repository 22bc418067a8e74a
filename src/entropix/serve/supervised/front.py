"""The application of the process in front: passes requests to the engine's process, and again to the next one when it
crashes before the client has been sent anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from entropix.serve.errors import SERVER, ApiError, body_of, failed, framed, response_of
from entropix.serve.guard import AccessGuard, with_cors
from entropix.serve.settings import Settings
from entropix.serve.supervised.metrics import FrontCollector, without_requests
from entropix.serve.supervised.supervisor import EngineProcess, Supervisor, waited
from entropix.serve.supervised.upstream import HOP, Header, Lost, Upstream, ask

TOGETHER = 2
"""Crashes that a request may have been in before it is suspected: from then on it runs without other suspects."""

MOST = 4
"""Crashes after which it is refused: in the last two it was the only suspect, as hardly anybody is by chance."""

NOTICE = 10.0
"""Seconds that may lie between the loss of a connection and the end of the process that held it."""

FORWARDED = b"x-forwarded-for"
EVENTS, LINES = b"text/event-stream", b"application/x-ndjson"


class Crashed(Exception):
    """The engine's process has ended. how: its exit code or signal; inside: whether it had the request."""

    def __init__(self, how: str, inside: bool) -> None:
        super().__init__(how)
        self.how, self.inside = how, inside


@dataclass
class Relayed:
    """A request as it is sent on, as often as need be."""

    method: str
    path: str
    target: bytes
    headers: list[Header]
    body: bytes


class Front:
    """`app` is the ASGI application. supervisor: has the engine's process; set before the first request."""

    supervisor: Supervisor

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.guard = AccessGuard(self._answer, settings, frozenset({"/health", "/ready", "/metrics"}), relays=True)
        self.app = with_cors(self.guard, settings)
        self.crashes: Counter[str] = Counter()
        """Requests that were in a crash: "resent", "cut" in the middle of a stream, or "refused"."""
        self._alone = asyncio.Lock()
        self.registry = CollectorRegistry()
        self.registry.register(FrontCollector(self))

    def know(self, paths: list[str]) -> None:
        """Count and log requests by these paths, which the engine's process has named."""
        self.guard.paths = frozenset(paths)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        out = Out(send, scope["path"])
        try:
            own = self._own(scope["path"])
            if own is not None:
                await own(scope, receive, send)
                return
            asked = await _read(scope, receive)
            if asked is not None:
                await _unless_gone(self._relay(asked, out), receive)
        except ApiError as error:
            if not await out.fail(error):
                await response_of(error, scope["path"])(scope, receive, send)

    def _own(self, path: str) -> Response | None:
        """What this process answers itself while there is no other."""
        state = self.supervisor.state
        if state == "running":
            return None
        if path == "/health":
            return JSONResponse({"status": state, "restarts": self.supervisor.restarts})
        if path == "/ready":
            return ApiError(503, f"the engine's process is {state}", kind=SERVER, code="not_ready", retry=5).response()
        if path == "/metrics":
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
        return None

    async def _relay(self, asked: Relayed, out: Out) -> None:
        until = asyncio.get_running_loop().time() + self.settings.time_limit
        crashes, again = 0, False
        while True:
            async with self._turn(crashes >= TOGETHER, until, again) as engine:
                try:
                    await self._once(engine, asked, out)
                    return
                except Crashed as crash:
                    how, again = crash.how, True
                    crashes += crash.inside
            if out.said:
                self.crashes["cut"] += 1
                raise _cut(how)
            self.supervisor.check_open()
            if crashes >= MOST:
                self.crashes["refused"] += 1
                raise ApiError(
                    500,
                    f"the engine's process has crashed {crashes} times with this request in it, last by {how}; it is "
                    "not tried again. Other requests are not affected",
                    kind=SERVER,
                    code="engine_crashed",
                )
            self.crashes["resent"] += 1

    @contextlib.asynccontextmanager
    async def _turn(self, suspect: bool, until: float, again: bool) -> AsyncIterator[EngineProcess]:
        """The engine's process, for a suspect without other suspects. Raises ApiError."""
        if suspect:
            try:
                async with asyncio.timeout_at(until):
                    await self._alone.acquire()
            except TimeoutError:
                raise waited("busy with others that were in its crashes") from None
        try:
            yield await self.supervisor.engine(until, again=again)
        finally:
            if suspect:
                self._alone.release()

    async def _once(self, engine: EngineProcess, asked: Relayed, out: Out) -> None:
        """Pass a request on and its answer back. Raises Crashed."""
        try:
            upstream = await ask(engine.path, asked.method, asked.target, asked.headers, asked.body)
        except OSError:
            raise Crashed(await self._end_of(engine), inside=False) from None
        try:
            await upstream.head()
            if asked.path == "/metrics" and upstream.status == 200:
                body = without_requests(await upstream.rest()) + generate_latest(self.registry)
                await out.whole(upstream, body)
            else:
                await out.follow(upstream)
        except Lost:
            raise Crashed(await self._end_of(engine), inside=True) from None
        finally:
            upstream.close()

    async def _end_of(self, engine: EngineProcess) -> str:
        """How a process ended that has let a request go. Raises ApiError when it lives on."""
        try:
            return await asyncio.wait_for(asyncio.shield(engine.ended), NOTICE)
        except TimeoutError:
            raise failed() from None


class Out:
    """What the client gets. said: whether it has been sent anything but comments."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self._path = send, path
        self._kind = b""
        self._begun = False
        self.said = False

    async def whole(self, upstream: Upstream, body: bytes) -> None:
        self.said = True
        length = [] if upstream.status in (204, 304) else [(b"content-length", b"%d" % len(body))]
        await self._start(upstream, length)
        await self._body(body, more=False)

    async def follow(self, upstream: Upstream) -> None:
        """Pass an answer on as it comes; of a stream only what is whole, so that an error can follow it."""
        kind = next((v for k, v in upstream.headers if k == b"content-type"), b"").partition(b";")[0]
        if self._begun and (upstream.status != 200 or kind != self._kind):
            await self._end((await upstream.rest()).strip())
            return
        end = {EVENTS: b"\n\n", LINES: b"\n"}.get(kind)
        if end is None:  # until all of it is here, a crash is not the client's concern
            await self.whole(upstream, await upstream.rest())
            return
        self._kind = kind
        await self._start(upstream, [])
        held = b""
        while chunk := await upstream.chunk():
            whole, mark, held = (held + chunk).rpartition(end)
            if mark:
                self.said = self.said or _says(whole)
                await self._body(whole + mark)
        await self._body(held, more=False)

    async def fail(self, error: ApiError) -> bool:
        """End a stream that has begun with an error, as the server does; False if none has."""
        if not self._begun:
            return False
        await self._end(body_of(error, self._path))
        return True

    async def _end(self, error: bytes) -> None:
        self.said = True
        await self._body(framed(error, self._path), more=False)

    async def _start(self, upstream: Upstream, more: list[Header]) -> None:
        if not self._begun:
            self._begun = True
            headers = [(k, v) for k, v in upstream.headers if k not in HOP and k != b"date"]
            await self._send({"type": "http.response.start", "status": upstream.status, "headers": [*headers, *more]})

    async def _body(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def _read(scope: Scope, receive: Receive) -> Relayed | None:
    """The whole request; None when the client goes before. Raises ApiError, from `guard`'s bounds."""
    body = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    # whom the guard counts the request to; the engine's process takes it from here alone
    client = [(FORWARDED, scope["client"][0].encode())] if scope.get("client") else []
    headers = [(k, v) for k, v in scope["headers"] if k != FORWARDED] + client
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return Relayed(scope["method"], scope["path"], scope["raw_path"] + query, headers, b"".join(body))


async def _unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Await `work` as long as the client is there."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _says(events: bytes) -> bool:
    """Whether there is more in a stream than comments and empty lines."""
    return any(line and not line.startswith(b":") for line in events.split(b"\n"))


def _cut(how: str) -> ApiError:
    return ApiError(
        503,
        f"the engine's process has crashed ({how}) in the middle of this answer; ask again",
        kind=SERVER,
        code="engine_crashed",
    )
