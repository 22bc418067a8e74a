"""What an outcome keeps of each of its texts, and how it is read again: as the estimators of uncertainty read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entropix.answers.spans import Likelihood
from entropix.uncertainty import Reading

Outcome = dict[str, Any]


@dataclass(frozen=True)
class StoredText:
    """One ballot, or the only text of an answer. tokens: what it alone has cost; length: its tokens, and so the order
    in which texts that begin together come to an end; ended: how; before: how many of the others had ended in the run
    when it did, None where that is not stored. whole and span: of all its tokens, and of those that
    give the answer; None where that is not known."""

    answer: str | None
    right: bool
    tokens: int
    length: int
    ended: str
    whole: Likelihood | None
    span: Likelihood | None
    entropy: float | None = None
    """Mean of its steps, nats."""
    bottom: float | None = None
    """Mean of the lowest tenth of its sliding-window confidences, nats."""
    claimed: float | None = None
    """−ln of its claim-conditioned probability, nats."""
    before: int | None = None

    @property
    def kept(self) -> dict[str, Any]:
        return kept_of(self)


def kept_of(text: Reading) -> dict[str, Any]:
    """What an outcome keeps of a text beside its answer: all that the estimators read."""
    more = {
        name: None if (x := getattr(text, name)) is None else round(x, 6) for name in ("entropy", "bottom", "claimed")
    }
    return {"length": text.length, "whole": text.whole, "span": text.span, **more}


def texts_of(outcome: Outcome) -> list[StoredText]:
    """The texts of an outcome in the order in which they were cast; the answer's only one where there was no vote.

    Outcomes of versions that did not keep it have no likelihoods, and the tokens of a text for its length."""
    kept = outcome.get("texts") or []
    if not outcome.get("ballots"):
        cost = outcome["forwarded"] - outcome["ledger"].get("prompt", 0)
        only = kept[0] if kept else {"length": outcome.get("tokens", cost), "whole": None, "span": None}
        return [_text(outcome["answer"], outcome["right"], cost, outcome.get("finish_reason", "end"), only)]
    costs = outcome["ballot_tokens"]
    kept = kept or [{"length": cost, "whole": None, "span": None} for cost in costs]
    before = outcome.get("ballot_before") or [None] * len(costs)
    rows = zip(outcome["ballots"], outcome["ballot_right"], costs, outcome["ballot_ends"], kept, before, strict=True)
    return [_text(*row) for row in rows]


def _text(
    answer: str | None, right: bool, tokens: int, ended: str, kept: dict[str, Any], before: int | None = None
) -> StoredText:
    whole, span = (None if kept[name] is None else Likelihood(*kept[name]) for name in ("whole", "span"))
    more = {name: kept.get(name) for name in ("entropy", "bottom", "claimed")}
    return StoredText(answer, right, tokens, kept["length"], ended, whole, span, **more, before=before)
