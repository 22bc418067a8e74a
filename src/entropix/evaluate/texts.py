"""What an outcome keeps of each of its texts, and how it is read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entropix.search.spans import Likelihood

Outcome = dict[str, Any]


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
