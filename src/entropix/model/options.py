"""What `generate`, `stream`, `chat` and `load` take, for type checkers and editors. Nothing here runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from entropix.engines import Message

if TYPE_CHECKING:
    from entropix.constraints import Grammar
    from entropix.decoding import Constraint
    from entropix.policies import Policy
    from entropix.sampling import Filters, Repetition
    from entropix.search import SearchPlan, Strategy

Conversation: TypeAlias = Sequence[Message]
Prompt: TypeAlias = "str | Conversation"
"""A string is a user message if the model has a chat template, else plain text."""


Several: TypeAlias = "list[str] | tuple[str, ...] | Sequence[Conversation]"
"""Prompts that are decoded as one batch. Not any sequence of strings, since a string is one itself."""


Effort: TypeAlias = Literal["none", "low", "medium", "high"]


class Parameters(TypedDict, total=False):
    """Parameters of the built-in policies; `entropix policies NAME` explains them. Those of a policy from outside stand
    in its spec ("name:key=value") or in a `Policy` object."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    candidates: int
    inject: str
    inject_cooldown: int
    inject_max: int
    temperature_logits: float
    temperature_attention: float
    temperature_agreement: float
    top_p_attention: float
    top_p_resample: float
    top_k_interaction: float
    top_k_agreement: float
    min_p_logits: float
    clarify_heat: float
    branch_width: float
    resample_heat: float
    resample_nucleus: float
    low: float
    high: float
    exponent: float
    theta: float
    n: float
    tau: float
    eta: float
    low_entropy: float
    high_entropy: float
    low_varentropy: float
    high_varentropy: float
    control: Literal["random", "shuffled", "low"]


class Asking(Parameters, total=False):
    """Options of `Model.ask`."""

    policy: str | Policy | None
    seed: int | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    raw: bool
    attention: bool | None
    logit_bias: Mapping[int, float] | None
    filters: Filters | str | None
    repetition: Repetition | str | None
    leading: int
    reproducible: bool
    constraint: Constraint | Grammar | Mapping[str, Any] | None
    answer: str | Callable[[str], str | None] | None
    risk: float | str | None
    ballots: int | None
    uncertainty: str | Sequence[str]


class Options(Asking, total=False):
    """Options of one answer; `Model.generate` explains them."""

    search: str | SearchPlan | Strategy | Sequence[Strategy] | None
    effort: Effort | None


class EngineOptions(TypedDict, total=False):
    """Options of `load` for the engine; None keeps its default. threads, gpu_layers, flash_attention, kv_type, batch,
    lora, rope_scaling, rope_freq_base: llama_cpp only; device: transformers only; dtype: transformers and mlx."""

    context: int | None
    sequences: int | None
    cells: int | None
    attention_layers: int | Sequence[int] | None
    threads: int | None
    gpu_layers: int | None
    flash_attention: bool | None
    kv_type: str | None
    batch: int | None
    lora: str | Path | Sequence[str | Path] | Mapping[str, float] | None
    rope_scaling: str | None
    rope_freq_base: float | None
    device: str | None
    dtype: str | None


ModelName: TypeAlias = str | Path
