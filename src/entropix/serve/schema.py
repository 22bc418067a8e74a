"""Requests as they are allowed to be. Types are strict, unknown fields are errors, ranges are stated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from entropix.serve.messages import Choice, Format, FunctionTool, Message, Strict, without_idle

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
    "cache_prompt": (True,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "ignore_eos": (False,),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stop_token_ids": ([],),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "use_beam_search": (False,),
    "web_search_options": (),
}
"""Fields of OpenAI's and other servers' that this one does not support, and the values with which, beside null, they
ask for nothing."""

Parameter = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | str
Share = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]

INTEGERS = frozenset({"max_completion_tokens", "max_tokens", "n", "repeat_last_n", "seed", "top_k", "top_logprobs"})
"""Fields whose 2.0 is the integer 2: JSON and its schemas know no other difference, and some languages write it so."""

OBJECTS = frozenset({"entropix", "logit_bias", "response_format", "stream_options"})
"""Fields that ask for nothing when they are empty, also as the list that some languages make of an empty object."""


def _is_a_length(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("no_length", "it must be at least 1, or -1 for the server's limit")
    return value


MaxTokens = Annotated[int, Field(ge=-1, json_schema_extra={"not": {"const": 0}}), AfterValidator(_is_a_length)]


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
    risk: float | str | None = Field(
        default=None,
        description='of a vote: the share of wrong answers to keep to, between 0 and 1, as 0.1 or "10%"; an answer not '
        "sure enough for it has abstained: true in its result; needs a calibrated confidence",
    )
    answer: str | None = Field(
        default=None, description="how the texts of a vote are read, such as number; recognised by default"
    )
    uncertainty: str | Annotated[list[str], Field(max_length=16)] = Field(
        default=[], description="estimators that ask the model about a vote's answers: self-assessment"
    )
    options: bool = Field(
        default=False,
        description="with response_format json_schema: the exact probability of every option of its enums",
    )
    profile: str | None = Field(default=None, description="thresholds of another profile, by name")
    parse_special: bool | None = Field(
        default=None, description="whether markup in the prompt of a completion becomes its token; by default it does"
    )
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

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        return without_idle(cls, data, lambda name, value: name == "continuous_usage_stats" and value in (None, False))


class Drawing(Strict):
    """How tokens are drawn."""

    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    temperature: float | None = Field(default=None, ge=0, le=2, description="the policy's base temperature; 0: greedy")
    top_p: float | None = Field(default=None, ge=0, le=1, description="the policy's base nucleus")
    top_k: int | None = Field(default=None, ge=-1, description="filter: so many of the likeliest; 0, -1: all")
    min_p: Share | None = Field(default=None, description="filter: least probability relative to the likeliest token")
    typical_p: Share | None = Field(default=None, description="filter: locally typical sampling; 1: off")
    top_h: Share | None = Field(default=None, description="filter: share of the entropy that is kept; 1: off")
    xtc_probability: Share | None = Field(default=None, description="filter: how often top choices are left out")
    xtc_threshold: Share | None = Field(default=None, description="filter: probability of a top choice")
    adaptive_target: float | None = Field(
        default=None, ge=-1, le=1, description="adaptive-p: mean probability of the tokens drawn; below 0: off"
    )
    adaptive_decay: float | None = Field(default=None, ge=0, le=0.99, description="how much of that mean a token keeps")
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, description="of prompt and answer; 1: none")
    repeat_penalty: float | None = Field(default=None, gt=0, le=10, description="llama.cpp's name of it")
    repeat_last_n: int | None = Field(default=None, ge=-1, description="how far repetition_penalty and DRY look back")
    dry_multiplier: float | None = Field(default=None, ge=0, le=100, description="penalty on repeated sequences")
    dry_base: float | None = Field(default=None, ge=1, le=100)
    dry_allowed_length: int | None = Field(default=None, ge=0)


class Common(Drawing):
    model: str
    n: int | None = Field(default=None, ge=1, le=128)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = Field(
        default=None, description="at most sixteen texts; an empty one asks for nothing"
    )
    max_tokens: MaxTokens | None = Field(default=None, description="most tokens of an answer; -1: the server's limit")
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
        known = without_idle(cls, data, lambda name, value: name in IGNORED or _neutral(name, value))
        asked = {k: _plain(k, v) for k, v in known.items()}
        # entropix: {} is no emptiness: it asks for the steps
        return {k: v for k, v in asked.items() if k not in OBJECTS or not (v == [] or (v == {} and k != "entropix"))}


def _plain(name: str, value: Any) -> Any:
    """The value of a field as it is meant."""
    if name == "stop" and isinstance(value, list):
        return [text for text in value if text not in ("", None)]
    if (name == "stop" and value == "") or (name == "logprobs" and value is False):
        return None
    if name in INTEGERS and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _neutral(name: str, value: Any) -> bool:
    return value is None or any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in NEUTRAL.get(name, ())
    )


class ChatRequest(Common):
    """POST /v1/chat/completions"""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: MaxTokens | None = Field(default=None, description="the newer name of max_tokens")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: Format | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = Field(
        default=None, description="functions that the model may ask for; their arguments keep to their schemas"
    )
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = Field(default=None, description="false: at most one call")
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="further names for the chat template, such as enable_thinking"
    )
    continue_final_message: bool | None = Field(
        default=None, description="whether a last message of the assistant is continued; by default it is"
    )
    add_generation_prompt: bool | None = Field(default=None, description="the opposite of continue_final_message")


Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(Common):
    """POST /v1/completions"""

    prompt: str | Annotated[list[str], Field(min_length=1)] | Tokens | Annotated[list[Tokens], Field(min_length=1)]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    max_tokens: int | None = Field(
        default=None, ge=-1, description="most tokens of an answer; -1: the server's limit; 0: with echo and logprobs"
    )
    echo: bool | None = Field(default=None, description="the prompt before the answer, also with its logprobs")
    suffix: str | None = Field(default=None, description="what stands behind the text that is to be filled in")
    add_special_tokens: bool | None = Field(default=None, description="false: no beginning-of-text token is added")

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


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "What was wrong with the request"},
    "5XX": {"model": ErrorAnswer, "description": "Why the server could not answer"},
}
"""What the document says of every endpoint's refusals."""
