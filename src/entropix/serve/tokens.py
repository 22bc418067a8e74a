"""Text ↔ tokens over HTTP, in the shapes of vLLM and llama.cpp, and what there is not."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import Field

from entropix.serve.asking import Reader
from entropix.serve.conversation import read_messages
from entropix.serve.errors import ApiError, invalid
from entropix.serve.messages import Message, Strict
from entropix.serve.schema import ERRORS

EMBEDDINGS = ("/v1/embeddings", "/embeddings", "/api/embed", "/api/embeddings")
"""Where OpenAI's and Ollama's clients ask for what there is not."""


class TokenizeRequest(Strict):
    """POST /tokenize: `prompt` or `messages` as vLLM has it, or `content` as llama.cpp has it."""

    prompt: str | None = None
    content: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    add_special_tokens: bool | None = Field(default=None, description="with prompt, by default true")
    add_special: bool | None = Field(default=None, description="with content, by default false")
    parse_special: bool = Field(default=True, description="markup becomes its token")
    with_pieces: bool = Field(default=False, description="tokens are {id, piece}")
    return_token_strs: bool | None = None
    model: str | None = None


class DetokenizeRequest(Strict):
    """POST /detokenize"""

    tokens: list[Annotated[int, Field(ge=0)]]
    model: str | None = None


def add_tokens(app: FastAPI, reader: Reader) -> None:
    """Routes for texts and tokens."""
    tokenizer = reader.model.tokenizer

    @app.post("/tokenize", responses=ERRORS, tags=["operation"])
    def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        """The tokens of a text, or of a conversation in the model's template."""
        if sum(given is not None for given in (body.prompt, body.content, body.messages)) != 1:
            raise invalid("give one of prompt, content and messages")
        if body.messages is not None:
            tokens = reader.guarded(
                [m.text for m in body.messages], lambda: tokenizer.chat(read_messages(body.messages or [])), "messages"
            )
        else:
            text = body.prompt if body.prompt is not None else body.content or ""
            given = body.add_special_tokens if body.add_special is None else body.add_special
            begin = body.prompt is not None if given is None else given
            name = "prompt" if body.prompt is not None else "content"
            options = {"raw": True, "special": body.parse_special, "begin": begin}
            tokens = reader.guarded([text], lambda: reader.model.encode(text, **options), name)
        labels = [tokenizer.label(token) for token in tokens] if body.with_pieces or body.return_token_strs else []
        shown: list[Any] = tokens
        if body.with_pieces:
            shown = [{"id": token, "piece": label} for token, label in zip(tokens, labels, strict=True)]
        found = {"tokens": shown, "count": len(tokens), "max_model_len": reader.model.engine.capabilities.context}
        return {**found, "token_strs": labels} if body.return_token_strs else found

    @app.post("/detokenize", responses=ERRORS, tags=["operation"])
    def detokenize(body: DetokenizeRequest) -> dict[str, str]:
        """The text of tokens, control tokens by their names."""
        vocabulary = reader.model.info.vocabulary
        if any(token >= vocabulary for token in body.tokens):
            raise invalid(f"tokens: this model's are 0 … {vocabulary - 1}", "tokens")
        parts = [tokenizer.piece(token) or tokenizer.label(token).encode() for token in body.tokens]
        text = b"".join(parts).decode("utf-8", "replace")
        return {"prompt": text, "content": text}

    @app.get("/tokenizer_info", responses=ERRORS, tags=["operation"])
    def tokenizer_info() -> dict[str, Any]:
        """The tokens that begin and end a text, and the chat template."""
        begin = tokenizer.begin_token
        end = tokenizer.label(min(tokenizer.end_tokens)) if tokenizer.end_tokens else None
        return {
            "tokenizer_class": type(tokenizer).__name__,
            "bos_token": None if begin is None else tokenizer.label(begin),
            "eos_token": end,
            "pad_token": end,
            "chat_template": tokenizer.template or None,
        }

    def embeddings() -> dict[str, Any]:
        """Refused: this server makes no embeddings."""
        raise ApiError(
            501,
            "this server answers with text and makes no embeddings; send this request to an embedding model's server",
            code="not_supported",
        )

    for path in EMBEDDINGS:
        app.post(path, include_in_schema=False)(embeddings)  # what the document names can be had
