"""One text that an endpoint writes, token by token, with the signals that its log-probabilities allow."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from entropix.policies import Policy
from entropix.remote.wire import Chunk, Entry, Top
from entropix.signals import measure, token_confidence
from entropix.types import Action, Candidate, Regime, Signals, Step

LEADING = 8
"""Candidates that a step keeps."""

CONTROL = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]|\s*")
"""A whole label like <|im_end|>, </s> or [INST], or nothing: put into a text it would be read as the control token, or
would be no token."""


@dataclass(eq=False)
class Text:
    """A text, and the requests that write it; a `Ballot`. prefix: what it began with: its parent's text up to the fork,
    and another token. data: the bytes of every step, None where they are not known. lost: tokens of attempts that
    broke off."""

    number: int
    seed: int
    siblings: list[Text]
    parent: Text | None = None
    origin: int = 0
    opened: str = "the prompt"
    prefix: str = ""
    steps: list[Step] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    data: list[bytes | None] = field(default_factory=list)
    finish_reason: str = ""
    gone: str = ""
    score: float | None = None
    answer: str | None = None
    lost: int = 0
    banned: Mapping[int, Collection[int]] = field(default_factory=dict)
    """Nothing: an endpoint takes no token back."""

    constrained = False

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps)

    @property
    def given(self) -> int:
        """Steps it began with."""
        return self.origin + (self.parent is not None)

    def restart(self) -> None:
        """Forget what a request that broke off has brought."""
        self.lost += len(self.steps) - self.given
        self.truncate(self.given)

    def truncate(self, length: int) -> None:
        """Keep the first `length` steps."""
        for column in (self.steps, self.confidence, self.data):
            del column[length:]

    def before(self, at: int) -> str | None:
        """The text before step `at`, None where that is no whole text: within a character, or not known."""
        parts = [d for d in self.data[:at] if d is not None]
        if len(parts) < at:
            return None
        try:
            whole = b"".join(parts).decode("utf-8")
        except UnicodeDecodeError:
            return None
        # a server holds text back that may turn out to be a stop string, so the steps may say less than the bytes
        said = "".join(step.text for step in self.steps[:at])
        return whole if whole.startswith(said) else None

    def fork(self, at: int, top: Top, token: int, seed: int, why: str) -> Text | None:
        """A text that says `top` at step `at` instead; None where what it would begin with is not known exactly."""
        before = self.before(at)
        if before is None or top.data is None or CONTROL.fullmatch(top.label):
            return None
        try:
            said = top.data.decode("utf-8")
        except UnicodeDecodeError:
            return None
        steps = [replace(step) for step in self.steps[:at]]
        if steps:
            steps[-1].text += before[sum(len(step.text) for step in steps) :]
        here = self.steps[at]
        rank = next((n for n, c in enumerate(here.leading) if c.label == top.label), None)
        steps.append(replace(here, label=top.label, text=said, logprob=top.logprob, rank=rank, token=token))
        child = Text(len(self.siblings), seed, self.siblings, self, at, why, before + said, steps)
        child.confidence = self.confidence[: at + 1]
        child.data = [*self.data[:at], top.data]
        return child


class StreamReader:
    """Chunks → steps of a text. policy: reads the regimes off the signals; temperature, top_p: what was asked for."""

    def __init__(self, policy: Policy, temperature: float | None, top_p: float | None) -> None:
        self.policy, self.temperature, self.top_p = policy, temperature, top_p
        self._numbers: dict[str, int] = {}

    def steps(self, text: Text, chunk: Chunk, most: int) -> None:
        """Add what a chunk brought to `text`. most: leading tokens that were asked for; some endpoints add the token
        itself to them, which would take part in the entropy only where it is unlikely."""
        pieces = _split(chunk.text, chunk.entries)
        for entry, piece in zip(chunk.entries, pieces, strict=True):
            text.steps.append(self._step(len(text.steps), entry, entry.top[:most], piece))
            text.confidence.append(_confidence(entry.top[:most]))
            text.data.append(None if chunk.thinks else entry.data)
        if chunk.text and not chunk.entries and text.steps:
            text.steps[-1].text += chunk.text  # text that was held back until it was certain

    def number(self, label: str, known: int | None) -> int:
        """A token's number: the endpoint's, else a negative one that stands for its label in this answer."""
        return known if known is not None else self._numbers.setdefault(label, -1 - len(self._numbers))

    def _step(self, index: int, entry: Entry, top: Sequence[Top], piece: str) -> Step:
        entropy = varentropy = None
        regime = Regime.FLOW
        if len(top) > 1:
            signals = truncated([t.logprob for t in top])
            regime = Regime(int(self.policy.regimes(signals)[0]))
            entropy, varentropy = float(signals.entropy[0]), float(signals.varentropy[0])
        rank = next((n for n, t in enumerate(top) if (t.label, t.data) == (entry.label, entry.data)), None)
        return Step(
            index=index,
            position=index,
            token=self.number(entry.label, entry.id),
            label=entry.label,
            text=piece,
            regime=regime,
            action=Action.SAMPLE,
            entropy=entropy,
            varentropy=varentropy,
            temperature=self.temperature,
            top_p=self.top_p,
            logprob=entry.logprob,
            rank=rank,
            leading=tuple(
                Candidate(self.number(t.label, t.id), t.label, math.exp(t.logprob), math.nan) for t in top[:LEADING]
            ),
            truncated=len(top) if len(top) > 1 else None,
        )


def _confidence(top: Sequence[Top]) -> float:
    return token_confidence([t.logprob for t in top]) if len(top) > 1 else math.nan


def truncated(logprobs: Sequence[float]) -> Signals:
    """Entropy and varentropy of the likeliest tokens alone, their probabilities renormalised to 1, `(1,)` each.

    logprobs: the k largest log-probabilities of a distribution of V tokens. With δ the probability of all others and
    h(δ) = −δ ln δ − (1−δ) ln(1−δ), the entropy H of all tokens lies between, as none of the others is likelier than any
    of these:  H_k − ln(1−δ) + δ·(ln k − H_k) ≤ H ≤ (1−δ)·H_k + h(δ) + δ·ln(V−k).  So H_k never is too large. For the
    varentropy there is no such order. Source: this project, docs/remote.md.
    """
    return measure(np.asarray([logprobs], dtype=np.float64))


def _split(text: str, entries: Sequence[Entry]) -> list[str]:
    """A chunk's text, one part per entry: as their bytes say, else all of it to the first."""
    if not entries:
        return []
    whole = [e.data.decode("utf-8", "replace") if e.data is not None else "" for e in entries]
    return whole if len(entries) > 1 and "".join(whole) == text else [text, *[""] * (len(entries) - 1)]
