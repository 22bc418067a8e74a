"""One answer in the making: its branches, and what they have cost together."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from entropix.decoding.hooks import Explorer, Matcher
from entropix.decoding.request import Request
from entropix.decoding.text import TextStream
from entropix.engines import SequenceHandle
from entropix.types import Action, Ledger, SearchRecord, State, Step


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
    sequence: SequenceHandle | None = None
    pending: list[int] = field(default_factory=list)
    pending_kind: str = "prompt"
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
    def held(self) -> int:
        """Tokens in the KV cache."""
        return len(self.sequence.tokens) if self.sequence is not None else 0

    def book(self, n: int) -> None:
        """Enter the first n pending tokens, which have been forwarded, into the ledger."""
        ledger, again = self.job.ledger, min(n, len(self.pending) - self.fresh)
        setattr(ledger, self.pending_kind, getattr(ledger, self.pending_kind) + n - again)
        ledger.recomputed += again
        ledger.forwards += 1
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
    def siblings(self) -> list[Branch]:
        """All branches of its answer, itself included."""
        return self.job.branches

    @property
    def constrained(self) -> bool:
        return self.matcher is not None

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
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0

    def __post_init__(self) -> None:
        constraint = self.request.constraint
        matcher = None if constraint is None else constraint.begin()
        self.trunk = Branch(self, 0, self.request.seed, stream=TextStream(self.request.stop), matcher=matcher)
        self.branches.append(self.trunk)
        if self.request.search is not None:
            self.explorer = self.request.search.begin(self)

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
            return self.trunk.held
        prompt = len(self.request.tokens)
        ends: dict[int, int] = {}
        for branch in self.branches:
            if branch.gone or branch.sequence is None:
                continue
            end, at = branch.held, branch
            while True:
                ends[at.number] = max(ends.get(at.number, 0), end)
                if at.parent is None:
                    break
                end, at = min(end, prompt + at.origin), at.parent
        starts = {b.number: prompt + b.origin if b.parent else 0 for b in self.branches}
        return sum(max(end - starts[number], 0) for number, end in ends.items())

    def write_off(self, branch: Branch, start: int, kind: str) -> None:
        """Enter `branch`'s forwarded tokens from answer position `start` on as abandoned or looked ahead."""
        forwarded = len(branch.tokens) - (branch.fresh if branch.pending else 0)
        for step in branch.steps[start:forwarded]:
            was = "injected" if step.action == Action.INJECT else "sampled"
            setattr(self.ledger, was, getattr(self.ledger, was) - 1)
            setattr(self.ledger, kind, getattr(self.ledger, kind) + 1)

    def settle(self) -> None:
        """At the end: what is not in the answer was abandoned."""
        ledger, kept = self.ledger, {"sampled": 0, "injected": 0}
        forwarded = len(self.trunk.tokens) - (self.trunk.fresh if self.trunk.pending else 0)
        for step in self.trunk.steps[: max(forwarded, 0)]:
            kept["injected" if step.action == Action.INJECT else "sampled"] += 1
        ledger.abandoned += ledger.sampled - kept["sampled"] + ledger.injected - kept["injected"]
        ledger.sampled, ledger.injected = kept["sampled"], kept["injected"]
