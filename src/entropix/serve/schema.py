"""Requests as they are allowed to be. Types are strict, unknown fields are errors, ranges are stated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)
"""OpenAI's fields that change nothing here and are accepted with any value."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "presence_penalty": (0,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "web_search_options": (),
}
"""OpenAI's fields that this server does not support, and the values with which, beside null, they ask for nothing."""

Parameter = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | str
Stop = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Extension(Strict):
    """What only this server can: how to decode, and what to report about it."""

    policy: str | None = Field(
        default=None, description='a name, or "name:parameter=value,…"; GET /entropix/info lists them'
    )
    parameters: dict[str, Parameter] = Field(
        default={}, description="the policy's parameters, before temperature and top_p"
    )
    search: str | None = Field(
        default=None, description='for example "tree:max_sequences=4+vote:answer=number"; "none"'
    )
    reproducible: bool | None = Field(
        default=None, description="text and log-probabilities depend on nothing beside this request, to the bit; slower"
    )
    effort: Literal["none", "low", "medium", "high"] | None = Field(
        default=None, description="as many texts as the answer needs; reasoning_effort, if given, must say the same"
    )
    ballots: int | None = Field(
        default=None,
        ge=1,
        description="with an effort: so many texts per question, which move between the questions of this request",
    )
    answer: str | None = Field(
        default=None, description="how the texts of a vote are read, such as number; recognised by default"
    )
    profile: str | None = Field(default=None, description="thresholds of another profile, by name")
    prefix: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=65_536)] = Field(
        default=[],
        description="tokens that the answer begins with, such as another's up to a place; not repeated in it",
    )
    progress: bool = Field(
        default=False, description="with stream: how a search stands, whenever a text of it begins or ends"
    )
    steps: bool = Field(default=True, description="report every step: signals, regime, parameters, candidates")
    leading: int = Field(default=8, ge=0, le=64, description="leading candidates a step")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(default=None, description="accepted and ignored")


class Common(Strict):
    model: str
    n: int | None = Field(default=None, ge=1, le=128)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    max_tokens: int | None = Field(default=None, ge=1, description="most tokens of an answer")
    temperature: float | None = Field(default=None, ge=0, le=2, description="the policy's base temperature; 0: greedy")
    top_p: float | None = Field(default=None, ge=0, le=1, description="the policy's base nucleus")
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, description="low, medium, high: as many texts as the answer needs to be sure of; docs/effort.md"
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    entropix: Extension | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if k in cls.model_fields or not (k in IGNORED or _neutral(k, v))}


def _neutral(name: str, value: Any) -> bool:
    return value is None or any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in NEUTRAL.get(name, ())
    )


class TextPart(Strict):
    type: Literal["text", "refusal"]
    text: str = Field(description="of a part of the type refusal, OpenAI's name for it is refusal")

    @model_validator(mode="before")
    @classmethod
    def _read_refusal(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("type") == "refusal" and "refusal" in data:
            return {"text" if k == "refusal" else k: v for k, v in data.items()}
        return data


ECHOED = ("parsed", "reasoning", "reasoning_content")
"""What clients add to an assistant's message, or other servers send with it, and send back: accepted and ignored."""


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = Field(default=None, description="accepted and ignored")

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        """A message comes back as it was sent: with fields that are null or empty, and of an assistant without text."""
        if not isinstance(data, dict):
            return data
        kept = {k: v for k, v in data.items() if k in cls.model_fields or not _is_empty(v)}
        if kept.get("role") == "assistant":
            kept = {k: v for k, v in kept.items() if k not in ECHOED}
            refusal = kept.pop("refusal", "")
            if _is_empty(kept.get("content")):
                kept["content"] = refusal
        return kept

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


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


class ChatRequest(Common):
    """POST /v1/chat/completions"""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1, description="the newer name of max_tokens")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: Format | None = None


Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(Common):
    """POST /v1/completions"""

    prompt: str | Annotated[list[str], Field(min_length=1)] | Tokens | Annotated[list[Tokens], Field(min_length=1)]
    logprobs: int | None = Field(default=None, ge=0, le=20)

    @field_validator("prompt", mode="before")
    @classmethod
    def _is_of_one_kind(cls, prompt: Any) -> Any:
        """One message for all four forms; of the ones that pydantic finds, none says what is allowed."""
        of_one_kind = isinstance(prompt, str)
        if isinstance(prompt, list):
            kinds = {type(part) for part in prompt}
            tokens = [part for one in prompt for part in one] if kinds == {list} else []
            of_one_kind = len(kinds) <= 1 and kinds <= {str, int, list} and all(type(t) is int for t in tokens)
        if not of_one_kind:
            raise PydanticCustomError(
                "prompt_kind",
                "it must be a string, a list of strings, a list of tokens (integers), or a list of such lists; "
                "not a mixture of them",
            )
        return prompt


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """What every error looks like."""

    error: ErrorBody
