"""What is asked of the decoding loop, and one answer in the making."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from entropix.decoding.text import TextStream
from entropix.engines import SequenceHandle
from entropix.errors import ParameterError
from entropix.policies import Policy
from entropix.types import Ledger, State, Step

LEADING = 8
"""How many leading candidates a step records."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One answer to decode.

    tokens: the prompt, at least one. seed: any whole number; the same seed gives the same text. max_tokens: most
    tokens of the answer, None until the context is full. stop: texts that end the answer and are not part of it.
    logit_bias: added to logits before anything is measured; −inf forbids a token. attention: None uses attention
    signals if policy and engine have them, True insists, False does without. leading: how many candidates each
    step records. ignore_end: go on after an end token, for benchmarks. keep: leave the sequence open at the end,
    for a next turn; the caller closes it.
    """

    tokens: Sequence[int]
    policy: Policy
    seed: int = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    attention: bool | None = None
    leading: int = LEADING
    ignore_end: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens is not None and not _whole(self.max_tokens, 1):
            raise ParameterError(
                f"max_tokens={self.max_tokens!r} is out of range; allowed is a whole number from 1, or None"
            )
        if not _whole(self.leading, 0):
            raise ParameterError(f"leading={self.leading!r} is out of range; allowed is a whole number from 0")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ParameterError("stop takes texts of at least one character; one is empty or no text")
        for token, bias in self.logit_bias.items():
            if not _whole(token, 0) or not isinstance(bias, (int, float)) or not bias < math.inf:
                raise ParameterError(f"logit_bias: {token!r}: {bias!r} is not a token number and a number (or -inf)")


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(eq=False)
class Job:
    """A request while it is decoded: its sequence, what it waits to forward, and what it has said."""

    request: Request
    injection: tuple[int, ...]
    attention: bool
    index: int = 0
    sequence: SequenceHandle | None = None
    pending: list[int] = field(default_factory=list)
    pending_kind: str = "prompt"
    tokens: list[int] = field(default_factory=list)
    """The answer so far."""
    steps: list[Step] = field(default_factory=list)
    stream: TextStream = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    state: State | None = None
    """The policy's state while the job is out of the running batch."""
    finish_reason: str = ""
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.stream = TextStream(self.request.stop)

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together: the position of the next token."""
        return len(self.request.tokens) + len(self.tokens)

    @property
    def seconds(self) -> float:
        return (self.ended or time.perf_counter()) - self.started
