"""Requests of Anthropic's Messages API as they are allowed to be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from entropix.serve.messages import NAME, Lenient, Strict, without_idle
from entropix.serve.schema import Extension

IGNORED = frozenset(
    ("cache_control", "context_management", "diagnostics", "inference_geo", "metadata", "service_tier", "speed")
)
"""Fields that concern Anthropic's own service, and change nothing here."""


class TextBlock(Lenient):
    type: Literal["text"]
    text: str


class ThinkingBlock(Lenient):
    type: Literal["thinking"]
    thinking: str


class HiddenBlock(Lenient):
    type: Literal["redacted_thinking"]


class CallBlock(Lenient):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ResultBlock(Lenient):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] | None = ""


Block = Annotated[TextBlock | ThinkingBlock | HiddenBlock | CallBlock | ResultBlock, Field(discriminator="type")]


class Turn(Lenient):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class OfferedTool(Lenient):
    """A tool of the client's; those that Anthropic runs itself do not exist here."""

    type: Literal["custom"] = "custom"
    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    input_schema: dict[str, Any] = Field(description="JSON schema of the arguments")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class ToolChoice(Lenient):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Lenient):
    type: Literal["enabled", "adaptive", "disabled"]


class OutputFormat(Lenient):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Lenient):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class CountRequest(Strict):
    """POST /v1/messages/count_tokens"""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: Annotated[list[OfferedTool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = Field(default=None, description="enable_thinking of the chat template")
    output_config: OutputConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        return without_idle(cls, data, lambda name, value: name in IGNORED or value is None)


class MessagesRequest(CountRequest):
    """POST /v1/messages"""

    max_tokens: int = Field(ge=1)
    stop_sequences: Annotated[list[str], Field(max_length=16)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1, description="of ours; Anthropic has none")
    stream: bool | None = None
    entropix: Extension | None = None
