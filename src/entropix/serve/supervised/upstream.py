"""One request to the engine's process, on a connection of its own: the side that closes it is gone.

The parsing is httptools'. An HTTP client with a pool (httpcore) was measured at seven times the processor time for a
request, 1.1 ms, and four times for each chunk of a stream, on processors that the engine needs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import httptools

AHEAD = 256 * 1024
"""Bytes that may wait for a client that reads slowly; then the engine's process waits too."""

Header = tuple[bytes, bytes]
HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade content-length expect".split()
)
"""Headers of one connection (RFC 9110, 7.6.1), and those of a body that is here sent whole."""


class Lost(Exception):
    """The connection ended before the answer did."""


class Upstream(asyncio.Protocol):
    """status, headers: of the answer, once `head` has returned."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._has_head = self._whole = self._lost = False
        self._news = asyncio.Event()

    async def head(self) -> None:
        """Wait for status and headers. Raises Lost."""
        while not self._has_head:
            await self._wait()

    async def chunk(self) -> bytes:
        """More of the body, b"" at its end. Raises Lost."""
        while not self._chunks:
            if self._whole:
                return b""
            await self._wait()
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if self._held <= AHEAD and self._transport is not None:
            self._transport.resume_reading()
        return chunk

    async def rest(self) -> bytes:
        """All that is left of the body. Raises Lost."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Tell the engine's process that the client is gone."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._lost:
            raise Lost
        self._news.clear()
        await self._news.wait()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
        if self._held > AHEAD and self._transport is not None:
            self._transport.pause_reading()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._news.set()

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        self._whole = True


async def ask(path: str, method: str, target: bytes, headers: Iterable[Header], body: bytes) -> Upstream:
    """Send a request to the socket at `path`. Raises OSError when no process listens there."""
    _, upstream = await asyncio.get_running_loop().create_unix_connection(Upstream, path)
    lines = [method.encode() + b" " + target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers if name not in HOP]
    lines += [b"connection: close", b"content-length: %d" % len(body), b"", b""]
    assert upstream._transport is not None
    upstream._transport.write(b"\r\n".join(lines) + body)
    return upstream
