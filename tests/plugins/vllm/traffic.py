"""Requests to a real server, and what tests want to know of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai

from .server import NAME, Server

T = TypeVar("T")

PROMPTS = (
    "Write a short story about a lighthouse.",
    "Explain to a child how a train works.",
    "List five facts about forests.",
    "Write a poem about the moon 🌙.",
    "What is a clock 🕰️ made of?",
    "Why do rivers bend?",
    "Describe a market in the morning.",
    "How does a storm begin?",
)


@dataclass(frozen=True)
class Ask:
    """One request. entropix: its `vllm_xargs`; more: everything else of the API, by name."""

    prompt: str = PROMPTS[0]
    entropix: dict[str, Any] | None = None
    tokens: int = 24
    chat: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        given = dict(self.more)
        extra = {"return_token_ids": True, **given.pop("extra_body", {})}
        if self.entropix is not None:
            extra["vllm_xargs"] = self.entropix
        text = {"messages": [{"role": "user", "content": self.prompt}]} if self.chat else {"prompt": self.prompt}
        return {"model": NAME, "max_tokens": self.tokens, **text, **given, "extra_body": extra}


@dataclass(frozen=True)
class Answer:
    """One choice."""

    text: str
    tokens: tuple[int, ...]
    finish: str | None
    logprobs: tuple[float, ...] = ()


async def ask(client: openai.AsyncOpenAI, what: Ask) -> list[Answer]:
    """All choices of one request, in order."""
    endpoint: Any = client.chat.completions if what.chat else client.completions
    reply = await endpoint.create(**what.body())
    return [_answer(choice) for choice in sorted(reply.choices, key=lambda choice: int(choice.index))]


async def stream(client: openai.AsyncOpenAI, what: Ask, leave_after: int | None = None) -> Answer:
    """The one choice of a streamed request. leave_after: close the connection after so many pieces."""
    endpoint: Any = client.chat.completions if what.chat else client.completions
    text, tokens, finish = [], [], None
    pieces = await endpoint.create(**what.body(), stream=True)
    count = 0
    async for piece in pieces:
        for choice in piece.choices:
            text.append((choice.delta.content if what.chat else choice.text) or "")
            tokens.extend(getattr(choice, "token_ids", None) or ())
            finish = choice.finish_reason or finish
        count += 1
        if leave_after is not None and count >= leave_after:
            await pieces.close()
            break
    return Answer("".join(text), tuple(tokens), finish)


def one_by_one(server: Server, asks: Sequence[Ask]) -> list[Answer]:
    """The first choice of each, each alone in the engine."""

    async def run(client: openai.AsyncOpenAI) -> list[Answer]:
        return [(await ask(client, what))[0] for what in asks]

    return running(server, run)


def together(server: Server, asks: Sequence[Ask]) -> list[Answer]:
    """The first choice of each, all sent at once."""

    async def run(client: openai.AsyncOpenAI) -> list[Answer]:
        return [choices[0] for choices in await asyncio.gather(*(ask(client, what) for what in asks))]

    return running(server, run)


def choices(server: Server, what: Ask) -> list[Answer]:
    """All choices of one request."""
    return running(server, lambda client: ask(client, what))


def running(server: Server, run: Callable[[openai.AsyncOpenAI], Coroutine[Any, Any, T]]) -> T:
    """What `run` gives, in an event loop with a client of its own."""

    async def whole() -> T:
        async with server.async_client() as client:
            return await run(client)

    return asyncio.run(whole())


def _answer(choice: Any) -> Answer:
    text = choice.message.content if hasattr(choice, "message") else choice.text
    tokens = tuple(getattr(choice, "token_ids", None) or ())
    found: Any = choice.logprobs
    values: Any = ()
    if found is not None:
        values = found.token_logprobs if hasattr(found, "token_logprobs") else [c.logprob for c in found.content]
    return Answer(text or "", tokens, choice.finish_reason, tuple(values))
