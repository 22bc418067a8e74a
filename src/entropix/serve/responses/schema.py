"""Requests of the Responses API as they are allowed to be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from entropix.serve.messages import NAME, Lenient, Strict, without_idle
from entropix.serve.schema import IGNORED, Drawing, Extension, StreamOptions

NEUTRAL: dict[str, tuple[Any, ...]] = {"background": (False,), "truncation": ("disabled", "auto")}
"""OpenAI's fields that this server does not support, and the values with which, beside null, they ask for nothing."""
DROPPED = IGNORED | {"client_metadata", "max_tool_calls"}


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
    namespace: str | None = Field(default=None, description="the group that the tool is of")


class OutputItem(Lenient):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[ContentPart]


class ReasoningItem(Lenient):
    type: Literal["reasoning"]
    summary: list[ContentPart] | None = None
    content: list[ContentPart] | None = None


class ResponseTool(Lenient):
    """A function."""

    type: Literal["function"]
    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class OtherTool(Strict):
    """A tool that is no function, which is left out with a note: OpenAI runs most of them itself."""

    model_config = Strict.model_config | {"extra": "allow"}

    type: str


def _kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return kind if kind in ("function", "namespace") else "other"


Alone = Annotated[ResponseTool, Tag("function")] | Annotated[OtherTool, Tag("other")]
"""A tool that is no group."""


class ToolGroup(Lenient):
    """Functions under a common name, such as those of an MCP server."""

    type: Literal["namespace"]
    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    tools: list[Annotated[Alone, Discriminator(_kind)]]


AnyTool = Annotated[Alone | Annotated[ToolGroup, Tag("namespace")], Discriminator(_kind)]


class ToolsItem(Lenient):
    """Tools that stand in the input."""

    type: Literal["additional_tools"]
    tools: list[AnyTool]


Item = Annotated[MessageItem | CallItem | OutputItem | ReasoningItem | ToolsItem, Field(discriminator="type")]


class Reasoning(Lenient):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class TextConfig(Strict):
    format: dict[str, Any] | None = Field(default=None, description="text, json_object, or json_schema")
    verbosity: str | None = Field(default=None, description="accepted and ignored")


class ResponseRequest(Drawing):
    """POST /v1/responses"""

    model: str
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, description="continues an answer that is still remembered")
    store: bool | None = Field(default=None, description="false: the answer is not remembered")
    max_output_tokens: int | None = Field(default=None, ge=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[str] | None = Field(default=None, description="message.output_text.logprobs; others ask for nothing")
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    tools: Annotated[list[AnyTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    entropix: Extension | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = without_idle(cls, data, lambda name, value: name in DROPPED or _neutral(name, value))
        items = kept.get("input")
        if isinstance(items, list):  # a message need not say that it is one
            kept["input"] = [{"type": "message", **i} if isinstance(i, dict) and "role" in i else i for i in items]
        return kept


def _neutral(name: str, value: Any) -> bool:
    return value is None or value in NEUTRAL.get(name, ())
