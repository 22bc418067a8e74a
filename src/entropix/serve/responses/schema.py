"""Requests of the Responses API as they are allowed to be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from entropix.serve.messages import NAME, Lenient, Strict
from entropix.serve.schema import IGNORED, Extension, StreamOptions

NEUTRAL: dict[str, tuple[Any, ...]] = {"background": (False,), "truncation": ("disabled", "auto")}
"""OpenAI's fields that this server does not support, and the values with which, beside null, they ask for nothing."""
DROPPED = IGNORED | {"max_tool_calls"}


class ContentPart(Lenient):
    type: Literal["input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _read_refusal(cls, data: Any) -> Any:
        return {**data, "text": data["refusal"]} if isinstance(data, dict) and "refusal" in data else data


class MessageItem(Lenient):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]


class CallItem(Lenient):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class OutputItem(Lenient):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[ContentPart]


class ReasoningItem(Lenient):
    type: Literal["reasoning"]
    summary: list[ContentPart] | None = None
    content: list[ContentPart] | None = None


Item = Annotated[MessageItem | CallItem | OutputItem | ReasoningItem, Field(discriminator="type")]


class ResponseTool(Strict):
    """A function; tools that OpenAI runs itself do not exist here."""

    type: Literal["function"]
    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class Reasoning(Lenient):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class TextConfig(Strict):
    format: dict[str, Any] | None = Field(default=None, description="text, json_object, or json_schema")
    verbosity: str | None = Field(default=None, description="accepted and ignored")


class ResponseRequest(Strict):
    """POST /v1/responses"""

    model: str
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, description="continues an answer that is still remembered")
    store: bool | None = Field(default=None, description="false: the answer is not remembered")
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[str] | None = Field(default=None, description="message.output_text.logprobs; others ask for nothing")
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    tools: Annotated[list[ResponseTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    entropix: Extension | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {k: v for k, v in data.items() if k in cls.model_fields or not (k in DROPPED or _neutral(k, v))}
        items = kept.get("input")
        if isinstance(items, list):  # a message need not say that it is one
            kept["input"] = [{"type": "message", **i} if isinstance(i, dict) and "role" in i else i for i in items]
        return kept


def _neutral(name: str, value: Any) -> bool:
    return value is None or value in NEUTRAL.get(name, ())
