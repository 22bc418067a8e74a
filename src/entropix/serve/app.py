"""The HTTP application: OpenAI's endpoints, ours, and what operators look at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from entropix.model import Model
from entropix.serve import schema
from entropix.serve.answers import Chat, Completion, Shape, Writer
from entropix.serve.asking import Asked, Reader
from entropix.serve.errors import ApiError, failed, invalid
from entropix.serve.guard import Guard
from entropix.serve.info import describe
from entropix.serve.metrics import Collector
from entropix.serve.scheduler import Scheduler
from entropix.serve.settings import Settings
from entropix.serve.static import add_page
from entropix.serve.streaming import Answer
from entropix.serve.ticket import Ticket
from entropix.trace import entropix_version

T = TypeVar("T")
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schema.ErrorAnswer, "description": "What was wrong with the request"},
    "5XX": {"model": schema.ErrorAnswer, "description": "Why the server could not answer"},
}
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
        self.reader = Reader(model, settings, keep=self.scheduler.keeps, places=self.scheduler.places)
        # tokenizers are not made for several threads at a time, and a long prompt must not hold up the event loop
        self._preparing = ThreadPoolExecutor(1, "entropix-prepare")
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
        add_page(self.inner)
        paths = frozenset(path for route in self.inner.routes if (path := getattr(route, "path", "")))
        self.guard = Guard(self.inner, settings, paths)
        self.app: Any = self.guard
        if settings.origins:
            cors = Middleware(
                CORSMiddleware,
                allow_origins=list(settings.origins),
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
            )
            self.app = cors.cls(self.guard, *cors.args, **cors.kwargs)
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

    async def _prepare(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._preparing, work)

    async def answer(self, shape: Shape, body: schema.Common, read: Callable[[], Asked], http: Request) -> Response:
        self.scheduler.check_open()
        asked = await self._prepare(read)
        stream = bool(body.stream)
        ticket = Ticket(asked.requests, client=http.state.client, time_limit=self.settings.time_limit, streams=stream)
        writer = Writer(shape, asked)
        facts = http.state.log

        def told(writer: Writer) -> None:
            usage = writer.usage()
            facts.update(
                policy=asked.requests[0].policy.name,
                choices=len(asked.requests),
                stream=stream,
                prompt_tokens=usage["prompt_tokens"],
                completion_tokens=usage["completion_tokens"],
            )

        self.scheduler.submit(ticket)
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return Answer(ticket, writer, stream=stream, usage=usage, cancel=self.scheduler.cancel, told=told)

    def _routes(self) -> None:
        app, reader, scheduler = self.inner, self.reader, self.scheduler

        @app.post("/v1/chat/completions", responses=STREAMS, response_class=Response, tags=["OpenAI"])
        async def chat_completions(body: schema.ChatRequest, http: Request) -> Response:
            """Answer a conversation."""
            return await self.answer(Chat(), body, lambda: reader.chat(body), http)

        @app.post("/v1/completions", responses=STREAMS, response_class=Response, tags=["OpenAI"])
        async def completions(body: schema.CompletionRequest, http: Request) -> Response:
            """Continue one or several texts."""
            return await self.answer(Completion(), body, lambda: reader.completion(body), http)

        @app.get("/v1/models", responses=ERRORS, tags=["OpenAI"])
        async def models() -> dict[str, Any]:
            """The model, by each of its names."""
            return {"object": "list", "data": [self._model(name) for name in reader.names]}

        @app.get("/v1/models/{name:path}", responses=ERRORS, tags=["OpenAI"])
        async def model(name: str) -> dict[str, Any]:
            """The model, if it has this name."""
            if name not in reader.names:
                raise ApiError(404, f"the model {name!r} is not served here", param="model", code="model_not_found")
            return self._model(name)

        @app.get("/entropix/info", responses=ERRORS, tags=["entropix"])
        async def info() -> dict[str, Any]:
            """Model, thresholds, policies, searches and limits."""
            return describe(scheduler, self.settings, reader.names)

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


async def on_http_error(_: Request, error: Exception) -> Response:
    """ApiErrors, and Starlette's own for paths and methods that do not exist, in OpenAI's shape."""
    if isinstance(error, ApiError):
        return error.response()
    assert isinstance(error, HTTPException)
    texts = {
        404: "there is no such path; OpenAI's endpoints are below /v1",
        405: "this path does not take that method",
    }
    text = texts.get(error.status_code, error.detail)
    return ApiError(error.status_code, text, headers=error.headers).response()


async def on_invalid(_: Request, error: Exception) -> Response:
    """The first thing that is wrong with a body, and where it stands."""
    assert isinstance(error, RequestValidationError)
    errors = list(error.errors())
    # of what a field can be, the kind that was given has the error that helps
    same = [e for e in errors if e["loc"][:2] == errors[0]["loc"][:2]]
    first = next((e for e in same if not e["type"].endswith("_type")), errors[0])
    place = _place(first, error.body)
    if first["type"] == "json_invalid":
        return invalid(f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}").response()
    param = ".".join(map(str, place)) or None
    if not place and first["type"] != "missing":
        return invalid("the body is no JSON object; send one, with Content-Type: application/json").response()
    if first["type"] == "extra_forbidden":
        if len(place) == 1 and place[0] in schema.NEUTRAL:
            return invalid(f"{param}: this server does not support it; leave it out", param).response()
        return invalid(f"{param}: unknown field", param, "unknown_field").response()
    return invalid(f"{param or 'the body'}: {first['msg']}", param).response()


def _place(error: Mapping[str, Any], body: Any) -> list[Any]:
    """Where an error stands in the body, without what pydantic calls the kinds that a field can be."""
    place: list[Any] = []
    for part in error["loc"][1:]:
        if isinstance(body, dict) and (part in body or error["type"] == "missing"):
            place.append(part)
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            place.append(part)
            body = body[part]
    return place


async def on_failure(_: Request, error: Exception) -> Response:
    """Anything else is ours; what it was stands in the log only."""
    return failed().response()
