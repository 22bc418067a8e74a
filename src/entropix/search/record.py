"""What votes and records need to know of a text, whatever made it: a branch of the decoding loop, or requests to a
server."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from entropix.types import BranchRecord, SearchRecord, Step

if TYPE_CHECKING:
    from entropix.search.ballots import Count


class Ballot(Protocol):
    """One text of a search; the attributes are those of `decoding.Branch`, which is one."""

    score: float | None
    answer: str | None

    @property
    def number(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def parent(self) -> Ballot | None: ...
    @property
    def origin(self) -> int: ...
    @property
    def siblings(self) -> Sequence[Ballot]: ...
    @property
    def opened(self) -> str: ...
    @property
    def gone(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...
    @property
    def banned(self) -> Mapping[int, Collection[int]]:
        """Tokens that may not be chosen, by position in the answer."""
        ...

    @property
    def steps(self) -> Sequence[Step]: ...
    @property
    def confidence(self) -> Sequence[float]: ...
    @property
    def text(self) -> str: ...
    @property
    def constrained(self) -> bool: ...


AnyBallot = TypeVar("AnyBallot", bound=Ballot)


def branch_record(
    ballot: Ballot, kept: Ballot, weights: Mapping[int, float], before: Mapping[int, int]
) -> BranchRecord:
    """A text as it stands in a trace. kept: the one that is the answer; weights: of the ballots that were counted;
    before: of those that ended."""
    return BranchRecord(
        number=ballot.number,
        parent=None if ballot.parent is None else ballot.parent.number,
        origin=ballot.origin,
        opened=ballot.opened,
        ended=ballot.gone or ballot.finish_reason or "the answer was decided",
        steps=tuple(ballot.steps[ballot.origin :]),
        text="".join(s.text for s in ballot.steps[ballot.origin :]),
        score=ballot.score,
        answer=ballot.answer,
        weight=weights.get(ballot.number),
        kept=ballot is kept,
        before=before.get(ballot.number),
    )


def search_record(
    spec: str,
    ballots: Sequence[AnyBallot],
    kept: AnyBallot,
    counted: Count[AnyBallot] | None,
    notes: Sequence[str],
    before: Mapping[int, int],
    stopped: bool,
) -> SearchRecord:
    """A whole search. counted: its vote, None where no text has ended; before: by the number of each text that has
    ended, how many had ended before it; stopped: whether it was ended from outside."""
    weights = counted.weights if counted else {}
    return SearchRecord(
        spec,
        tuple(branch_record(ballot, kept, weights, before) for ballot in ballots),
        counted.shares if counted else {},
        counted.confidence if counted else None,
        counted.answer if counted else None,
        len(weights),
        tuple(notes),
        counted.agreeing if counted else 0,
        stopped,
    )
