"""The routes of the Responses API."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from entropix.serve.answers import Writer
from entropix.serve.asking import Asked, Reader
from entropix.serve.errors import invalid
from entropix.serve.refusals import named
from entropix.serve.responses.memory import Memory
from entropix.serve.responses.reading import NAMES, chat_request, conversation_of
from entropix.serve.responses.schema import ResponseRequest
from entropix.serve.responses.tools import offer_of
from entropix.serve.responses.writing import ResponseWriter
from entropix.serve.schema import ERRORS
from entropix.serve.streaming import Answer
from entropix.trace.records import to_json

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The response, or with stream: true its events; `entropix` stands beside `output`",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["id", "output", "usage", "entropix"]}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    },
    **ERRORS,
}


def add_responses(app: FastAPI, reader: Reader, answer: Answer) -> None:
    """Routes that create, show and forget responses."""
    memory = Memory()

    @app.post("/responses", include_in_schema=False)
    @app.post("/v1/responses", responses=ANSWERS, response_class=Response, tags=["OpenAI"])
    async def create(body: ResponseRequest, http: Request) -> Response:
        """Answer an input, or the next one of a response that is remembered."""
        client = http.state.client
        before: list[dict[str, Any]] = []
        if body.previous_response_id is not None:
            name = "previous_response_id"
            before = memory.get(body.previous_response_id, client, name).messages
        if body.stream_options is not None and not body.stream:
            raise invalid("stream_options: they need stream: true", "stream_options")
        messages, offer = conversation_of(body, before), offer_of(body)

        def read() -> Asked:
            asked = named(lambda: reader.chat(chat_request(body, offer, messages)), NAMES)
            return reader.noted(asked, offer.notes)

        def write(asked: Asked) -> Writer:
            def remember(name: str, message: dict[str, Any], record: dict[str, Any]) -> None:
                if body.store is not False:
                    kept = {key: value for key, value in record.items() if key != "entropix"}
                    memory.keep(name, client, [*messages, message], kept)

            return ResponseWriter(asked, body, offer.groups, remember)

        return await answer(http, read, write, stream=bool(body.stream), usage=False)

    @app.get("/v1/responses/{name}", responses=ERRORS, response_class=Response, tags=["OpenAI"])
    async def show(name: str, http: Request) -> Response:
        """A response that is remembered."""
        found = memory.get(name, http.state.client)
        return Response(to_json(found.record), media_type="application/json")

    @app.delete("/v1/responses/{name}", responses=ERRORS, tags=["OpenAI"])
    async def forget(name: str, http: Request) -> dict[str, Any]:
        """Forget a response."""
        memory.forget(name, http.state.client)
        return {"id": name, "object": "response.deleted", "deleted": True}
