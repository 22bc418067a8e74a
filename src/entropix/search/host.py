"""What runs a search: the decoding loop on an engine, or requests to an endpoint. Strategies know this and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from entropix.errors import CapabilityError
from entropix.search.record import Ballot
from entropix.types import Step

CAPABILITIES = {
    "sample": "draws several texts of one prompt",
    "sample_later": "draws further texts of a prompt when others have ended",
    "fork": "forks texts while they are written",
    "fork_at": "forks texts at earlier places",
    "rewind": "takes back tokens that were chosen",
    "pause": "pauses texts token by token to compare them",
}
"""What a search may need of its host, and how a message says so."""


class Unable(CapabilityError):
    """A strategy calls for what its `needs` do not name, and what this host cannot do."""

    def __init__(self, capability: str) -> None:
        super().__init__(f"the host of this search cannot {capability}; a strategy that does names it in its needs")


class Place(Protocol):
    """Where a text may be forked: the model says `step` at answer position `at` of `branch`. injects: the step begins
    a text that the policy puts there."""

    @property
    def branch(self) -> Ballot: ...
    @property
    def at(self) -> int: ...
    @property
    def step(self) -> Step: ...
    @property
    def injects(self) -> bool: ...

    def alternatives(self, n: int, ratio: float) -> Sequence[Any]:
        """Up to n other tokens, likeliest first, each at least `ratio` times as likely as the likeliest. What they are
        is the host's affair: they are handed to `fork` and `fork_at`."""
        ...


class Host(Protocol):
    """One answer's branches. A branch is a `Ballot`; `trunk` is the one whose text is the answer as far as is known.

    A host overrides what it can; a strategy calls only what its `needs` name. A branch that cannot be opened is None,
    and the host says why in its notes."""

    trunk: Any

    @property
    def live(self) -> int:
        """Branches that are being written."""
        ...

    def affordable(self, wanted: int) -> int:
        """How many of `wanted` further tokens the search's budget allows beside those about to be taken."""
        ...

    def sample(self, n: int) -> Iterable[Any]:
        """Begin up to n further independent samples of the prompt, each with a seed of its own (needs "sample", and
        "sample_later" where its first text has gone on)."""
        raise Unable("sample")

    def release(self, branch: Any) -> None:
        """Nothing is forked any more from a text that has ended: give back what it holds."""
        del branch  # a host whose ended texts hold nothing has nothing to do

    def fork(self, place: Any, alternative: Any, why: str) -> Any:
        """A branch that says `alternative` at a place while it is considered (needs "fork")."""
        raise Unable("fork")

    def fork_at(self, branch: Any, at: int, alternative: Any, why: str) -> Any:
        """A branch that shares the first `at` tokens of `branch` and continues with an alternative seen there (needs
        "fork_at")."""
        raise Unable("fork_at")

    def rewind(self, branch: Any, at: int) -> None:
        """Take back everything from position `at` on and ban the token chosen there (needs "rewind")."""
        raise Unable("rewind")

    def pause(self, branch: Any) -> None:
        """Let a branch wait until `resume` (needs "pause")."""
        raise Unable("pause")

    def resume(self, branch: Any) -> None:
        """Let a paused branch go on (needs "pause")."""
        raise Unable("pause")

    def drop(self, branch: Any, why: str, start: int) -> None:
        """Take a branch out of the search; its tokens from position `start` on were only looked ahead (needs
        "pause")."""
        raise Unable("pause")


def ended(branch: Ballot) -> bool:
    """Whether nothing more is written on a branch: its text has ended, or it is out of the search."""
    return bool(branch.finish_reason or branch.gone)
