"""Searches as they are asked for: frozen settings, checked, and the text that names them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from entropix.decoding import Explorer, Job
from entropix.errors import CapabilityError, ParameterError
from entropix.numeric import plain
from entropix.policies import Policy, parse_spec
from entropix.search.answers import Extractor, extractor
from entropix.types import Capabilities

TRIGGERS = ("regime", "entropy", "varentropy", "quantile", "low", "random")
WEIGHTS = ("count", "confidence", "path")
SCORES = ("logprob", "confidence", "entropy")


def option(default: Any, low: float, high: float, text: str) -> Any:
    """A number a strategy can be given, with the range that is allowed."""
    return field(default=default, metadata={"low": low, "high": high, "help": text})


def choice(default: str, allowed: Sequence[str], text: str) -> Any:
    return field(default=default, metadata={"allowed": tuple(allowed), "help": text})


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What every strategy can be told. max_sequences 0: as many as the strategy needs; max_tokens 0: no limit."""

    max_sequences: int = option(0, 0, 1024, "most branches live at a time; 1 is plain decoding")
    max_tokens: int = option(0, 0, 10**9, "most tokens over all branches")

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def natural(self) -> int:
        """Branches it needs when max_sequences is 0."""
        return 4

    def __post_init__(self) -> None:
        for f in fields(self):
            value, meta = plain(getattr(self, f.name)), f.metadata
            object.__setattr__(self, f.name, value)
            if "allowed" in meta and value not in meta["allowed"]:
                raise ParameterError(
                    f"{self.name}: {f.name}={value!r} is unknown; allowed are {', '.join(meta['allowed'])}"
                )
            if "low" in meta:
                whole = isinstance(f.default, int)
                right = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not right or not meta["low"] <= value <= meta["high"] or (whole and value != int(value)):
                    raise ParameterError(
                        f"{self.name}: {f.name}={value!r} is out of range; allowed is a "
                        f"{'whole ' if whole else ''}number from {meta['low']:g} to {meta['high']:g}"
                    )


@dataclass(frozen=True, kw_only=True)
class Triggered(Strategy):
    """A strategy that acts where the model is unsure."""

    trigger: str = choice("regime", TRIGGERS, "what says that the model is unsure")
    threshold: float = option(
        2.0, 0, 100, "nats (entropy, the least for quantile, the most for low) or nats² (varentropy)"
    )
    rate: float = option(0.05, 0, 1, "share of the tokens, for trigger random")
    quantile: float = option(0.95, 0.5, 1, "of this text's own entropies so far, for trigger quantile")
    ratio: float = option(0.05, 0, 1, "an alternative is at least this many times as likely as the likeliest")


@dataclass(frozen=True, kw_only=True)
class Lookahead(Triggered):
    """Roll several candidates out where the policy adapts or branches, keep the best."""

    width: int = option(3, 1, 64, "candidates compared")
    horizon: int = option(12, 1, 10000, "most tokens each is rolled out, or to the end of a sentence")
    score: str = choice("logprob", SCORES, "mean over the tokens rolled out")

    @property
    def natural(self) -> int:
        return self.width


@dataclass(frozen=True, kw_only=True)
class Branch(Triggered):
    """Fork where the policy says branch, go on until every branch is sure again, keep the best."""

    width: int = option(3, 1, 64, "branches compared")
    sure: int = option(4, 1, 1000, "tokens of flow in a row after which a branch is sure again")
    horizon: int = option(48, 1, 10000, "most tokens before the comparison")
    score: str = choice("logprob", SCORES, "mean over the tokens of the branch")

    @property
    def natural(self) -> int:
        return self.width


@dataclass(frozen=True, kw_only=True)
class Backtrack(Triggered):
    """Go back to the last choice where the model has lost its way, ban what was chosen there, choose again."""

    window: int = option(1, 1, 1000, "tokens whose mean entropy is compared with threshold, for trigger entropy")
    reach: int = option(16, 1, 1000, "how many tokens it goes back at most")
    retries: int = option(2, 1, 100, "times at one place")
    rewinds: int = option(8, 1, 1000, "times in an answer")

    @property
    def natural(self) -> int:
        return 2


@dataclass(frozen=True, kw_only=True)
class Tree(Triggered):
    """Fork where the model is unsure; every leaf is a ballot."""

    when: str = choice("now", ("now", "end"), "fork at once, or at the best places of a text that has ended")
    ballots: int = option(0, 0, 1024, "most leaves; 0: max_sequences")
    patience: int = option(1000, 1, 10**6, "tokens without a fork after which a branch forks no more")
    rounds: int = option(2, 1, 1024, "leaves opened together, for when=end")
    late: float = option(0.0, 0, 4, "for when=end: how much a place near the end is preferred, as it costs less")

    @property
    def natural(self) -> int:
        return 4


