"""What an outcome keeps of each of its texts, and how it is read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from entropix.search.spans import answer_span
from entropix.types import BranchRecord

Outcome = dict[str, Any]


class Likelihood(NamedTuple):
    """Log-probabilities of the model's own tokens of a stretch of text, nats, before temperature: their sum, mean and
    least, and how many they are."""

    sum: float
    mean: float
    least: float
    tokens: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Likelihood | None:
        """None where there is no token of the model's own, as in a text that was injected whole."""
        own = [v for v in values if v is not None]
        if not own:
            return None
        total = sum(own)
        return cls(round(total, 6), round(total / len(own), 6), round(min(own), 6), len(own))


@dataclass(frozen=True)
class StoredText:
    """One ballot, or the only text of an answer. tokens: what it alone has cost; length: its tokens, and so the order
    in which texts that begin together come to an end; ended: how. whole and span: of all its tokens, and of those that
    give the answer; None where that is not known."""

    answer: str | None
    right: bool
    tokens: int
    length: int
    ended: str
    whole: Likelihood | None
    span: Likelihood | None


def measured(
    pieces: Sequence[str],
    logprobs: Sequence[float | None],
    answer: str | None,
    extract: Callable[[str], str | None] | None,
) -> dict[str, Any]:
    """What is kept of a text beside its answer: its length, and the likelihood of the whole and of its answer."""
    span = None if answer is None or extract is None else answer_span(pieces, answer, extract)
    part = logprobs[span.start : span.stop] if span else ()
    return {"length": len(pieces), "whole": Likelihood.of(logprobs), "span": Likelihood.of(part)}


def branch_texts(branches: Sequence[BranchRecord], extract: Callable[[str], str | None] | None) -> list[dict[str, Any]]:
    """`measured` of every branch, each with what it shares with its parents."""
    steps: dict[int, tuple[Any, ...]] = {}
    for b in branches:
        steps[b.number] = (*(steps[b.parent][: b.origin] if b.parent is not None else ()), *b.steps)
    return [
        measured([s.text for s in steps[b.number]], [s.logprob for s in steps[b.number]], b.answer, extract)
        for b in branches
    ]


def texts_of(outcome: Outcome) -> list[StoredText]:
    """The texts of an outcome in the order in which they were cast; the answer's only one where there was no vote.

    Outcomes of versions that did not keep it have no likelihoods, and the tokens of a text for its length."""
    kept = outcome.get("texts") or []
    if not outcome.get("ballots"):
        cost = outcome["forwarded"] - outcome["ledger"]["prompt"]
        only = kept[0] if kept else {"length": outcome["tokens"], "whole": None, "span": None}
        return [_text(outcome["answer"], outcome["right"], cost, outcome["finish_reason"], only)]
    costs = outcome["ballot_tokens"]
    kept = kept or [{"length": cost, "whole": None, "span": None} for cost in costs]
    rows = zip(outcome["ballots"], outcome["ballot_right"], costs, outcome["ballot_ends"], kept, strict=True)
    return [_text(*row) for row in rows]


def _text(answer: str | None, right: bool, tokens: int, ended: str, kept: dict[str, Any]) -> StoredText:
    whole, span = (None if kept[name] is None else Likelihood(*kept[name]) for name in ("whole", "span"))
    return StoredText(answer, right, tokens, kept["length"], ended, whole, span)
