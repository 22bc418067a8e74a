"""Answers for asyncio programs: one thread decodes everything that is asked for at a time, as one batch.

The event loop is never blocked by a model call, and requests of several tasks join and leave the same running batch, so
that `asyncio.gather` over sixteen prompts is as fast as a list of sixteen.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from entropix.decoding import Decoder, Job, Request
from entropix.engines import Engine
from entropix.errors import ModelError
from entropix.model.stream import Token, finish, raise_failures
from entropix.types import Result

if TYPE_CHECKING:
    from entropix.model.core import Model

Delivery: TypeAlias = "Token | Exception | None"
"""What a stream is handed: a token, None for the end of one answer, or why the engine failed."""


class Worker:
    """Decodes the requests of any number of tasks in a thread of its own, which lasts while there is work."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._joining: list[AsyncStream] = []
        self._leaving: list[AsyncStream] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """End everything; running answers raise that the model is closed. Returns when the thread has ended."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is not None:
            thread.join()

    def join(self, stream: AsyncStream) -> None:
        """Decode a stream's requests from the next step on."""
        with self._lock:
            self._joining.append(stream)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="entropix-decoding", daemon=True)
                self._thread.start()

    def leave(self, stream: AsyncStream) -> None:
        """Cancel what still runs of a stream."""
        with self._lock:
            self._leaving.append(stream)

    def _run(self) -> None:
        decoder = Decoder(self._engine, isolate=True)
        owners: dict[Job, AsyncStream] = {}
        while True:
            with self._lock:
                joining, leaving = self._joining, self._leaving
                self._joining, self._leaving = [], []
                if not (joining or decoder.busy):
                    self._thread = None
                    return
            try:
                if self._closed:
                    raise ModelError("the model was closed while it answered; load it again")
                for stream in joining:
                    stream.jobs = [decoder.submit(request, n) for n, request in enumerate(stream.requests)]
                    owners |= dict.fromkeys(stream.jobs, stream)
                for job in [job for stream in leaving for job in stream.jobs]:
                    decoder.cancel(job)
                    owners.pop(job, None)
                for event in decoder.step() if decoder.busy else ():
                    job, step = event.job, event.step
                    owner = owners.get(job)
                    if owner is None:
                        continue
                    if step is not None:
                        owner.deliver(Token(job.index, step.text, step))
                    else:
                        del owners[job]
                        finish(owner.model, job)
                        owner.deliver(None)
            except Exception as error:  # of the engine: nothing that runs on it can go on
                decoder.close()
                for stream in {*owners.values(), *joining}:
                    stream.deliver(error)
                owners.clear()


class AsyncStream:
    """The tokens of one or several answers, for `async for`; otherwise as `Stream`.

    Nothing is prepared before the first token is asked for, which is also when bad arguments raise. A task that is
    cancelled cancels its answers; so does `aclose`, also at the end of an `async with`.
    """

    def __init__(self, model: Model, worker: Worker, prepare: Callable[[], list[Request]]) -> None:
        """prepare: makes the requests, which may take a while; called in a thread."""
        self.requests: list[Request] = []
        self.jobs: list[Job] = []
        self.model = model
        self._worker = worker
        self._prepare = prepare
        self._queue: asyncio.Queue[Delivery] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = -1
        """Answers that have not ended; −1 before they have begun."""

    async def _begin(self) -> asyncio.Queue[Delivery]:
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue()
        self.requests = await asyncio.to_thread(self._prepare)
        self._running = len(self.requests)
        self._worker.join(self)
        return self._queue

    def deliver(self, what: Delivery) -> None:
        """Hand over a token, a failure or an end; called in the decoding thread."""
        loop, queue = self._loop, self._queue
        assert loop is not None
        assert queue is not None
        try:
            loop.call_soon_threadsafe(queue.put_nowait, what)
        except RuntimeError:  # that event loop is closed, so the answers have no reader any more
            self._worker.leave(self)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Token:
        try:
            queue = self._queue or await self._begin()
            while self._running > 0:
                what = await queue.get()
                if isinstance(what, Token):
                    return what
                if isinstance(what, Exception):
                    raise what
                self._running -= 1
                if not self._running:
                    raise_failures(self.jobs)
        except BaseException:
            await self.aclose()
            raise
        raise StopAsyncIteration

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what still runs. What was said stays in the results."""
        if self._running > 0:
            self._worker.leave(self)
        self._running = 0
        self._queue = self._queue or asyncio.Queue()

    @property
    def results(self) -> list[Result]:
        """One result per prompt, in order; those of answers that still run are as far as they have come."""
        return [self.model.result(job) for job in self.jobs]

    @property
    def result(self) -> Result:
        """The only answer's result. Raises ValueError when there are several prompts."""
        if len(self.requests) != 1:
            raise ValueError(f"this stream has {len(self.requests)} answers; read `results`")
        return self.results[0]