@dataclass(frozen=True, kw_only=True)
class Vote(Strategy):
    """Independent samples; the answer most of them give."""

    n: int = option(0, 0, 1024, "samples; 0: 4, or 1 where a tree makes the ballots")
    weight: str = choice("count", WEIGHTS, "what a ballot weighs: 1, its trace's confidence, its path's probability")
    trace: str = choice("lowest", ("lowest", "bottom", "tail", "mean"), "confidence of a trace from its windows")
    keep: float = option(1.0, 0, 1, "share of the surest ballots that count")
    floor: int = option(3, 1, 1024, "never fewer ballots than this, if so many are cast")
    share: float = option(0.95, 0.5, 1, "stop early when one answer holds this share of at least floor ballots")
    early: str = choice("yes", ("yes", "no"), "end as soon as the winner is certain; no: cast every ballot")
    answer: str | Extractor = "none"

    @property
    def counts_all(self) -> bool:
        """Whether every one of n samples is one ballot, whatever the others are."""
        return self.weight == "count" and math.ceil(self.keep * self.natural) >= self.natural

    def __post_init__(self) -> None:
        super().__post_init__()
        extractor(self.answer)

    @property
    def natural(self) -> int:
        return self.n or 4


STRATEGIES: dict[str, type[Strategy]] = {c.__name__.lower(): c for c in (Lookahead, Branch, Backtrack, Tree, Vote)}


@dataclass(frozen=True)
class SearchPlan:
    """Strategies that work together on one answer, with one budget."""

    strategies: tuple[Strategy, ...]
    spec: str = ""

    def __post_init__(self) -> None:
        names = [s.name for s in self.strategies]
        if not names:
            raise ParameterError("search: no strategy given; known are " + ", ".join(STRATEGIES))
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise ParameterError(f"search: {', '.join(sorted(twice))} is given twice")
        if {"lookahead", "branch"} <= set(names):
            raise ParameterError("search: lookahead and branch both compare at once; choose one of them")
        for what in ("max_sequences", "max_tokens"):
            given = {getattr(s, what) for s in self.strategies if getattr(s, what)}
            if len(given) > 1:
                raise ParameterError(f"search: {what} is given as {sorted(given)}; it is one budget for all")

    def of(self, name: str) -> Any:
        """The strategy of this name, or None."""
        return next((s for s in self.strategies if s.name == name), None)

    @property
    def samples(self) -> int:
        vote = self.of("vote")
        return 1 if vote is None else vote.n or (1 if self.of("tree") else 4)

    @property
    def max_sequences(self) -> int:
        given = max(s.max_sequences for s in self.strategies)
        return given or max([*(s.natural for s in self.strategies if s.name != "vote"), self.samples])

    @property
    def max_tokens(self) -> int | None:
        return max(s.max_tokens for s in self.strategies) or None

    @property
    def goes_back(self) -> bool:
        tree = self.of("tree")
        return self.of("backtrack") is not None or (tree is not None and tree.when == "end")

    def check(self, capabilities: Capabilities, policy: Policy) -> Sequence[str]:
        forks = self.max_sequences > 1 and any(s.name != "backtrack" for s in self.strategies)
        if forks and not capabilities.fork:
            raise CapabilityError(f"search {self.spec!r} forks sequences, and the engine cannot; use another engine")
        if self.goes_back and self.max_sequences > 1 and not capabilities.rewind:
            raise CapabilityError(f"search {self.spec!r} rewinds sequences, and the engine cannot; use another engine")
        if forks and self.max_sequences > capabilities.sequences:
            raise CapabilityError(
                f"search {self.spec!r} wants {self.max_sequences} sequences at a time, and the engine has "
                f"{capabilities.sequences}; give a smaller max_sequences or load the model with more sequences"
            )
        if self.samples > 1 and policy.name == "greedy":
            return ["search: vote draws samples, and policy 'greedy' draws the same text each time"]
        return ()

    def begin(self, job: Job) -> Explorer:
        from entropix.search.explorer import Exploration

        return Exploration(self, job)


def make_search(spec: str | Strategy | Sequence[Strategy] | SearchPlan | None, **values: Any) -> SearchPlan | None:
    """The search that `spec` names: "tree", "tree:threshold=1.2,max_sequences=8+vote:answer=number", strategy
    objects, or None for none. values: parameters for whichever strategy has them. Raises ParameterError."""
    if spec is None or isinstance(spec, SearchPlan):
        return spec
    if isinstance(spec, Strategy):
        return SearchPlan((spec,), spec.name)
    if not isinstance(spec, str):
        given_objects = [s for s in spec if isinstance(s, Strategy)] if isinstance(spec, Sequence) else []
        if not given_objects or len(given_objects) != len(spec):
            raise ParameterError("search is a name, a strategy or a list of strategies")
        return SearchPlan(tuple(given_objects), "+".join(s.name for s in given_objects))
    strategies = []
    for part in spec.split("+"):
        name, given = parse_spec(part.strip())
        if name not in STRATEGIES:
            raise ParameterError(f"search {name!r} is unknown; known are {', '.join(STRATEGIES)}")
        kind = STRATEGIES[name]
        known = {f.name for f in fields(kind)}
        for key in given:
            if key not in known:
                raise ParameterError(f"{name}: {key!r} is unknown; known are {', '.join(sorted(known))}")
        strategies.append(kind(**given, **{k: v for k, v in values.items() if k in known and k not in given}))
    return SearchPlan(tuple(strategies), spec)
