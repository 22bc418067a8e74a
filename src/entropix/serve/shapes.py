"""How each of OpenAI's two endpoints writes a choice, whole or in chunks."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Protocol

from entropix.engines import Tokenizer
from entropix.types import Candidate, Step

IMPOSSIBLE = -9999.0
"""The log-probability that OpenAI's API states where there is none: of injected tokens, and of probability 0."""


class Shape(Protocol):
    """How one endpoint writes answers."""

    kind: str
    chunk_kind: str
    prefix: str

    def choice(self, index: int, text: str, logprobs: Any, finish: str) -> dict[str, Any]: ...

    def begin(self) -> dict[str, Any] | None:
        """The part of a choice that its first chunk consists of; None for no such chunk."""
        ...

    def delta(self, text: str) -> str:
        """The JSON members that hold a chunk's text."""
        ...

    def last(self) -> str:
        """The same for a chunk without text."""
        ...

    def logprobs(self, steps: Sequence[Step], top: int, tokenizer: Tokenizer, offset: int) -> Any: ...


class ChatShape:
    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def choice(self, index: int, text: str, logprobs: Any, finish: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def begin(self) -> dict[str, Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def delta(self, text: str) -> str:
        return f'"delta": {{"content": {json.dumps(text)}}}'

    def last(self) -> str:
        return '"delta": {}'

    def logprobs(self, steps: Sequence[Step], top: int, tokenizer: Tokenizer, offset: int) -> Any:
        def entry(token: int, label: str, logprob: float) -> dict[str, Any]:
            return {"token": label, "logprob": logprob, "bytes": list(tokenizer.piece(token))}

        content = [
            {
                **entry(step.token, step.label, _finite(step.logprob)),
                "top_logprobs": [entry(c.token, c.label, _logprob(c)) for c in step.leading[:top]],
            }
            for step in steps
        ]
        return {"content": content, "refusal": None}


class CompletionShape:
    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"

    def choice(self, index: int, text: str, logprobs: Any, finish: str) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def begin(self) -> dict[str, Any] | None:
        return None

    def delta(self, text: str) -> str:
        return f'"text": {json.dumps(text)}'

    def last(self) -> str:
        return '"text": ""'

    def logprobs(self, steps: Sequence[Step], top: int, tokenizer: Tokenizer, offset: int) -> Any:
        offsets = []
        for step in steps:
            offsets.append(offset)
            offset += len(step.text)
        return {
            "tokens": [step.label for step in steps],
            "token_logprobs": [_finite(step.logprob) for step in steps],
            # the token that was taken is always there, so there can be one more than were asked for
            "top_logprobs": [
                {c.label: _logprob(c) for c in step.leading[:top]} | {step.label: _finite(step.logprob)}
                for step in steps
            ],
            "text_offset": offsets,
        }


def _finite(logprob: float | None) -> float:
    return IMPOSSIBLE if logprob is None or not math.isfinite(logprob) else logprob


def _logprob(candidate: Candidate) -> float:
    return math.log(candidate.before) if candidate.before > 0 else IMPOSSIBLE
