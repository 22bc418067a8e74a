"""A ticket's answer → HTTP: whole, or as server-sent events. A client that goes away gives its ticket back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from entropix.decoding import Job
from entropix.serve.answers import Writer
from entropix.serve.errors import ApiError
from entropix.serve.ticket import MailItem, Ticket

KEEP_ALIVE_EVERY = 10.0
"""Seconds without a token after which a comment says that the connection lives. As long the status of the answer waits
for the first token, so that what fails before it has a status of its own."""

SLOW_READER = 60.0
"""Seconds beyond the request's time limit that a client may take to read."""


Answer: TypeAlias = Callable[..., Awaitable[Response]]
"""`Server.answer`."""


class AnswerResponse(Response):
    """Sends what becomes of a ticket. cancel: gives the ticket back, called unless the answer came to its end.
    report: called with the writer at the end, for the log. ask: asks the model what the request wants to know of an
    ended answer."""

    def __init__(
        self,
        ticket: Ticket,
        writer: Writer,
        *,
        stream: bool,
        usage: bool,
        cancel: Callable[[Ticket], None],
        report: Callable[[Writer], None],
        ask: Callable[[Job, Callable[[], bool]], Awaitable[None]],
    ) -> None:
        super().__init__(media_type=writer.stream_type if stream else "application/json")
        del self.headers["content-length"]
        if stream:
            self.headers["cache-control"] = "no-cache"
            self.headers["x-accel-buffering"] = "no"  # proxies must not collect the events
        self.ticket, self.writer, self.stream, self.usage = ticket, writer, stream, usage
        self.cancel, self.report, self.ask = cancel, report, ask
        self.status: int | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ended = False
        try:
            left = self.ticket.deadline - time.perf_counter()
            async with asyncio.timeout(left + SLOW_READER):
                with self._watching(receive) as gone:
                    ended = await (self._events(gone, send) if self.stream else self._whole(gone, send))
        except ApiError as error:
            ended = True  # the scheduler has given everything back
            if self.status is None:
                await self.writer.refused(error)(scope, receive, send)
            else:
                await self._send(send, self.writer.failed(error), more=False)
        except TimeoutError:
            return
        finally:
            if not ended:
                self.cancel(self.ticket)
            self.report(self.writer)

    async def _whole(self, gone: asyncio.Task[None], send: Send) -> bool:
        jobs = self.writer.jobs
        while len(jobs) < len(self.ticket.requests):
            if gone.done():
                return False
            ended = {item.choice: item.job for item in await self.ticket.get() if item.job is not None}
            for job in ended.values():
                await self.ask(job, gone.done)
            jobs.update(ended)
        await self._send(send, self.writer.whole(), more=False)
        return True

    async def _events(self, gone: asyncio.Task[None], send: Send) -> bool:
        left = len(self.ticket.requests)
        opening = self.writer.opening(self.usage)
        while left:
            items: list[MailItem] = await self.ticket.get(KEEP_ALIVE_EVERY)
            if gone.done():
                return False
            for job in [item.job for item in items if item.job is not None]:
                left -= 1
                asking = asyncio.ensure_future(self.ask(job, gone.done))
                while not (await asyncio.wait([asking], timeout=KEEP_ALIVE_EVERY))[0]:
                    await self._send(send, self.writer.keep_alive)
                await asking
            if not items:  # the opening has the answer's id, so it comes with a token: see serve/supervised
                await self._send(send, self.writer.keep_alive)
                continue
            await self._send(send, opening + self.writer.chunks(items))
            opening = b""
        await self._send(send, self.writer.closing(self.usage), more=False)
        return True

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        if self.status is None:
            self.status = self.status_code
            length = [] if more or self.stream else [(b"content-length", str(len(body)).encode())]
            headers = [*self.raw_headers, *length]
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})

    @contextlib.contextmanager
    def _watching(self, receive: Receive) -> Iterator[asyncio.Task[None]]:
        """A task that ends, and wakes the mailbox, when the client goes away."""

        async def wait() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.ticket.wake()

        task = asyncio.create_task(wait())
        try:
            yield task
        finally:
            task.cancel()
