"""What is asked of the decoding loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entropix.errors import ParameterError
from entropix.numeric import is_integer, plain
from entropix.policies import Policy
from entropix.sampling import Filters, Repetition

if TYPE_CHECKING:
    from entropix.decoding.hooks import Constraint, Search

LEADING = 8
"""How many leading candidates a step records."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One answer to decode.

    tokens: the prompt, at least one. seed: any integer; for the same logits it gives the same text. max_tokens: most
    tokens of the answer, None until the context is full. stop: texts that end the answer and are not part of it;
    the name of a control token, such as "<|im_start|>", stops at that token, though it adds no text.
    logit_bias: added to logits before anything is measured; −inf forbids a token. attention: None uses attention
    signals if policy and engine have them, True insists, False does without. leading: how many candidates each
    step records. ignore_end: go on after an end token, for benchmarks. keep: leave the sequence open at the end,
    for a next turn; the caller closes it. reproducible: text and log-probabilities depend on nothing beside this
    request, to the bit: it shares no other sequence and keeps none, and is computed apart from those beside it, which
    takes longer. search: how more than one continuation is explored, None for one. constraint: what the text must be,
    for this model; it ends the answer when nothing may follow, and nothing is injected into it. notes: what the reader
    of the answer must know of how it was asked. before: the bytes of the tokens at the prompt's end that the answer
    goes on from, so that a character which they begin is whole in its text. forced: tokens that come first, each with
    its log-probability, whatever is chosen; they count in max_tokens, and are not in the answer's text. risk: the
    share of wrong answers that is accepted, None for any; the loop does not read it.
    after: what the model is asked about the answer when it has ended; the loop does not read it either.
    filters: tokens that the policy does not get to draw from, found on what was measured. repetition: penalties on what
    has been said, in the logits that are measured.
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
    reproducible: bool = False
    search: Search | None = None
    constraint: Constraint | None = None
    notes: tuple[str, ...] = ()
    risk: float | None = None
    before: bytes = b""
    forced: Sequence[int] = ()
    filters: Filters | None = None
    repetition: Repetition | None = None
    after: object = None

    def __post_init__(self) -> None:
        for name in ("seed", "max_tokens", "leading"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in ("filters", "repetition"):  # those that are switched off are none
            asked: Filters | Repetition | None = getattr(self, name)
            object.__setattr__(self, name, asked if asked is not None and asked.active else None)
        bias_of = {plain(token): plain(bias) for token, bias in self.logit_bias.items()}
        object.__setattr__(self, "logit_bias", bias_of)
        if hasattr(self.tokens, "tolist"):  # an array of NumPy or torch
            object.__setattr__(self, "tokens", self.tokens.tolist())
        if not is_integer(self.seed):
            raise ParameterError(f"seed={self.seed!r} is not an integer")
        if self.max_tokens is not None and not _whole(self.max_tokens, 1):
            raise ParameterError(
                f"max_tokens={self.max_tokens!r} is out of range; allowed is an integer from 1, or None"
            )
        if not _whole(self.leading, 0):
            raise ParameterError(f"leading={self.leading!r} is out of range; allowed is an integer from 0")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ParameterError("stop takes texts of at least one character; one is empty or no text")
        for token, bias in self.logit_bias.items():
            number = isinstance(bias, (int, float)) and not isinstance(bias, bool)
            if not _whole(token, 0) or not number or not bias < math.inf:
                raise ParameterError(f"logit_bias: {token!r}: {bias!r} is not a token number and a number (or -inf)")


def _whole(value: object, least: int) -> bool:
    return is_integer(value) and value >= least
