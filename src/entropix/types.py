"""Frozen values that flow between rooms. Nothing here computes; everything may import it.

Arrays have one entry per row, a row being one sequence of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple, TypeAlias

from entropix.ledger import Kind as Kind
from entropix.ledger import Ledger as Ledger
from entropix.lines import counted, line, percent, quoted

Array: TypeAlias = Any
"""An array of the Python array API standard (NumPy, torch, …)."""

State: TypeAlias = dict[str, Array]
"""What a policy remembers between steps: named arrays, one entry per row."""


class Regime(IntEnum):
    """What the model is doing, read off entropy and varentropy. Exactly one per step."""

    FLOW = 0
    CLARIFY = 1
    BRANCH = 2
    RESAMPLE = 3
    ADAPT = 4

    @property
    def label(self) -> str:
        return self.name.lower()


class Action(IntEnum):
    """What the decoding loop does with a row."""

    SAMPLE = 0
    INJECT = 1


ATTENTION = ("entropy", "varentropy", "agreement", "interaction")
"""The attention signals, in the order in which every file and table lists them."""


@dataclass(frozen=True, slots=True)
class AttentionSignals:
    """How the attention heads of the last position looked at the text; each `(rows,)`, length-free.

    `entropy` and `varentropy` are of the heads' attention entropy divided by ln T (0 … 1), `agreement` is
    1 − mean total variation to the mean head (0 … 1), `interaction` the mean |scaled score|.
    """

    entropy: Array
    varentropy: Array
    agreement: Array
    interaction: Array


@dataclass(frozen=True, slots=True)
class Signals:
    """The model's uncertainty about the next token; each `(rows,)`.

    `entropy` in nats, `varentropy` in nats². `attention` is None where the engine shows none.
    `normaliser` is the log-sum-exp of the logits: logit − normaliser is a log-probability. The rest is measured only
    for policies that ask for it: `logit_std` is the standard deviation of the unmasked logits, `top_logprob` the
    log-probability of the likeliest token, and `surprisal` −ln p of the last token that the row drew itself, in the
    distribution that was measured there (after masks, before temperature), in nats. It is NaN before the first such
    token, and stays what it was through an injected text.
    """

    entropy: Array
    varentropy: Array
    normaliser: Array | None = None
    attention: AttentionSignals | None = None
    logit_std: Array | None = None
    top_logprob: Array | None = None
    surprisal: Array | None = None


SIGNALS = frozenset(f.name for f in fields(Signals))
"""The names of the signals, as policies ask for them."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a policy wants done, one entry per row.

    `action` and `regime` hold `Action` and `Regime` values. Sampling parameters apply to rows whose action is
    SAMPLE: `temperature` 0 takes the likeliest token; `top_k` 0 and `top_p` 1 and `min_p` 0 switch a filter
    off; `candidates` n > 1 draws n distinct tokens and keeps the likeliest of them.
    """

    action: Array
    regime: Array
    temperature: Array
    top_k: Array
    top_p: Array
    min_p: Array
    candidates: Array


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where one model's regimes begin. Entropies in nats, varentropies in nats².

    `attention` maps each attention signal to its (median, spread) over the model's own text.
    """

    entropy_low: float
    entropy_high: float
    varentropy_low: float
    varentropy_high: float
    attention: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, declared and never guessed.

    sequences: most live sequences; context: most tokens in one sequence; cells: most tokens over all live
    sequences, a shared prefix counted once. reproducible: how many sequences at a time can be opened whose values are
    the same to the bit whatever else is held or computed; 0 for none.
    """

    attention: bool
    fork: bool
    rewind: bool
    sequences: int
    context: int
    cells: int
    reproducible: int = 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is, whatever engine runs it. `fingerprint` finds its profile."""

    name: str
    architecture: str
    layers: int
    heads: int
    width: int
    vocabulary: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What one forward shows, one row a work item, in the order the items were given.

    logits: `(rows, vocabulary)` float32 of the next position, NumPy where they lie in host memory, else the
    engine's own array; read-only and valid until the next forward. attention: None unless it was asked for.
    """

    logits: Array
    attention: AttentionSignals | None = None


class Candidate(NamedTuple):
    """One of the likeliest tokens of a step, with its probability before and after the filters."""

    token: int
    label: str
    before: float
    after: float


@dataclass(slots=True)
class Step:
    """One token of an answer and why it is there.

    index counts from the answer's first token, position from the prompt's; text is what the token added to the
    text (empty while a character is incomplete, and for control tokens). Signals in nats and nats², None for
    the later tokens of an injected text, which were not decided one by one. attention: (entropy, varentropy,
    agreement, interaction) or None. drawn: the ranks of the candidates that were compared, in the
    order they were drawn. horizon: how many tokens after each candidate the comparison looked at; 0 means that
    likelihoods were compared and nothing else, None that there was no comparison. mass: how much of the model's
    probability the constraint has left; None without one, and beside a bias. truncated: entropy and varentropy
    are of only so many of the likeliest tokens, renormalised, as an endpoint shows no more; None: of all. adaptive:
    the mean that adaptive-p holds near its target, after this token; None without it, and where it has not drawn the
    token.
    """

    index: int
    position: int
    token: int
    label: str
    text: str
    regime: Regime
    action: Action
    entropy: float | None = None
    varentropy: float | None = None
    attention: tuple[float, ...] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    candidates: int = 1
    logprob: float | None = None
    rank: int | None = None
    drawn: tuple[int, ...] = ()
    horizon: int | None = None
    leading: tuple[Candidate, ...] = ()
    truncated: int | None = None
    mass: float | None = None
    adaptive: float | None = None

    def __repr__(self) -> str:
        likely = None if self.logprob is None else f"p={math.exp(self.logprob):.3g}"
        entropy = None if self.entropy is None else f"entropy={self.entropy:.3g}"
        return line("Step", self.index, quoted(self.label), likely, entropy, self.regime.label)


@dataclass(frozen=True, slots=True)
class BranchRecord:
    """One branch of a search.

    number: 0 for the first, in the order of opening; parent: the number of the branch it was opened from, None for
    the first. origin: how many answer tokens it shares with its parent; steps: its own after them. opened and ended
    say why. score: what it was compared by, higher is better; answer: what was extracted from its text; weight:
    its vote; before: how many texts of the search had come to an end when this one did, the same for those that ended
    at once. None where there was none.
    """

    number: int
    parent: int | None
    origin: int
    opened: str
    ended: str
    steps: tuple[Step, ...]
    text: str
    score: float | None = None
    answer: str | None = None
    weight: float | None = None
    kept: bool = False
    before: int | None = None

    def __repr__(self) -> str:
        answer = None if self.answer is None else f"answer={quoted(self.answer)}"
        kept = "kept" if self.kept else None
        return line("BranchRecord", self.number, quoted(self.text), counted(self.steps, "token"), answer, kept)


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """What a search has tried. shares: each answer's share of the votes' weight, largest first; empty where no vote
    was held, or by one ballot alone. confidence: the share of the answer given, among all ballots including those
    without an answer, None where shares mean nothing. ballots: how many texts were counted; agreeing: how many
    of them gave the answer; stopped: whether it was ended from outside, before its own rule ended it."""

    spec: str
    branches: tuple[BranchRecord, ...]
    shares: dict[str, float] = field(default_factory=dict)
    confidence: float | None = None
    answer: str | None = None
    ballots: int = 0
    notes: tuple[str, ...] = ()
    agreeing: int = 0
    stopped: bool = False

    def __repr__(self) -> str:
        answer = None if self.answer is None else f"answer={quoted(self.answer)}"
        sure = None if self.confidence is None else f"confidence={percent(self.confidence)}"
        return line("SearchRecord", quoted(self.spec), counted(self.branches, "branch", "es"), answer, sure)


@dataclass(frozen=True, slots=True)
class Result:
    """An answer and everything that is known about it.

    finish_reason: "end" (the model ended its turn, or the constraint is fulfilled), "stop" (a stop string), "length"
    (max_tokens), "context" (the context is full), "constraint" (no token is possible that constraint and bias allow,
    a note says why), "cancelled", "error" (it failed alone, a note says why). tokens are the answer's, without the
    prompt. surprisal is −Σ ln p of the model's own tokens, before temperature, in nats; seconds is wall time from
    submission to the last token.
    notes say what the reader must know, such as attention that is not shown. thresholds: the profile's, None: unknown.
    """

    _repr_html_: ClassVar[Callable[[Result], str]]
    """For notebooks; set by `entropix` itself, as rendering stands above this module."""

    text: str
    finish_reason: str
    tokens: tuple[int, ...]
    prompt_tokens: int
    steps: tuple[Step, ...]
    ledger: Ledger
    seed: int
    policy: str
    profile: str
    model: str
    seconds: float
    notes: tuple[str, ...] = ()
    search: SearchRecord | None = None
    thresholds: Thresholds | None = None
    calibrated: float | None = None
    """The probability that the answer is right, where the profile has a calibration for how it was found."""
    calibration: str = ""
    """Said after how many texts agree: the stop rule, and what the confidence was fitted on; "" without."""
    abstained: bool = False
    """Whether the answer is not sure enough for the risk that was asked for; it is there all the same."""
    risk_bound: float | None = None
    """At most this share of the answers that are given is wrong, at confidence 95 %; None without one."""
    reproducible: bool = False
    """Whether text and log-probabilities depend on nothing beside the request, to the bit."""
    uncertainties: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    """By every estimator that knows enough, by its name; computed when they are asked for. docs/uncertainty.md."""
    fields: Any = field(default=None, compare=False, repr=False)
    """Of a JSON text its values with what the model gave each, indexed like it: `entropix.uncertainty.Fields`."""
    spans: Sequence[Any] = field(default=(), compare=False, repr=False)
    """What in the text can be wrong, with what the model gave it: `entropix.uncertainty.TextSpan`, found when asked."""

    def __str__(self) -> str:
        """The text."""
        return self.text

    def __repr__(self) -> str:
        """A line: the beginning of the text, and what to know first of it."""
        answer = None if self.answer is None else f"answer={quoted(self.answer)}"
        sure = f"mean_entropy={self.mean_entropy:.3g}"  # the probability of one text says little, if that is long
        if self.search is not None and self.search.shares:
            sure = f"confidence={percent(self.confidence)}"
        abstained = "abstained" if self.abstained else None
        of = (f"policy={self.policy!r}", f"seed={self.seed}", f"model={quoted(self.model)}")
        many = counted(self.tokens, "token")
        return line("Result", quoted(self.text), many, self.finish_reason, answer, sure, abstained, *of)

    @property
    def confidence(self) -> float:
        """0 … 1: how likely the answer is right where that is calibrated, else `share`."""
        return self.share if self.calibrated is None else self.calibrated

    @property
    def share(self) -> float:
        """0 … 1: the answer's share of the votes if several ballots voted, else the probability of the text."""
        if self.search is not None and self.search.confidence is not None:
            return self.search.confidence
        return math.exp(-max(self.surprisal, 0.0))

    @property
    def answer(self) -> str | None:
        """What the vote decided on, as the extractor writes it; None without a vote or where no text had an answer."""
        return self.search.answer if self.search is not None else None

    @property
    def confidence_source(self) -> str:
        """What `confidence` was read off, for a person."""
        search = self.search
        if search is None or search.confidence is None:
            return "the probability of one text, not calibrated"
        agree = f"{search.agreeing} of {search.ballots} texts agree"
        return f"{agree}{self.calibration or '; share of the ballots, not calibrated'}"

    @property
    def trace(self) -> tuple[Step, ...]:
        return self.steps

    @property
    def surprisal(self) -> float:
        return -sum(s.logprob for s in self.steps if s.logprob is not None)

    @property
    def uncertainty(self) -> float:
        """0 sure … 1, by the estimator that separates right from wrong best of those that cost nothing more: 1 − the
        answer's share of the votes (label-share), and of one text 1 − its probability (msp), which grows with its
        length and is near 1 for a long one. docs/uncertainty.md has the evidence, `uncertainty_source` says which."""
        if self.search is not None and self.search.confidence is not None:
            return 1 - self.search.confidence
        return -math.expm1(-max(self.surprisal, 0.0))

    @property
    def uncertainty_source(self) -> str:
        """What `uncertainty` was read off, with the estimator's name."""
        if self.search is not None and self.search.confidence is not None:
            return f"label-share: 1 − the answer's share of {self.search.ballots} texts"
        return "msp: 1 − the probability of the one text"

    @property
    def token_uncertainty(self) -> float:
        """1 − the geometric mean of the probabilities of the model's own tokens: 0 sure … 1; 0 for no tokens. It does
        not grow with the length, and separates right from wrong less well than the length does."""
        own = [s.logprob for s in self.steps if s.logprob is not None]
        return 1 - math.exp(sum(own) / len(own)) if own else 0.0

    @property
    def mean_entropy(self) -> float:
        """Mean entropy of the steps that were decided, nats; 0 for none."""
        own = [s.entropy for s in self.steps if s.entropy is not None]
        return sum(own) / len(own) if own else 0.0

    @property
    def regime_shares(self) -> dict[str, float]:
        """The share of the answer's tokens in each regime; they sum to 1 unless there are none."""
        n = max(len(self.steps), 1)
        return {r.label: sum(s.regime == r for s in self.steps) / n for r in Regime}
