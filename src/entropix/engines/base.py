"""The engine contract: what every runtime must offer so that one decoding loop drives them all.

An engine owns model, tokenizer and KV cache, and knows nothing about policies. `tests/helpers/engine_contract.py`
runs against every engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from entropix.types import Capabilities, ModelInfo, Observation

Message: TypeAlias = Mapping[str, Any]
"""One chat turn: `{"role": "system" | "user" | "assistant" | "tool", "content": text}`, and what else the template
reads, such as `tool_calls`."""


class Tokenizer(Protocol):
    """Text ↔ tokens of one model."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a turn or a text, taken from the model."""
        ...

    @property
    def begin_token(self) -> int | None:
        """The beginning-of-text token, also of a model that does not want it ahead of a text; None without one."""
        ...

    @property
    def has_chat_template(self) -> bool: ...

    @property
    def template(self) -> str:
        """The source of the chat template, "" without one."""
        ...

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        """Tokens of `text`. `special`: markup such as <|im_end|> becomes its token instead of plain text.
        `begin`: prepend the model's beginning-of-text token, if it wants one."""
        ...

    def piece(self, token: int) -> bytes:
        """The bytes that `token` adds to the text: b"" for control tokens, possibly half a character."""
        ...

    def label(self, token: int) -> str:
        """`token` for a person, never empty: control tokens by their name, undecodable bytes escaped."""
        ...

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
        begun: str = "",
    ) -> list[int]:
        """Tokens of a conversation in the model's own template, ready for the assistant's answer.

        tools: what the template is to show as callable; variables: further names that it reads, such as
        enable_thinking; begun: how the answer begins, already written. Control markup in any of the strings is text.

        Raises PromptError when the model has no template or the template refuses the messages."""
        ...


class SequenceHandle(Protocol):
    """A live sequence. `tokens` are those in the KV cache; callers read it and never write it."""

    @property
    def tokens(self) -> Sequence[int]: ...


Work: TypeAlias = tuple[SequenceHandle, Sequence[int]]
"""A sequence and the tokens to append to it, at least one."""


@runtime_checkable
class Engine(Protocol):
    """A language model on some runtime, many sequences at a time."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def open(self, tokens: Sequence[int] = ()) -> SequenceHandle:
        """A new sequence that is going to hold `tokens`.

        Whatever prefix of `tokens` a live sequence already holds is shared, not computed again; the handle's
        `tokens` say how much. At least the last of `tokens` is always left for the caller to forward.
        Raises CapacityError when no further sequence can be opened.

        An engine whose `capabilities.reproducible` is above 0 also takes a keyword `prompt`, the length of the prompt:
        such a sequence shares nothing, and what it shows depends on its tokens and this length only, to the bit."""
        ...

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        """Append tokens to sequences in one batched call and show the position after each item's last token.

        A sequence appears at most once. Raises CapacityError, with every sequence as it was, when the tokens
        do not fit; CapabilityError when attention is asked for and the engine shows none."""
        ...

    def fork(self, sequence: SequenceHandle, n: int = 1) -> Sequence[SequenceHandle]:
        """n more sequences that share all of `sequence`'s tokens; nothing is computed again."""
        ...

    def rewind(self, sequence: SequenceHandle, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        ...

    def close(self, sequence: SequenceHandle) -> None:
        """Give a sequence's memory back. Closing twice is allowed."""
        ...

    def cells_used(self) -> int:
        """KV-cache tokens held now, a shared prefix counted once where the runtime shares it."""
        ...

    def shutdown(self) -> None:
        """Give everything back; the engine cannot be used afterwards."""
        ...


@runtime_checkable
class Yielding(Protocol):
    """An engine that computes with fewer threads while other processes want the same processors, where `yielding`
    is set. Logits of few rows then round differently, so that a seed's text can depend on the load."""

    yielding: bool


def shared_prefix(wanted: Sequence[int], have: Sequence[int]) -> int:
    """Length of the common prefix, at most len(wanted) − 1 so that one token is left to forward."""
    limit = min(len(wanted) - 1, len(have))
    n = 0
    while n < limit and wanted[n] == have[n]:
        n += 1
    return max(n, 0)


def fingerprint(
    *, architecture: str, layers: int, heads: int, width: int, vocabulary: int, pieces: Iterable[str]
) -> str:
    """A name for a model's shape and vocabulary: the same for every quantisation and every engine.

    `pieces` are the raw vocabulary strings of `sample_ids(vocabulary)`. Fine-tunes that keep shape and
    vocabulary share a fingerprint; where that matters, calibrate a profile of your own and name it."""
    what = [architecture, layers, heads, width, vocabulary, list(pieces)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def sample_ids(vocabulary: int) -> list[int]:
    """The token ids whose strings go into a fingerprint: 32, evenly spaced over the first half, where no
    runtime's padding or added tokens lie."""
    return [i * (vocabulary // 2) // 32 for i in range(32)]
