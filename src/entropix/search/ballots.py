"""Counting answers: plain and weighted votes, a floor of ballots, when a vote is decided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from entropix.answers import OPEN, Extractor, Recogniser, extractor
from entropix.errors import ParameterError
from entropix.search.record import AnyBallot, Ballot
from entropix.search.scores import path_probability, score, trace_confidence
from entropix.search.stopping import Standing, standing
from entropix.search.tally import CUT_OFF, tally, voting

if TYPE_CHECKING:
    from entropix.search.vote import Vote

NO_VOTE = "search: vote has no answer= to compare, so the text with the best mean log-probability won, as with best"
ONE_VOTE = "search: one ballot alone voted, so the confidence is 1 − uncertainty and no share of votes"


def no_answer(ends: Sequence[str]) -> str:
    """The note of a vote in which no text that votes gives an answer. ends: how each text ended."""
    cut = sum(end in CUT_OFF for end in ends)
    lost = f" ({cut} of {len(ends)} were cut off)" if cut else ""
    return f"vote: no text gives an answer to count{lost}, so the likeliest text is given"


def extractor_of(plan: object) -> Extractor | None:
    """What reads the answers of a search's texts; None where nothing does, or where that was not recognised yet."""
    found = extractor(next((part.answer for part in getattr(plan, "strategies", ()) if hasattr(part, "answer")), None))
    return None if isinstance(found, Recogniser) and (found.found is None or found.found.kind == OPEN) else found


def recognised(plan: object) -> tuple[str, ...]:
    """The note of a vote whose texts were found out to be of a kind, that says of which; none where it was given."""
    found = extractor_of(plan)
    if not isinstance(found, Recogniser) or found.found is None:
        return ()
    return (f"vote: answers are read as {found.found.kind}, since {found.found.why}",)


def _checked(answer: object) -> str | None:
    """What a caller's function has returned. Raises ParameterError: anything else would be compared by accident."""
    if answer is None or isinstance(answer, str):
        return answer
    raise ParameterError(f"vote: answer's function returned {answer!r}; it returns a text, or None for no answer")


def _is_valid(ballot: Ballot) -> bool:
    """Whether a constrained text keeps its constraint: one that was cut off does not. Any text without one does."""
    return not ballot.constrained or ballot.finish_reason not in CUT_OFF


def best_of(ended: Sequence[AnyBallot]) -> AnyBallot:
    """The text with the best score, one that breaks its constraint only where all do; of equals the first."""
    return max(ended, key=lambda b: (_is_valid(b), b.score if b.score is not None else -math.inf, -b.number))


@dataclass(frozen=True)
class Count(Generic[AnyBallot]):
    """A vote. winner: the text given; shares: of the weight of all ballots, those without an answer included; empty
    without a vote, as where one ballot alone voted, and confidence is None then; note: for the reader."""

    winner: AnyBallot
    answer: str | None
    shares: dict[str, float]
    confidence: float | None
    weights: dict[int, float]
    decided: bool = False
    note: str = ""
    agreeing: int = 0
    """How many ballots gave the answer."""
    standing: Standing | None = None
    """How the vote stands, None where nothing has been counted."""


def count(ended: Sequence[AnyBallot], vote: Vote, outstanding: int, running: int = 0) -> Count[AnyBallot] | None:
    """The vote of the texts that have ended; None without any. outstanding: ballots that may still be cast, of which
    `running` have begun: texts that end first are shorter, so most rules wait for them.

    Without an extractor no vote is held: the winner is the text with the best mean log-probability."""
    if not ended:
        return None
    extract = extractor(vote.answer)
    if isinstance(extract, Recogniser):
        if extract.found is None and running:
            return Count(ended[0], None, {}, None, {})
        found = extract.settle([b.text for b in ended])
        if found.kind == OPEN:
            first = min(ended, key=lambda b: b.number)
            return Count(first, None, {}, None, {}, decided=True, note=f"vote: no vote was held, as {found.why}")
    for branch in ended:
        if branch.score is None:
            branch.score = score(branch, 0, "logprob")
        if extract is not None and branch.answer is None:
            branch.answer = _checked(extract(branch.text))
    best = best_of(ended)
    if extract is None:
        return Count(best, None, {}, None, {}, note=NO_VOTE if len(ended) > 1 else "")
    trace = {b.number: trace_confidence(b.confidence, vote.trace) for b in ended}
    surest = sorted(ended, key=lambda b: (-trace[b.number], b.number))
    counted = surest[: max(math.ceil(vote.keep * len(ended)), min(vote.floor, len(ended)))]
    weigh = {"count": lambda b: 1.0, "confidence": lambda b: trace[b.number], "path": path_probability}[vote.weight]
    weights = {b.number: max(weigh(b), 0.0) for b in counted}
    total = sum(weights.values())
    if not total > 0:
        weights = dict.fromkeys(weights, 1.0)
        total = float(len(weights))
    cast = sorted(counted, key=lambda b: b.number)
    ends = [b.finish_reason for b in cast]
    sums = tally([b.answer for b in cast], [weights[b.number] for b in cast], ends)
    lone = sum(voting(ends)) == 1
    note = ONE_VOTE if lone else ""
    if not sums:
        return Count(best, None, {}, None if lone else 0.0, weights, note=no_answer(ends))
    order = list(sums)
    answer = order[0]
    mine = [b for b, votes in zip(cast, voting(ends), strict=True) if votes and b.answer == answer]
    winner = max(mine, key=lambda b: (b.score if b.score is not None else -math.inf, -b.number))
    shares = {a: sums[a] / total for a in order}
    plain = vote.weight == "count"
    now = standing([b.answer for b in cast], ends, outstanding, None if plain else [weights[b.number] for b in cast])
    # where the surest ballots alone count, one more may put another out, and nothing is exact
    sure = not vote.rule.exact or vote.keep == 1 or not outstanding
    decided = vote.rule.stops(now) and sure and (vote.rule.exact or not running)
    if lone:
        return Count(winner, answer, {}, None, weights, decided, note, standing=now)
    return Count(winner, answer, shares, min(shares[answer], 1.0), weights, decided, agreeing=len(mine), standing=now)
