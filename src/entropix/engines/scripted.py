"""A model that follows a script, for tests and for trying things out without weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

import numpy as np

from entropix.engines.base import Message, Work, fingerprint, shared_prefix
from entropix.engines.work import check_work
from entropix.errors import CapabilityError, CapacityError, PromptError
from entropix.types import Array, AttentionSignals, Capabilities, ModelInfo, Observation

BEGIN, END, USER, ASSISTANT = 256, 257, 258, 259
SPECIAL = {BEGIN: "<begin>", END: "<end>", USER: "<user>", ASSISTANT: "<assistant>"}
VOCABULARY = 260

Script = Callable[[tuple[int, ...]], Array]
"""From all tokens so far to the logits `(260,)` of the next one."""


def hashed(sharpness: float = 3.0, seed: int = 0) -> Script:
    """Logits that depend on every token of the prefix, so that a wrong KV cache cannot go unnoticed."""

    def logits(tokens: tuple[int, ...]) -> Array:
        digest = hashlib.sha256(repr((seed, tokens)).encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        out = generator.normal(size=VOCABULARY) * sharpness
        out[list(SPECIAL)] = -20.0
        return out

    return logits


def saying(text: str | bytes, *, certainty: float = 12.0, after: bytes = b"") -> Script:
    """A model that says `text` byte by byte after its prompt, then ends. With `after`, the text starts where
    the prompt ends in these bytes; else at the last <assistant> token, or at the start."""
    data = text.encode() if isinstance(text, str) else text

    def logits(tokens: tuple[int, ...]) -> Array:
        start = max((i + 1 for i, t in enumerate(tokens) if t == ASSISTANT), default=0)
        if after:
            start = bytes(t if t < 256 else 0 for t in tokens).find(after) + len(after)
        position = len(tokens) - start
        out = np.zeros(VOCABULARY)
        out[data[position] if 0 <= position < len(data) else END] = certainty
        return out

    return logits


class ScriptedTokenizer:
    """A token a byte, and four control tokens."""

    begin_token = BEGIN
    end_tokens = frozenset({END})
    has_chat_template = True

    def __init__(self, template: str = "") -> None:
        self.template = template
        """What stands for a chat template where one is asked for what it knows."""

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        out = [BEGIN] if begin else []
        while text:
            marks = {text.find(m): t for t, m in SPECIAL.items() if special and m in text}
            at = min(marks, default=len(text))
            out += list(text[:at].encode("utf-8", "surrogateescape"))
            if marks:
                out.append(marks[at])
                at += len(SPECIAL[marks[at]])
            text = text[at:]
        return out

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def label(self, token: int) -> str:
        return SPECIAL.get(token) or bytes([token]).decode("ascii", "backslashreplace")

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
        begun: str = "",
    ) -> list[int]:
        if not messages:
            raise PromptError("messages: the list is empty; give at least one message")
        out = [BEGIN]
        for message in messages:
            out.append(ASSISTANT if message["role"] == "assistant" else USER)
            out += [*self.encode(message["content"]), END]
        return [*out, ASSISTANT, *self.encode(begun)]


@dataclass(eq=False)
class ScriptedSequence:
    tokens: list[int] = field(default_factory=list)
    open: bool = True


class ScriptedEngine:
    """The engine contract over a Python function. `forwarded` counts the tokens it was asked to compute."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        attention: bool = True,
        fork: bool = True,
        rewind: bool = True,
        sequences: int = 16,
        context: int = 4096,
        cells: int | None = None,
        template: str = "",
    ) -> None:
        self.script = script or hashed()
        self.tokenizer = ScriptedTokenizer(template)
        self.capabilities = Capabilities(
            attention, fork, rewind, sequences, context, sequences * context if cells is None else cells, sequences
        )
        pieces = [self.tokenizer.label(t) for t in range(VOCABULARY)]
        self.info = ModelInfo(
            name="scripted",
            architecture="scripted",
            layers=1,
            heads=2,
            width=1,
            vocabulary=VOCABULARY,
            fingerprint=fingerprint(
                architecture="scripted", layers=1, heads=2, width=1, vocabulary=VOCABULARY, pieces=pieces
            ),
        )
        self.live: list[ScriptedSequence] = []
        self.forwarded = 0
        self.forwards = 0

    def open(self, tokens: Sequence[int] = (), *, prompt: int = 0) -> ScriptedSequence:
        self._room(1)
        shared: list[int] = []
        if self.capabilities.fork and tokens and not prompt:
            best = max((shared_prefix(tokens, s.tokens) for s in self.live), default=0)
            shared = list(tokens[:best])
        sequence = ScriptedSequence(shared)
        self.live.append(sequence)
        return sequence

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        if attention and not self.capabilities.attention:
            raise CapabilityError("the scripted engine was made without attention")
        held = [self._held(sequence) for sequence, _ in work]
        added = check_work(work, VOCABULARY, self.capabilities.context)
        if self.cells_used() + added > self.capabilities.cells:
            raise CapacityError(f"no room for {added} tokens: {self.capabilities.cells} cells in all")
        for sequence, (_, tokens) in zip(held, work, strict=True):
            sequence.tokens.extend(tokens)
        self.forwarded += added
        self.forwards += 1
        logits = np.stack([self.script(tuple(s.tokens)) for s in held]).astype(np.float32)
        return Observation(logits, self._attention(held) if attention else None)

    def fork(self, sequence: ScriptedSequence, n: int = 1) -> list[ScriptedSequence]:
        if not self.capabilities.fork:
            raise CapabilityError("the scripted engine was made without fork")
        tokens = self._held(sequence).tokens
        self._room(n)
        children = [ScriptedSequence(list(tokens)) for _ in range(n)]
        self.live += children
        return children

    def rewind(self, sequence: ScriptedSequence, length: int) -> None:
        if not self.capabilities.rewind:
            raise CapabilityError("the scripted engine was made without rewind")
        tokens = self._held(sequence).tokens
        if not 0 <= length <= len(tokens):
            raise ValueError(f"cannot rewind to {length}: the sequence holds {len(tokens)} tokens")
        del tokens[length:]

    def close(self, sequence: ScriptedSequence) -> None:
        if sequence.open:
            sequence.open = False
            self.live.remove(sequence)

    def cells_used(self) -> int:
        """Distinct prefixes held: a shared prefix counts once, as in a real unified cache."""
        held = sorted(s.tokens for s in self.live)
        shared = (_common(a, b) for a, b in pairwise(held))
        return sum(map(len, held)) - sum(shared)

    def shutdown(self) -> None:
        for sequence in list(self.live):
            self.close(sequence)

    def _held(self, sequence: object) -> ScriptedSequence:
        if not isinstance(sequence, ScriptedSequence) or not sequence.open:
            raise ValueError("the sequence is closed or belongs to another engine")
        return sequence

    def _room(self, n: int) -> None:
        if len(self.live) + n > self.capabilities.sequences:
            raise CapacityError(f"no room for {n} more: at most {self.capabilities.sequences} sequences are live")

    def _attention(self, held: list[ScriptedSequence]) -> AttentionSignals:
        values = []
        for s in held:
            digest = hashlib.sha256(repr(tuple(s.tokens)).encode()).digest()
            values.append([digest[i] / 255 for i in range(4)])
        columns = np.asarray(values)
        return AttentionSignals(columns[:, 0], columns[:, 1] / 20, columns[:, 2], columns[:, 3] * 4)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
