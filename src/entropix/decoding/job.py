"""One answer in the making: its branches, and what they have cost together."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from entropix.decoding.hooks import Explorer, Matcher
from entropix.decoding.request import Request
from entropix.decoding.text import TextStream
from entropix.engines import SequenceHandle, Tokenizer
from entropix.types import Action, Kind, Ledger, SearchRecord, State, Step


class Status(Enum):
    """Where a branch is. docs/architecture.md has a drawing."""

    WAITING = "waiting"
    """In the queue: it joins the rows when there is room, with its sequence or without one yet."""
    PREFILLING = "prefilling"
    """It has its sequence, and its prompt, longer than one chunk, is computed chunk by chunk."""
    RUNNING = "running"
    """A row of every step."""
    PAUSED = "paused"
    """A search has taken it out of the rows: it is compared with others, or its text has ended and it may still be
    forked. It keeps its sequence unless that is needed elsewhere."""
    PARKED = "parked"
    """Its whole answer is left out of the steps until `unpark`, with its sequence or without."""
    ENDED = "ended"
    """It never runs again."""


@dataclass(eq=False)
class Branch:
    """One continuation: its sequence, what it waits to forward, and what it says.

    number: 0 for the first of an answer, in the order of opening. origin: how many of its first answer tokens it
    shares with `parent`. The last `fresh` of the pending tokens have never been forwarded; those before them were,
    and are computed again. finish_reason: how its text ended, "" while it has not; gone: why it is out of the
    search, "" while it is in.
    """

    job: Job
    number: int
    seed: int
    parent: Branch | None = None
    origin: int = 0
    opened: str = "the prompt"
    status: Status = Status.WAITING
    sequence: SequenceHandle | None = None
    pending: list[int] = field(default_factory=list)
    pending_kind: Kind = Kind.PROMPT
    fresh: int = 0
    tokens: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    stream: TextStream = field(default_factory=TextStream)
    state: State | None = None
    """The policy's state while the branch is out of the running batch."""
    confidence: list[float] = field(default_factory=list)
    """Token confidence of every step, nats; only with a search."""
    history: list[State | None] = field(default_factory=list)
    """The policy's state after every step; only for a search that goes back."""
    banned: dict[int, set[int]] = field(default_factory=dict)
    """Tokens that may not be chosen, by position in the answer."""
    matcher: Matcher | None = None
    """Where its text is in the request's constraint."""
    finish_reason: str = ""
    problem: str = ""
    """Why no token was possible, for the finish reason "constraint"."""
    gone: str = ""
    score: float | None = None
    answer: str | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together: the position of the next token."""
        return len(self.job.request.tokens) + len(self.tokens)

    @property
    def cached(self) -> int:
        """Tokens in the KV cache."""
        return len(self.sequence.tokens) if self.sequence is not None else 0

    @property
    def forwarded(self) -> int:
        """Tokens of the answer that have been forwarded."""
        return max(len(self.tokens) - (self.fresh if self.pending else 0), 0)

    def take(self, step: Step, tokenizer: Tokenizer) -> None:
        """Add a step to its text."""
        self.tokens.append(step.token)
        self.steps.append(step)
        self.stream.push(step, tokenizer.piece(step.token))

    def cut(self, at: int, tokenizer: Tokenizer) -> None:
        """Forget its text after the first `at` tokens."""
        del self.tokens[at:], self.confidence[at:], self.history[at:]
        if self.matcher is not None:
            self.matcher.rewind(at)
        self.steps = [replace(step) for step in self.steps[:at]]
        self.stream = self.job.new_stream()
        for step in self.steps:
            self.stream.push(step, tokenizer.piece(step.token))

    def child(self, at: int, seed: int, why: str, state: State | None, tokenizer: Tokenizer) -> Branch:
        """A further branch of its answer with the first `at` tokens, still without a sequence."""
        child = Branch(self.job, len(self.job.branches), seed, self, at, why, state=state)
        child.tokens, child.steps, child.confidence = list(self.tokens), list(self.steps), list(self.confidence)
        child.history, child.banned = list(self.history), {p: set(t) for p, t in self.banned.items() if p <= at}
        child.matcher = None if self.matcher is None else self.matcher.copy()
        child.stream, waiting = self.stream.copy()
        if waiting:
            child.steps[-len(waiting) :] = waiting
        if at < len(child.tokens):
            child.cut(at, tokenizer)
        self.job.branches.append(child)
        return child

    def book(self, n: int) -> None:
        """Enter the first n pending tokens, which have been forwarded, into the ledger."""
        again = min(n, len(self.pending) - self.fresh)
        self.job.ledger.forward(self.pending_kind, n - again, again)
        self.fresh -= n - again
        del self.pending[:n]

    @property
    def text(self) -> str:
        """What it says, as far as that is certain."""
        return self.stream.text

    @property
    def surprisal(self) -> float:
        """−ln p of the last token that it drew itself, before temperature, in nats; NaN before the first."""
        return next((-step.logprob for step in reversed(self.steps) if step.logprob is not None), math.nan)

    @property
    def adaptive(self) -> float | None:
        """The mean of the probabilities of its draws that adaptive-p has kept; None before the first."""
        return next((step.adaptive for step in reversed(self.steps) if step.adaptive is not None), None)

    @property
    def given(self) -> int | None:
        """The next token where it is not to be chosen."""
        forced = self.job.request.forced
        return forced[len(self.tokens)] if len(self.tokens) < len(forced) else None

    @property
    def siblings(self) -> list[Branch]:
        """All branches of its answer, itself included."""
        return self.job.branches

    @property
    def constrained(self) -> bool:
        return self.matcher is not None and not self.matcher.free

    @property
    def live(self) -> bool:
        """Whether it holds a sequence, or waits for one."""
        return not self.gone and (self.sequence is not None or not self.finish_reason)


@dataclass(eq=False)
class Job:
    """A request while it is decoded. Without a search it has one branch.

    trunk: the branch whose text is the answer, as far as that is known. spent: tokens that all branches together
    have taken or computed again after going back. emitted: how many of the answer's steps have been handed out.
    begun: whether it was ever given a sequence.
    """

    request: Request
    injection: tuple[int, ...]
    attention: bool
    index: int = 0
    explorer: Explorer | None = None
    branches: list[Branch] = field(default_factory=list)
    trunk: Branch = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    spent: int = 0
    emitted: int = 0
    begun: bool = False
    search: SearchRecord | None = None
    finish_reason: str = ""
    error: Exception | None = None
    """Why it ended with finish_reason "error"."""
    notes: list[str] = field(default_factory=list)
    readings: Any = None
    """What the model said of the answer afterwards, where `Request.after` asked for it."""
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0

    def __post_init__(self) -> None:
        constraint = self.request.constraint
        matcher = None if constraint is None else constraint.begin()
        self.trunk = Branch(
            self, 0, self.request.seed, stream=self.new_stream(given=bool(self.request.forced)), matcher=matcher
        )
        self.branches.append(self.trunk)
        if self.request.search is not None:
            self.explorer = self.request.search.begin(self)

    def new_stream(self, *, given: bool = False) -> TextStream:
        """The text of an answer that has no token yet. given: of tokens that are not chosen, which no text stops."""
        return TextStream(() if given else self.request.stop, self.request.before)

    @property
    def idle(self) -> bool:
        """Whether its search has begun, and none of its branches runs or waits to."""
        return self.explorer is not None and all(b.status in (Status.PAUSED, Status.ENDED) for b in self.branches)

    @property
    def reserve(self) -> int:
        """Most sequences it can come to need at a time."""
        return 1 if self.request.search is None else self.request.search.max_sequences

    @property
    def tokens(self) -> list[int]:
        """The answer so far."""
        return self.trunk.tokens

    @property
    def steps(self) -> list[Step]:
        return self.trunk.steps

    @property
    def stream(self) -> TextStream:
        return self.trunk.stream

    @property
    def sequence(self) -> SequenceHandle | None:
        return self.trunk.sequence

    @property
    def live(self) -> list[Branch]:
        """Branches that hold a sequence or wait for one, in the order of opening."""
        return [b for b in self.branches if b.live]

    @property
    def seconds(self) -> float:
        return (self.ended or time.perf_counter()) - self.started

    def cells(self) -> int:
        """KV-cache tokens the branches hold, a shared prefix counted once."""
        if len(self.branches) == 1:
            return self.trunk.cached
        prompt = len(self.request.tokens)
        ends: dict[int, int] = {}
        for branch in self.branches:
            if branch.gone or branch.sequence is None:
                continue
            end, at = branch.cached, branch
            while True:
                ends[at.number] = max(ends.get(at.number, 0), end)
                if at.parent is None:
                    break
                end, at = min(end, prompt + at.origin), at.parent
        starts = {b.number: prompt + b.origin if b.parent else 0 for b in self.branches}
        return sum(max(end - starts[number], 0) for number, end in ends.items())

    def write_off(self, branch: Branch, start: int, *, looked_ahead: bool = False) -> None:
        """Enter `branch`'s forwarded tokens from answer position `start` on as abandoned or looked ahead."""
        injected = [step.action == Action.INJECT for step in branch.steps[start : branch.forwarded]]
        enter = self.ledger.look_ahead if looked_ahead else self.ledger.abandon
        enter(injected.count(False), injected.count(True))

    def settle(self) -> None:
        """At the end: what is not in the answer was abandoned."""
        ledger = self.ledger
        injected = [step.action == Action.INJECT for step in self.trunk.steps[: self.trunk.forwarded]]
        ledger.abandon(ledger.sampled - injected.count(False), ledger.injected - injected.count(True))

    def released(self) -> list[Event]:
        """The trunk's steps that have become certain: in their text, and in that no other branch can replace them."""
        ready = len(self.steps) - self.stream.waiting
        certain = None if self.explorer is None or self.finish_reason else self.explorer.certain()
        ready = ready if certain is None else min(ready, certain)
        steps = self.steps[self.emitted : ready]
        self.emitted = max(self.emitted, ready)
        return [Event(self, step) for step in steps]


@dataclass(frozen=True, slots=True)
class Event:
    """A token whose text is certain, or the end of an answer (`step` None, `job.finish_reason` set)."""

    job: Job
    step: Step | None
