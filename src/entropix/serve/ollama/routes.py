"""The routes of Ollama's API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from entropix.serve.answers import Writer
from entropix.serve.asking import Asked, Reader, no_such_model
from entropix.serve.ollama.reading import LATEST, chat_of, completion_of
from entropix.serve.ollama.schema import OllamaChat, OllamaGenerate, OllamaName
from entropix.serve.ollama.writing import OllamaWriter
from entropix.serve.refusals import named
from entropix.serve.streaming import Answer
from entropix.version import entropix_version

REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What was wrong with the request"},
    "5XX": {"description": "Why the server could not answer"},
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or unless stream is false its lines",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["model", "done"]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
    **REFUSED,
}

BEGAN = "1970-01-01T00:00:00Z"


def add_ollama(app: FastAPI, reader: Reader, answer: Answer) -> None:
    """Routes that Ollama's clients ask."""

    async def answered(
        body: OllamaChat | OllamaGenerate, read: Callable[[], Asked], http: Request, *, chats: bool
    ) -> Response:
        def write(asked: Asked) -> Writer:
            return OllamaWriter(asked, body.model, chats=chats)

        return await answer(http, read, write, stream=body.stream is not False, usage=False)

    @app.post("/api/chat", responses=ANSWERS, response_class=Response, tags=["Ollama"])
    async def chat(body: OllamaChat, http: Request) -> Response:
        """Answer a conversation. Without messages: the model is loaded, which it is."""
        if not body.messages:
            return _loaded(body.model, {"message": {"role": "assistant", "content": ""}})
        return await answered(body, lambda: reader.chat(chat_of(body)), http, chats=True)

    @app.post("/api/generate", responses=ANSWERS, response_class=Response, tags=["Ollama"])
    async def generate(body: OllamaGenerate, http: Request) -> Response:
        """Answer a prompt; with raw or suffix continue or fill a text."""
        if not body.prompt:
            return _loaded(body.model, {"response": ""})
        if body.raw or body.suffix:
            return await answered(body, lambda: reader.completion(completion_of(body)), http, chats=False)
        names = {"messages": "prompt"}
        return await answered(body, lambda: named(lambda: reader.chat(chat_of(body)), names), http, chats=False)

    @app.get("/api/tags", responses=REFUSED, tags=["Ollama"])
    async def tags() -> dict[str, Any]:
        """The model by each of its names."""
        return {"models": [_model(reader, name) for name in reader.names]}

    @app.get("/api/ps", responses=REFUSED, tags=["Ollama"])
    async def ps() -> dict[str, Any]:
        """The models that are loaded."""
        return {"models": [{**_model(reader, name), "expires_at": BEGAN, "size_vram": 0} for name in reader.names]}

    @app.get("/api/version", responses=REFUSED, tags=["Ollama"])
    async def version() -> dict[str, str]:
        """The version of this server."""
        return {"version": entropix_version()}

    @app.post("/api/show", responses=REFUSED, tags=["Ollama"])
    async def show(body: OllamaName) -> Response:
        """What is known of the model."""
        name = (body.model or body.name or "").removesuffix(LATEST)
        if name not in reader.names:
            raise no_such_model(name, reader.names)
        info, able = reader.model.info, reader.model.engine.capabilities
        kinds = {
            f"{info.architecture}.context_length": able.context,
            f"{info.architecture}.block_count": info.layers,
            f"{info.architecture}.attention.head_count": info.heads,
            "general.architecture": info.architecture,
        }
        can = ["completion", "tools", *(["thinking"] if reader.template.thinks else [])]
        template = reader.model.tokenizer.template
        found = {"details": _details(reader), "model_info": kinds, "capabilities": can, "template": template}
        return JSONResponse({**found, "modelfile": "", "parameters": "", "license": ""})


def _model(reader: Reader, name: str) -> dict[str, Any]:
    digest = reader.model.info.fingerprint
    return {
        "name": f"{name}{LATEST}",
        "model": f"{name}{LATEST}",
        "modified_at": BEGAN,
        "size": 0,
        "digest": digest,
        "details": _details(reader),
    }


def _details(reader: Reader) -> dict[str, Any]:
    family = reader.model.info.architecture
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }


def _loaded(model: str, said: dict[str, Any]) -> Response:
    return JSONResponse({"model": model, "created_at": BEGAN, **said, "done": True, "done_reason": "load"})
