"""Searches as they are asked for: strategies by name, checked and combined, and the text that names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from entropix.answers import Extractor
from entropix.decoding import Explorer, Job
from entropix.errors import CapabilityError, ParameterError
from entropix.parameters import fitted, parameters, parse_spec
from entropix.policies import Policy
from entropix.search.best import Best
from entropix.search.host import CAPABILITIES
from entropix.search.strategies import STRATEGIES
from entropix.search.strategy import Strategy
from entropix.types import Capabilities

BY_SCORE = Best()
"""Decides where no strategy of a search does: the text with the best mean log-probability."""


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
        for part in {s.part for s in self.strategies if s.part}:
            same = [s.name for s in self.strategies if s.part == part]
            if len(same) > 1:
                raise ParameterError(f"search: each of {' and '.join(same)} {part}; choose one of them")
        for what in ("max_sequences", "max_tokens"):
            given = {getattr(s, what) for s in self.strategies if getattr(s, what)}
            if len(given) > 1:
                raise ParameterError(f"search: {what} is given as {sorted(given)}; it is one budget for all")

    @property
    def decider(self) -> Strategy:
        """The strategy that says which text is the answer."""
        return next((s for s in self.strategies if s.part == BY_SCORE.part), BY_SCORE)

    @property
    def reads(self) -> str | Extractor | None:
        """What reads a text's answer, an extractor or its name; None if no strategy counts answers."""
        return next((s.reads for s in self.strategies if s.reads is not None), None)

    @property
    def rule_in_words(self) -> str | None:
        """How a vote of samples stops and counts; None for any other search, to which no calibration applies."""
        return self.strategies[0].rule_in_words(self) if len(self.strategies) == 1 else None

    @property
    def opens_ballots(self) -> bool:
        return any(s.opens_ballots for s in self.strategies)

    @property
    def is_vote_of_samples(self) -> bool:
        """Whether the ballots are whole samples that count once each, so that the first few are a smaller vote."""
        return all(s.is_vote_of_samples for s in self.strategies)

    @property
    def pooled(self) -> bool:
        """Whether its texts depend on those of other questions, all of which have to be begun before any can end."""
        return any(s.pooled for s in self.strategies)

    @property
    def greedy_first(self) -> bool:
        """Whether the first text takes the likeliest tokens, whatever the policy."""
        return self.max_sequences > 1 and any(s.greedy_first for s in self.strategies)

    @property
    def samples(self) -> int:
        return max(s.samples(self) for s in self.strategies)

    @property
    def max_sequences(self) -> int:
        given = max(s.max_sequences for s in self.strategies)
        return given or max(s.branches(self) for s in self.strategies)

    @property
    def max_tokens(self) -> int | None:
        return max(s.max_tokens for s in self.strategies) or None

    @property
    def needs(self) -> frozenset[str]:
        """What the host must be able to do; nothing beyond plain decoding with max_sequences=1."""
        plain = self.max_sequences == 1
        return frozenset() if plain else frozenset().union(*(s.needs(self) for s in self.strategies))

    @property
    def goes_back(self) -> bool:
        return bool(self.needs & {"rewind", "fork_at"})

    @property
    def reads_leading(self) -> bool:
        """Whether it reads more of a step than the log-probability of its token."""
        return any(s.reads_leading() for s in self.strategies)

    def within(self, max_tokens: int) -> SearchPlan:
        """The same search with this budget of tokens."""
        return SearchPlan(tuple(replace(s, max_tokens=max_tokens) for s in self.strategies), self.spec)

    def about(self, question: str) -> SearchPlan:
        """The same search on texts that answer `question`."""
        return replace(self, strategies=tuple(s.about(question) for s in self.strategies))

    def check(self, capabilities: Capabilities, policy: Policy) -> Sequence[str]:
        from entropix.search.loop import able

        self.check_host(able(capabilities), "this engine", "use another engine")
        if self.needs - {"rewind"} and self.max_sequences > capabilities.sequences:
            raise CapabilityError(
                f"search {self.spec!r} wants {self.max_sequences} sequences at a time, and the engine has "
                f"{capabilities.sequences}; give a smaller max_sequences or load the model with more sequences"
            )
        return self.repeated("policy 'greedy'") if policy.name == "greedy" else ()

    def check_host(self, able: frozenset[str], host: str, instead: str) -> None:
        """Raise CapabilityError unless a host can do what this needs. able: names of `host.CAPABILITIES`; host: its
        name, and instead: the advice, for the message."""
        for strategy in self.strategies if self.needs else ():
            missing = [text for need, text in CAPABILITIES.items() if need in strategy.needs(self) - able]
            if missing:
                raise CapabilityError(
                    f"search {strategy.name!r} {' and '.join(missing)}, and {host} cannot do that; {instead}"
                )

    def repeated(self, how: str) -> Sequence[str]:
        """The note of a search that draws samples where all are the same. how: what makes them the same."""
        if self.samples == 1:
            return ()
        return (f"search: {self.decider.name} draws samples, and {how} draws the same text each time",)

    def begin(self, job: Job) -> Explorer:
        from entropix.search.loop import LoopHost

        return LoopHost(self, job)


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
        kind = STRATEGIES.find(name)
        known = parameters(kind)
        shared = {key: value for key, value in values.items() if key in known and key not in given}
        strategies.append(kind(**fitted(name, kind, {**given, **shared})))
    return SearchPlan(tuple(strategies), spec)
