"""Requests of Ollama's API. What Ollama itself passes over, such as unknown options, is passed over here too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool


class Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Choices(Loose):
    """Ollama's options; what concerns memory and hardware is this server's own."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    seed: int | None = None
    num_predict: int | None = Field(default=None, description="most tokens; negative: the server's limit")
    stop: str | list[str] | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class OllamaFunction(Loose):
    name: str
    arguments: dict[str, Any] = {}


class OllamaCall(Loose):
    id: str | None = None
    function: OllamaFunction


class OllamaMessage(Loose):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = ""
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: list[OllamaCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaRequest(Loose):
    model: str
    stream: StrictBool | None = None
    format: str | dict[str, Any] | None = Field(default=None, description='"json" or a JSON schema')
    options: Choices | None = None
    think: StrictBool | str | None = None


class OllamaChat(OllamaRequest):
    """POST /api/chat"""

    messages: list[OllamaMessage] = []
    tools: list[dict[str, Any]] | None = None


class OllamaGenerate(OllamaRequest):
    """POST /api/generate"""

    prompt: str = ""
    system: str | None = None
    suffix: str | None = None
    raw: StrictBool | None = None
    images: list[Any] | None = None


class OllamaName(Loose):
    """POST /api/show"""

    model: str | None = None
    name: str | None = None
