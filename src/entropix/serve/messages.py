"""Messages, tools and formats of a chat request as they are allowed to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Lenient(Strict):
    """An object of which clients send back more than what matters here."""

    model_config = Strict.model_config | {"extra": "ignore"}


def without_idle(model: type[BaseModel], data: Any, is_idle: Callable[[str, Any], bool]) -> Any:
    """`data` without the fields that `model` does not have and that ask for nothing. is_idle: of a name and a value."""
    if not isinstance(data, dict):
        return data
    return {k: v for k, v in data.items() if k in model.model_fields or not is_idle(k, v)}


class TextPart(Lenient):
    type: Literal["text", "refusal"]
    text: str = Field(description="of a part of the type refusal, OpenAI's name for it is refusal")

    @model_validator(mode="before")
    @classmethod
    def _read_refusal(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("type") == "refusal" and "refusal" in data:
            return {"text" if k == "refusal" else k: v for k, v in data.items()}
        return data


NAME = r"^[A-Za-z0-9_.-]{1,128}$"

BESIDE = frozenset({"cache_control", "id", "provider_specific_fields"})
"""What clients keep with a message, for themselves or for other servers: accepted and ignored."""
ECHOED = BESIDE | {"annotations", "parsed"}
"""What they add to an assistant's message and send back: accepted and ignored."""


class Called(Lenient):
    name: str
    arguments: str = Field(default="", description="JSON text, as the model wrote it; an object is taken, too")

    @model_validator(mode="before")
    @classmethod
    def _write_arguments(cls, data: Any) -> Any:
        """Clients that have parsed the arguments send them back as an object, and of a call without any nothing."""
        if not isinstance(data, dict) or isinstance(data.get("arguments", ""), str):
            return data
        given = data["arguments"]
        if given is None or isinstance(given, dict):
            return {**data, "arguments": "" if given is None else json.dumps(given, ensure_ascii=False)}
        return data


class ToolCall(Lenient):
    """A call that an assistant's message holds. Clients put deltas together and send them back with their index."""

    id: str
    type: Literal["function"] = "function"
    function: Called


def _needs_role_alone(document: dict[str, Any]) -> None:
    """A message of an assistant or a tool may say nothing: JSON schema has no short way to say of whom."""
    document["required"] = ["role"]


class Message(Strict):
    model_config = ConfigDict(**{**Strict.model_config, "json_schema_extra": _needs_role_alone})

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = Field(default=None, description="of a tool, for its template; else ignored")
    tool_calls: list[ToolCall] | None = None  # an empty list, which clients send, is none
    tool_call_id: str | None = Field(default=None, description="of which call this is the result")
    reasoning_content: str | None = Field(default=None, description="an assistant's reasoning, for its template")

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        """A message comes back as it was sent: with fields that are null or empty, and of an assistant without text."""
        if not isinstance(data, dict):
            return data
        kept = without_idle(cls, data, lambda name, value: name in BESIDE or _is_empty(value))
        if kept.get("role") == "assistant":
            kept = {k: v for k, v in kept.items() if k not in ECHOED}
            reasoning = kept.pop("reasoning", None)  # vLLM's name for it
            if _is_empty(kept.get("reasoning_content")) and isinstance(reasoning, str) and reasoning:
                kept["reasoning_content"] = reasoning
            if _is_empty(kept.get("tool_calls")):
                kept.pop("tool_calls", None)
            refusal = kept.pop("refusal", "")
            if _is_empty(kept.get("content")):
                kept["content"] = refusal or ""
        elif _is_empty(kept.get("tool_calls")):
            kept.pop("tool_calls", None)
        if kept.get("role") == "tool" and _is_empty(kept.get("content")):
            kept["content"] = ""
        return kept

    @model_validator(mode="after")
    def _fits_its_role(self) -> Message:
        if self.tool_calls and self.role != "assistant":
            raise PydanticCustomError("tool_calls", "only an assistant's message has tool_calls")
        return self

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


class Function(Strict):
    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="JSON schema of the arguments")
    strict: bool | None = None


class FunctionTool(Strict):
    type: Literal["function"]
    function: Function

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        return without_idle(cls, data, lambda name, value: name in BESIDE or value is None)


class FunctionName(Strict):
    name: str


class ChosenTool(Strict):
    type: Literal["function"]
    function: FunctionName


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenTool], Field(min_length=1)]


class AllowedChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


Choice = Literal["none", "auto", "required"] | Annotated[ChosenTool | AllowedChoice, Field(discriminator="type")]


class TextFormat(Strict):
    type: Literal["text"]


class JsonFormat(Strict):
    type: Literal["json_object"]


class JsonSchema(Strict):
    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


Format = Annotated[TextFormat | JsonFormat | JsonSchemaFormat, Field(discriminator="type")]
