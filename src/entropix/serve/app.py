"""The HTTP application: OpenAI's endpoints, ours, and what operators look at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from entropix.decoding import Job
from entropix.model import Model
from entropix.serve import schema
from entropix.serve.afterwards import Interviewer
from entropix.serve.answers import Writer
from entropix.serve.anthropic.routes import add_anthropic
from entropix.serve.asking import Asked, Reader, no_such_model
from entropix.serve.echo import EchoWriter
from entropix.serve.errors import ApiError, failed, response_of
from entropix.serve.guard import AccessGuard, with_cors
from entropix.serve.info import describe
from entropix.serve.metrics import Collector
from entropix.serve.ollama.routes import add_ollama
from entropix.serve.refusals import on_invalid
from entropix.serve.responses.routes import add_responses
from entropix.serve.scheduler import Scheduler
from entropix.serve.schema import ERRORS
from entropix.serve.settings import Settings
from entropix.serve.shapes import ChatShape, CompletionShape, Shape
from entropix.serve.static import add_page
from entropix.serve.streaming import AnswerResponse
from entropix.serve.ticket import Ticket
from entropix.serve.tokens import add_tokens
from entropix.serve.tools.writing import SpokenWriter
from entropix.version import entropix_version

T = TypeVar("T")
STREAMS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or with stream: true its chunks; `entropix` stands beside `choices`",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["id", "choices", "usage", "entropix"]}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    },
    **ERRORS,
}


class Server:
    """An application with what stands behind it. `app` is the ASGI application; it starts and stops the scheduler."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.settings = settings
        self.scheduler = Scheduler(model, settings)
        self.reader = Reader(
            model, settings, keep=self.scheduler.keeps, places=self.scheduler.places, spare=self.scheduler.spare
        )
        self.reader.check_defaults()
        # tokenizers are not made for several threads at a time, and a long prompt must not hold up the event loop
        self._preparing = ThreadPoolExecutor(1, "entropix-prepare")
        self._interviewer = Interviewer()
        self.inner = FastAPI(
            title="entropix",
            summary="OpenAI-compatible decoding that knows when the model is unsure",
            version=entropix_version(),
            docs_url=None,  # they would load scripts from elsewhere
            redoc_url=None,
            lifespan=self._lifespan,
            exception_handlers={
                HTTPException: on_http_error,
                RequestValidationError: on_invalid,
                Exception: on_failure,
            },
        )
        self._routes()
        add_tokens(self.inner, self.reader)
        add_responses(self.inner, self.reader, self.answer)
        add_ollama(self.inner, self.reader, self.answer)
        add_anthropic(self.inner, self.reader, self.answer, self._prepare)
        add_page(self.inner)
        paths = frozenset(path for route in self.inner.routes if (path := getattr(route, "path", "")))
        self.guard = AccessGuard(self.inner, settings, paths)
        self.app: Any = with_cors(self.guard, settings)
        capabilities = model.engine.capabilities
        self.registry = CollectorRegistry()
        self.registry.register(
            Collector(self.scheduler.accounts, self.guard.requests, capabilities.cells, self.scheduler.places)
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self.scheduler.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.scheduler.stop)
            self._preparing.shutdown(wait=False, cancel_futures=True)
            self._interviewer.close()

    async def _prepare(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._preparing, work)

    async def answer(
        self, http: Request, read: Callable[[], Asked], write: Callable[[Asked], Writer], *, stream: bool, usage: bool
    ) -> Response:
        """What becomes of a request. read: what it asks; write: how the answer is sent; both may raise ApiError."""
        self.scheduler.check_open()
        asked = await self._prepare(read)
        ticket = Ticket(
            asked.requests,
            client=http.state.client,
            time_limit=self.settings.time_limit,
            streams=stream,
            progress=asked.progress,
        )
        writer = write(asked)
        facts = http.state.log

        def report(writer: Writer) -> None:
            usage = writer.usage()
            facts.update(
                policy=asked.requests[0].policy.name,
                choices=len(asked.requests),
                stream=stream,
                prompt_tokens=usage["prompt_tokens"],
                completion_tokens=usage["completion_tokens"],
            )

        self.scheduler.submit(ticket)

        def ask(job: Job, gone: Callable[[], bool]) -> Awaitable[None]:
            return self._interviewer.ask(asked.model, job, ticket.deadline, gone)

        cancel = self.scheduler.cancel
        return AnswerResponse(ticket, writer, stream=stream, usage=usage, cancel=cancel, report=report, ask=ask)

    async def _openai(self, shape: Shape, body: schema.Common, read: Callable[[], Asked], http: Request) -> Response:
        def write(asked: Asked) -> Writer:
            if asked.echo:
                return EchoWriter(shape, asked)
            return Writer(shape, asked) if asked.manner.plain else SpokenWriter(shape, asked)

        usage = bool(body.stream_options and body.stream_options.include_usage)
        return await self.answer(http, read, write, stream=bool(body.stream), usage=usage)

    def _routes(self) -> None:
        app, reader, scheduler = self.inner, self.reader, self.scheduler

        @app.post("/chat/completions", include_in_schema=False)
        @app.post("/v1/chat/completions", responses=STREAMS, response_class=Response, tags=["OpenAI"])
        async def chat_completions(body: schema.ChatRequest, http: Request) -> Response:
            """Answer a conversation."""
            return await self._openai(ChatShape(), body, lambda: reader.chat(body), http)

        @app.post("/completions", include_in_schema=False)
        @app.post("/v1/completions", responses=STREAMS, response_class=Response, tags=["OpenAI"])
        async def completions(body: schema.CompletionRequest, http: Request) -> Response:
            """Continue one or several texts."""
            return await self._openai(CompletionShape(), body, lambda: reader.completion(body), http)

        @app.get("/models", include_in_schema=False)
        @app.get("/v1/models", responses=ERRORS, tags=["OpenAI"])
        async def models() -> dict[str, Any]:
            """The model, by each of its names."""
            return {"object": "list", "data": [self._model(name) for name in reader.names]}

        @app.get("/v1/models/{name:path}", responses=ERRORS, tags=["OpenAI"])
        async def model(name: str) -> dict[str, Any]:
            """The model, if it has this name."""
            if name not in reader.names:
                raise no_such_model(name, reader.names)
            return self._model(name)

        @app.get("/entropix/info", responses=ERRORS, tags=["entropix"])
        async def info() -> dict[str, Any]:
            """Model, thresholds, policies, searches and limits."""
            return describe(scheduler, self.settings, reader.names, reader.votes)

        @app.get("/health", responses=ERRORS, tags=["operation"])
        async def health() -> dict[str, str]:
            """Whether the process works."""
            if not scheduler.alive:
                raise ApiError(503, "the engine's thread has ended", kind="server_error", code="dead")
            return {"status": "ok"}

        @app.get("/ready", responses=ERRORS, tags=["operation"])
        async def ready() -> dict[str, str]:
            """Whether a request would be answered now."""
            reason = "shutting down" if scheduler.draining else scheduler.broken
            if reason or not scheduler.alive:
                raise ApiError(503, reason or "the engine's thread does not run", kind="server_error", code="not_ready")
            return {"status": "ready"}

        @app.get("/metrics", responses=ERRORS, response_class=Response, tags=["operation"])
        async def metrics() -> Response:
            """Prometheus metrics."""
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "entropix"}


