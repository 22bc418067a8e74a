"""Requests to an endpoint: what it understands, retries, time limits, and errors that say what to do.

Connections, server-sent events, and retries of requests that have not begun to answer (429, 5xx and connection errors,
with exponential back-off, jitter and Retry-After) are those of the `openai` package.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from entropix.errors import EndpointError
from entropix.remote.wire import Chunk, read_chunk

TOPS = (20, 10, 5, 2)
"""How many leading tokens are asked for, until an endpoint agrees; 20 is the most that OpenAI's API knows."""

CONTINUES: tuple[Mapping[str, Any], ...] = ({"continue_final_message": True, "add_generation_prompt": False}, {})
"""Fields with which endpoints continue a last message of the assistant: vLLM's and SGLang's, and llama.cpp's none."""


class Refusal(EndpointError):
    """What would go wrong again with any other request of this answer."""


class Broken(EndpointError):
    """An answer that broke off, and may go well when it is asked for again."""


@dataclass
class Learned:
    """What an endpoint turned out to understand. top: index in TOPS. continues: fields that make a chat endpoint go on
    with the assistant's last message, None where it was not tried, False where it cannot."""

    model: str | None
    top: int = 0
    limit: str = "max_tokens"
    usage: bool = True
    continues: Mapping[str, Any] | bool | None = None


