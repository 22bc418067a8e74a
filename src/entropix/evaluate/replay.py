"""What another rule would have made of ballots that were cast: stop rules, weights, selectors, budgets; no model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from entropix.errors import ParameterError, TaskError
from entropix.evaluate.store import cost
from entropix.evaluate.texts import StoredText, texts_of
from entropix.profiles.confidence import Evidence
from entropix.search.moving import Question, allot
from entropix.search.stopping import StopRule, Whole, standing
from entropix.search.tally import tally, voting

Outcome = dict[str, Any]

WEIGHTS = ("count", "text", "span")
SELECTS = ("vote", "likeliest", "span", "shortest", "assessed")
ORDERS = ("cast", "ended", "finished")


@dataclass(frozen=True)
class Rule:
    """How ballots become an answer.

    most: ballots at most, 0 for all there are. wave: ballots between two looks at the stop rule. weight: "count" one
    each, "text" the geometric mean probability of a ballot's tokens, "span" that of the tokens that give its answer.
    select: the answer with most weight, or that of the "likeliest" text, of the surest "span", of the "shortest" text,
    or that with the largest weight · p that the model gave it when asked ("assessed": as `benchmarks.ballots` keeps).
    order: as the ballots were "cast", as they "ended" if all began together and each forward were one token, or as they
    "finished" in the run, where the rule is asked once for those that ended at once: what a decision in a wave sees.
    first: the text of a spec of this name is the first ballot."""

    stop: StopRule = field(default_factory=Whole)
    most: int = 0
    wave: int = 1
    weight: str = "count"
    select: str = "vote"
    order: str = "cast"
    first: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("weight", WEIGHTS), ("select", SELECTS), ("order", ORDERS)):
            if getattr(self, name) not in allowed:
                raise ParameterError(f"{name}={getattr(self, name)!r} is unknown; known are {', '.join(allowed)}")
        for name, least in (("most", 0), ("wave", 1)):
            if getattr(self, name) < least:
                raise ParameterError(f"{name}={getattr(self, name)} is too small; at least {least} is needed")

    @property
    def likelihoods(self) -> str:
        """What of it reads the likelihoods of ballots; "" for nothing."""
        if self.weight != "count":
            return f"weight {self.weight}"
        return f"select {self.select}" if self.select in ("likeliest", "span") else ""

    @property
    def family(self) -> str:
        """What it is called, whatever it costs."""
        parts = ["vote" if isinstance(self.stop, Whole) else self.stop.spec]
        parts += [f"{self.first} first"] if self.first else []
        parts += [f"waves of {self.wave}"] if self.wave > 1 else []
        parts += [f"weight {self.weight}"] if self.weight != "count" else []
        parts += [f"select {self.select}"] if self.select != "vote" else []
        parts += [f"as {self.order}"] if self.order != "cast" else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Counted:
    """A vote of some texts. share: of the weight of all of them. chosen: the text that is given. lone: it alone voted,
    so the share says nothing."""

    answer: str | None
    right: bool
    share: float
    first: float
    second: float
    chosen: StoredText
    lone: bool
    assessed: float | None = None
    """p that the model gives the answer when asked, where that is stored."""


def ballots_of(outcome: Outcome, rule: Rule, others: Mapping[str, Outcome] | None = None) -> list[StoredText]:
    """The ballots that a rule may cast, in its order. others: outcomes of other specs to the same item and seed.

    Raises TaskError where the spec of the first ballot has none, and for an order that is not stored."""
    texts = texts_of(outcome)
    if rule.order == "finished":
        if len(texts) > 1 and any(t.before is None for t in texts):
            raise TaskError(
                f"the run has not kept in which order the ballots of item {outcome['item']!r} finished; order ended "
                "takes the shortest first"
            )
        texts = sorted(texts, key=lambda t: t.before or 0)
    if rule.order == "ended":
        texts = sorted(texts, key=lambda t: t.length)
    if rule.first:
        if rule.first not in (others or {}):
            raise TaskError(
                f"the run has no answer of {rule.first!r} to item {outcome['item']!r}, which is to be the first ballot"
            )
        texts = [*(replace(t, before=None) for t in texts_of((others or {})[rule.first])[:1]), *texts]
    return texts[: rule.most] if rule.most else texts


def heard(texts: Sequence[StoredText], rule: Rule) -> int:
    """How many of these ballots are cast before the rule stops, looking where waves end."""
    weights = None if rule.weight == "count" else [weight(t, rule.weight) for t in texts]
    for n in range(rule.wave, len(texts), rule.wave):
        if rule.order == "finished" and texts[n].before is not None and texts[n].before == texts[n - 1].before:
            continue
        now = standing(
            [t.answer for t in texts[:n]],
            [t.ended for t in texts[:n]],
            len(texts) - n,
            None if weights is None else weights[:n],
            1.0,
        )
        if rule.stop.stops(now):
            return n
    return len(texts)


def count(texts: Sequence[StoredText], rule: Rule, assessed: Mapping[str, float] | None = None) -> Counted:
    """The vote of these ballots, at least one. assessed: what the model gives each answer when asked.

    Raises TaskError for a rule that needs that where it is not stored."""
    if rule.select == "assessed" and assessed is None:
        raise TaskError("select assessed needs what the model says of the answers, which this run has not stored")
    weights = [weight(t, rule.weight) for t in texts]
    sums = tally([t.answer for t in texts], weights, [t.ended for t in texts])
    votes = voting([t.ended for t in texts])
    cast = [t for t, votes_too in zip(texts, votes, strict=True) if votes_too and t.answer is not None]
    if not cast:
        chosen = max(texts, key=_likelihood)
        return Counted(None, False, 0.0, 0.0, 0.0, chosen, sum(votes) == 1)
    said = assessed or {}
    if rule.select == "vote":
        answer: str | None = next(iter(sums))
    elif rule.select == "assessed":
        answer = max(sums, key=lambda a: sums[a] * said.get(a, 0.0))
    else:
        answer = max(cast, key=_SELECT[rule.select]).answer
    assert answer is not None
    mine = [t for t in cast if t.answer == answer]
    second = max((w for a, w in sums.items() if a != answer), default=0.0)
    total = math.fsum(weights)
    share = min(sums[answer] / total, 1.0) if total else 0.0
    chosen, lone = max(mine, key=_likelihood), sum(votes) == 1
    return Counted(answer, mine[0].right, share, sums[answer], second, chosen, lone, said.get(answer))


def evidence_of(outcome: Outcome, rule: Rule) -> Evidence:
    """What a replayed vote knows of its answer, for a calibrated confidence."""
    texts = texts_of(outcome)
    found = count(texts, rule, outcome.get("assessed"))
    mine = [t for t in texts if t.answer == found.answer] or list(texts)
    spans = [t.span.mean for t in mine if t.span is not None]
    return Evidence(
        found.first,
        found.second,
        math.fsum(weight(t, rule.weight) for t in texts),
        sum(spans) / len(spans) if spans else None,
        sum(t.length for t in mine) / len(mine),
    )


def weight(text: StoredText, kind: str) -> float:
    """What a ballot weighs, 0 … 1; 0 where its likelihood is not known. Raises ParameterError for an unknown kind."""
    if kind == "count":
        return 1.0
    found = {"text": text.whole, "span": text.span}[kind]
    return 0.0 if found is None else math.exp(min(found.mean, 0.0))


def _likelihood(text: StoredText) -> float:
    return -math.inf if text.whole is None else text.whole.mean


_SELECT = {
    "likeliest": _likelihood,
    "span": lambda text: -math.inf if text.span is None else text.span.mean,
    "shortest": lambda text: -text.length,
}


def replayed(outcome: Outcome, rule: Rule, name: str, others: Mapping[str, Outcome] | None = None) -> Outcome:
    """The outcome that a rule would have had, under the spec `name`."""
    texts = ballots_of(outcome, rule, others)
    return _outcome(outcome, name, rule, texts[: heard(texts, rule)])


def moved(outcomes: Sequence[Outcome], mean: float, rule: Rule, name: str, others: Any = None) -> list[Outcome]:
    """What ballots that move between these questions would have made of them at a mean of so many per question; the
    rule's own stop is not asked. others: for each outcome, those of other specs. Raises ParameterError.

    The order of the questions decides only between those that are equally undecided."""
    all_texts = [
        ballots_of(o, rule, found) for o, found in zip(outcomes, others or [None] * len(outcomes), strict=True)
    ]
    most = min(map(len, all_texts), default=0)
    if not 1 <= mean <= most:
        raise ParameterError(f"a mean of {mean:g} ballots per question cannot be moved; allowed is 1 to {most}")
    leads = [[_lead(texts[: n + 1], rule) for n in range(most)] for texts in all_texts]
    cast, _ = allot([Question(of_one) for of_one in leads], round(mean * len(outcomes)), most)
    return [_outcome(o, name, rule, t[:n]) for o, t, n in zip(outcomes, all_texts, cast, strict=True) if n]


def _lead(texts: Sequence[StoredText], rule: Rule) -> float:
    weights = None if rule.weight == "count" else [weight(t, rule.weight) for t in texts]
    return standing([t.answer for t in texts], [t.ended for t in texts], 1, weights, 1.0).lead


def _outcome(o: Outcome, name: str, rule: Rule, texts: Sequence[StoredText]) -> Outcome:
    found, stored = count(texts, rule, o.get("assessed")), texts_of(o)
    asked = 0 if rule.select == "assessed" else o["ledger"].get("asked", 0)
    forwarded = cost(o) - asked - sum(t.tokens for t in stored) + sum(t.tokens for t in texts)
    shared = (o["unshared"] - cost(o)) / max(len(stored) - 1, 1)  # the prompt, which every further text would compute
    plain = rule.order == "cast" and rule.weight == "count" and rule.select == "vote" and isinstance(rule.stop, Whole)
    return {
        "task": o["task"],
        "item": o["item"],
        "seed": o["seed"],
        "spec": name,
        "gold": o.get("gold", ""),
        "answer": found.answer,
        "right": found.right,
        "any_right": any(t.right for t in texts),
        "ballots": [t.answer for t in texts],
        "ballot_right": [t.right for t in texts],
        "ballot_tokens": [t.tokens for t in texts],
        "ballot_ends": [t.ended for t in texts],
        "ballot_before": [t.before for t in texts],
        "independent": plain and not rule.first and bool(o.get("independent")),
        "texts": [t.kept for t in texts],
        "forwarded": forwarded,
        "unshared": forwarded + round(shared * (len(texts) - 1)),
        "ledger": {"shared": 0},
        "seconds": None,
        "signals": _signals(found),
        "branches": len(texts),
        **({"assessed": o["assessed"]} if "assessed" in o else {}),
    }


def _signals(found: Counted) -> dict[str, float]:
    """The stored signals that separate right answers from wrong ones; higher is surer."""
    whole, span = found.chosen.whole, found.chosen.span
    share = math.exp(min(whole.sum, 0.0)) if found.lone and whole is not None else found.share
    signals = {"confidence": share, "length": -float(found.chosen.length)}
    if found.assessed is not None:
        signals["self-assessment"] = found.assessed
    if whole is not None:
        signals |= {"mean log-probability": whole.mean, "sum of log-probabilities": whole.sum}
        signals["mean log-probability of the answer"] = whole.mean if span is None else span.mean
    return signals