def _allowed(request: Request) -> str:
    """The methods that a path takes: several routes may have it, and Starlette names those of the first alone."""
    fits = (route for route in request.app.routes if isinstance(route, Route))
    methods = {m for route in fits if route.path_regex.match(request.scope["path"]) for m in route.methods or ()}
    return ", ".join(sorted(methods))


def _longer_than(request: Request) -> str:
    """What to say of a path that has too much before one that there is, as from a base URL that is too long."""
    path = request.scope["path"]
    known = (route.path for route in request.app.routes if isinstance(route, Route) and len(route.path) > 1)
    meant = max((one for one in known if path.endswith(one)), key=len, default="")
    return f", but {meant} without what stands before it: look at the base URL" if meant else ""


async def on_http_error(request: Request, error: Exception) -> Response:
    """ApiErrors, and Starlette's own for paths and methods that do not exist, in the shape of the path's API."""
    if isinstance(error, ApiError):
        return response_of(error, request.url.path)
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request) or headers.get("Allow", "another")
    texts = {
        404: f"there is no such path{_longer_than(request)}; there are /v1/chat/completions, /v1/completions, "
        "/v1/responses and /v1/models of OpenAI's, /v1/messages, /api/chat, and what /openapi.json describes",
        405: f"this path does not take that method; allowed is {headers.get('Allow')}",
    }
    text = texts.get(error.status_code, error.detail)
    if error.status_code == 400:
        text = _unreadable(error.__cause__) or text
    return response_of(ApiError(error.status_code, text, headers=headers), request.url.path)


def _unreadable(cause: BaseException | None) -> str:
    """Why a body could not be parsed, of what FastAPI has one message for; "" for anything else."""
    if isinstance(cause, RecursionError):
        return "the body cannot be read: its JSON is nested too deeply"
    if isinstance(cause, UnicodeDecodeError):
        return f"the body cannot be read: it is not UTF-8, from byte {cause.start} on"
    if isinstance(cause, ValueError):
        long = "integer string conversion" in str(cause)
        return f"the body cannot be read as JSON: {'a number in it has thousands of digits' if long else cause}"
    return ""


async def on_failure(request: Request, error: Exception) -> Response:
    """Anything else is ours; what it was stands in the log only."""
    return response_of(failed(), request.url.path)