@dataclass
class Client:
    """Asks one endpoint, for one answer: connections belong to the event loop it was made in. headers:
    of every request."""

    url: str
    learned: Learned
    api_key: str | None
    retries: int
    timeout: float
    headers: Mapping[str, str]
    _client: openai.AsyncOpenAI = field(init=False)

    async def __aenter__(self) -> Client:
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.api_key or "none",
            max_retries=self.retries,
            timeout=self.timeout,
            default_headers=self.headers,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @property
    def top(self) -> int:
        return TOPS[self.learned.top]

    async def model(self) -> str:
        """The model to ask for: the given one, else the first that the endpoint lists."""
        if self.learned.model is None:
            listed = await self.get("/models")
            try:
                self.learned.model = str(listed["data"][0]["id"])
            except (TypeError, KeyError, IndexError):
                raise Refusal(f"{self.url} lists no model; name one with model=") from None
        return self.learned.model

    async def get(self, path: str) -> Any:
        """What stands at a path of the API, or at another address. Raises EndpointError."""
        with self._errors():
            async with asyncio.timeout(self.timeout):
                return await self._client.get(path, cast_to=object)

    async def events(self, body: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        """The chunks that answer a conversation, as they come, with nothing added to the request. Raises
        EndpointError."""
        with self._errors():
            body = {"model": await self.model(), **body, "stream": True}
            kind = openai.AsyncStream[Any]
            async with await self._client.post(
                "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=kind
            ) as events:
                async for raw in events:
                    yield raw

    async def stream(self, body: Mapping[str, Any], most: int) -> AsyncGenerator[Chunk]:
        """The chunks that answer a request, with log-probabilities. body: with `messages` or `prompt`; most: tokens.

        Closing the iterator closes the connection. Raises Refusal, Broken once the answer has begun, else
        EndpointError."""
        begun = finished = False
        try:
            with self._errors():
                async with asyncio.timeout(self.timeout), await self._open(body, most) as events:
                    async for raw in events:
                        chunk = read_chunk(raw)
                        begun, finished = True, finished or chunk.finish is not None
                        yield chunk
        except EndpointError as error:
            if begun and type(error) is EndpointError:
                raise Broken(str(error)) from None
            raise
        if not finished:
            raise Broken(f"{self.url} broke its answer off before the end")

    async def continues(self) -> Mapping[str, Any]:
        """The fields with which the endpoint continues a last message of the assistant. Raises Refusal where it
        cannot. Found out once, from how many tokens a message of one character adds to a prompt: one where it is
        gone on with; the ends of two turns and more where it is not."""
        if self.learned.continues is None:
            user = {"role": "user", "content": "Hi"}
            base = await self._prompt_tokens({"messages": [user]})
            if not base:
                raise Refusal(
                    f"{self.url} does not say how many tokens a prompt has (usage.prompt_tokens), so it cannot be "
                    "found out whether it continues a text that was begun, as a tree needs; use vote, or raw text"
                )
            found: Mapping[str, Any] | bool = False
            for fields in CONTINUES:
                with contextlib.suppress(Refusal):
                    asked = {"messages": [user, {"role": "assistant", "content": "A"}], **fields}
                    added = (await self._prompt_tokens(asked) or base + 9) - base
                    if added <= 2:
                        found = fields
                        break
            self.learned.continues = found
        if isinstance(self.learned.continues, bool):
            raise Refusal(
                f"{self.url} does not continue an assistant's message that was begun, so a tree cannot fork its "
                "texts; use vote, or raw text (raw=True, --raw), which is continued through /v1/completions"
            )
        return self.learned.continues

    async def _prompt_tokens(self, body: Mapping[str, Any]) -> int:
        """How many tokens a prompt has; 0 where the endpoint does not say."""
        body = {"model": await self.model(), self.learned.limit: 1, **body}
        with self._errors():
            async with asyncio.timeout(self.timeout):
                answer: Any = await self._client.post("/chat/completions", cast_to=object, body=body)
        usage = answer.get("usage") if isinstance(answer, Mapping) else None
        return int((usage or {}).get("prompt_tokens") or 0)

    async def _open(self, body: Mapping[str, Any], most: int) -> openai.AsyncStream[Any]:
        """Send a request; what an endpoint does not know is left out or asked for less of, and remembered."""
        chat = "messages" in body
        while True:
            learned = self.learned
            options: dict[str, Any] = {learned.limit if chat else "max_tokens": most, "stream": True}
            options |= {"logprobs": True, "top_logprobs": self.top} if chat else {"logprobs": self.top}
            if learned.usage:
                options["stream_options"] = {"include_usage": True}
            try:
                return await self._client.post(
                    "/chat/completions" if chat else "/completions",
                    cast_to=object,
                    body={"model": await self.model(), **body, **options},
                    stream=True,
                    stream_cls=openai.AsyncStream[Any],
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._asks_less(str(error)):
                    raise

    def _asks_less(self, why: str) -> bool:
        """Whether a refusal is about something that can be left out or made smaller; then it is, from now on."""
        learned = self.learned
        if "stream_options" in why and learned.usage:
            learned.usage = False
        elif "max_completion_tokens" in why and learned.limit == "max_tokens":
            learned.limit = "max_completion_tokens"
        elif "logprobs" in why and learned.top < len(TOPS) - 1:
            learned.top += 1
        else:
            return False
        return True

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise EndpointError(
                f"{self.url} did not answer in {self.timeout:g} s; give it more with timeout="
            ) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise Refusal(f"{self.url} refuses the API key ({_said(error)}); give the right one") from None
        except (openai.RateLimitError, openai.InternalServerError) as error:
            raise EndpointError(f"{self.url} still fails after {self.retries} retries: {_said(error)}") from None
        except openai.APIStatusError as error:
            raise Refusal(f"{self.url} refuses the request: {_said(error)}") from None
        except openai.APITimeoutError:
            raise EndpointError(
                f"{self.url} did not answer in {self.timeout:g} s; give it more with timeout="
            ) from None
        except openai.APIConnectionError as error:
            raise EndpointError(
                f"cannot reach {self.url}: {error.__cause__ or error}; is a server running there?"
            ) from None
        except openai.APIError as error:
            raise EndpointError(f"{self.url} failed while it answered: {error.message}") from None
        except ValueError as error:  # an event that is not JSON
            raise Refusal(f"{self.url} sent what is not JSON: {error}") from None


def _said(error: openai.APIStatusError) -> str:
    """What the endpoint itself says, in a line."""
    body = error.body
    said = body.get("message") if isinstance(body, Mapping) else None
    return f"{error.status_code} {' '.join(str(said or error.message).split())[:300]}"
