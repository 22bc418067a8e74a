"""The routes of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from entropix.serve.answers import Writer
from entropix.serve.anthropic.reading import NAMES, chat_of
from entropix.serve.anthropic.schema import CountRequest, MessagesRequest
from entropix.serve.anthropic.writing import PATH, MessageWriter
from entropix.serve.asking import Asked, Reader
from entropix.serve.refusals import named
from entropix.serve.streaming import Answer

REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What was wrong with the request"},
    "5XX": {"description": "Why the server could not answer"},
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The message, or with stream: true its events; `entropix` stands beside `content`",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["id", "content", "usage", "entropix"]}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    },
    **REFUSED,
}


def add_anthropic(
    app: FastAPI, reader: Reader, answer: Answer, prepare: Callable[[Callable[[], Asked]], Awaitable[Asked]]
) -> None:
    """Routes that Anthropic's clients ask. prepare: reads a request where requests are read one at a time."""

    @app.post(PATH, responses=ANSWERS, response_class=Response, tags=["Anthropic"])
    async def create(body: MessagesRequest, http: Request) -> Response:
        """Answer a conversation."""

        def write(asked: Asked) -> Writer:
            return MessageWriter(asked, body.model)

        return await answer(
            http, lambda: named(lambda: reader.chat(chat_of(body)), NAMES), write, stream=bool(body.stream), usage=False
        )

    @app.post(f"{PATH}/count_tokens", responses=REFUSED, tags=["Anthropic"])
    async def count(body: CountRequest) -> dict[str, int]:
        """How many tokens a conversation has in the model's template, its tools included."""
        asked = await prepare(lambda: named(lambda: reader.chat(chat_of(body)), NAMES))
        return {"input_tokens": len(asked.requests[0].tokens)}
