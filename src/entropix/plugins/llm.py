"""The plug-in of the command-line tool `llm`: every local model under its own name, with effort and a confidence.

    llm install 'entropix-llm[llama]'
    llm -m entropix/smollm2 'Why is the sky blue?'
    llm -m entropix/smollm2 -o effort high 'What is 17 * 23?'
    llm logs -n 1 --json        # response_json: answer, confidence, where it comes from, uncertainty, tokens

Models are those of `entropix models`; ENTROPIX_LLM_MODELS names further ones, files or hub names, separated by commas.
A model is loaded at its first prompt and kept, so that `llm chat` and programs load it once."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import llm
from llm.parts import Message, TextPart
from pydantic import Field

import entropix
from entropix.errors import EntropixError
from entropix.types import Result

VARIABLE = "ENTROPIX_LLM_MODELS"
OPEN = {"additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "$ref"}
"""Words of a schema by which it says itself which further fields an object may have."""
TEXTS = 16
"""Sequences of a model: an answer with effort high may write five texts at a time, and more wait for nothing."""


class LlmOptions(llm.Options):  # type: ignore[misc]  # llm ships no types
    """What `-o` takes."""

    effort: Literal["none", "low", "medium", "high"] | None = Field(
        default=None, description="as many texts as the answer needs to be sure of; without it one text"
    )
    policy: str | None = Field(
        default=None, description="how tokens are chosen: NAME or NAME:PARAMETER=VALUE,… (`entropix policies`)"
    )
    search: str | None = Field(default=None, description="such as vote:n=8,answer=number (`entropix searches`)")
    answer: str | None = Field(default=None, description="how an answer is read off a text, with effort")
    risk: float | str | None = Field(default=None, description="abstain where more than this share would be wrong")
    temperature: float | None = Field(default=None, description="of the policy", ge=0)
    max_tokens: int | None = Field(default=None, description="most tokens of a text (default: 512)", ge=1)
    seed: int | None = Field(default=None, description="the same seed gives the same text")


@cache
def loaded(name: str) -> entropix.Model:
    """The model of a name, one for the process: sync and async prompts share it."""
    return entropix.load(name, sequences=TEXTS)


def names() -> list[str]:
    """What can be loaded without a download, and what the environment adds."""
    from entropix.models import available

    added = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return list(dict.fromkeys([*(entry.name for entry in available()), *filter(None, added)]))


class _Local:
    """What both kinds of models share."""

    can_stream = True
    supports_schema = True
    Options = LlmOptions

    def __init__(self, name: str) -> None:
        self.name = name
        self.model_id = f"entropix/{Path(name).stem if name.endswith('.gguf') else name}"

    def __str__(self) -> str:
        return f"Entropix: {self.model_id}"

    def asked(self, prompt: Any) -> tuple[entropix.Model, list[dict[str, str]], dict[str, Any]]:
        """The model, the conversation and the options of a prompt. Raises llm.ModelError with what to do."""
        try:
            model = loaded(self.name)
        except EntropixError as error:
            raise llm.ModelError(str(error)) from None
        messages = [_plain(message) for message in prompt.messages]
        given = {k: v for k, v in prompt.options.model_dump().items() if v is not None}
        if prompt.schema:
            given["constraint"] = closed(prompt.schema)
        return model, messages, given


class LlmModel(_Local, llm.Model):  # type: ignore[misc]
    """A local model for `llm`."""

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        model, messages, options = self.asked(prompt)
        try:
            asked: Any = messages if model.tokenizer.has_chat_template else _joined(messages)
            with model.stream(asked, **options) as tokens:
                for token in tokens:
                    yield token.text
            result = tokens.result
        except EntropixError as error:
            raise llm.ModelError(str(error)) from None
        _record(response, result)


class AsyncLlmModel(_Local, llm.AsyncModel):  # type: ignore[misc]
    """The same for asyncio: prompts of several tasks are decoded as one batch."""

    async def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> AsyncGenerator[str]:
        model, messages, options = self.asked(prompt)
        try:
            asked: Any = messages if model.tokenizer.has_chat_template else _joined(messages)
            async with model.astream(asked, **options) as tokens:
                async for token in tokens:
                    yield token.text
            result = tokens.result
        except EntropixError as error:
            raise llm.ModelError(str(error)) from None
        _record(response, result)


def closed(schema: Any) -> Any:
    """A schema whose objects have the fields that it names and no others, unless it says otherwise. What `llm` makes of
    'name, age int' leaves that open, and a small model would add fields until its tokens are spent."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: closed(field) for name, field in made["properties"].items()}
        if made.get("type") == "object" and not OPEN & made.keys():
            made["additionalProperties"] = False
    if "items" in made:
        made["items"] = closed(made["items"])
    return made


def _plain(message: Message) -> dict[str, str]:
    """A message as a chat template takes it. Raises llm.ModelError for what is no text."""
    other = [type(part).__name__ for part in message.parts if not isinstance(part, TextPart)]
    if other:
        raise llm.ModelError(
            f"entropix reads text, and message of {message.role!r} has {', '.join(other)}; leave it out"
        )
    return {"role": message.role, "content": "".join(part.text for part in message.parts)}


def _joined(messages: list[dict[str, str]]) -> str:
    """A conversation for a model without a chat template: its texts, one after the other."""
    return "\n\n".join(message["content"] for message in messages)


def _record(response: Any, result: Result) -> None:
    """What `llm logs` keeps beside the text."""
    said: dict[str, Any] = {
        "model": result.model,
        "policy": result.policy,
        "seed": result.seed,
        "finish_reason": result.finish_reason,
        "uncertainty": round(result.uncertainty, 4),
        "uncertainty_source": result.uncertainty_source,
        "notes": list(dict.fromkeys(result.notes)),
    }
    if result.answer is not None and result.search is not None:
        said |= {
            "answer": result.answer,
            "confidence": result.confidence,
            "confidence_source": result.confidence_source,
            "abstained": result.abstained,
            "shares": dict(result.search.shares),
        }
    response.response_json = said
    response.set_usage(input=result.prompt_tokens, output=result.ledger.forwarded - result.ledger.prompt)


@llm.hookimpl  # type: ignore[untyped-decorator]
def register_models(register: Any) -> None:
    for name in names():
        register(LlmModel(name), AsyncLlmModel(name))
