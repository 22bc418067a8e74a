"""Where a search or a constraint takes part in the decoding loop. The loop knows these protocols and no strategy and
no grammar.

For every answer with a search the loop hands the explorer what it would do next on each running branch. The
explorer carries it out, or something else, through the decoder's `accept`, `fork`, `retrace`, `rewind`, `pause`,
`resume`, `drop` and `conclude`, so that every token taken passes through the one loop and its ledger.

A constrained answer has a matcher on every branch. The loop asks it which tokens are possible before anything is
measured, advances it by every token taken, copies it where a branch forks and takes it back where one is rewound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from entropix.types import Capabilities, SearchRecord

if TYPE_CHECKING:
    from entropix.decoding.decoder import Decoder
    from entropix.decoding.job import Job
    from entropix.decoding.proposal import Proposal
    from entropix.policies import Policy


class Search(Protocol):
    """A search as it is asked for: settings, no state."""

    @property
    def max_sequences(self) -> int:
        """Most branches of one answer that are live at a time; 1 is plain decoding."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Most tokens that all branches of one answer take together, or no limit."""
        ...

    @property
    def goes_back(self) -> bool:
        """Whether branches are rewound or opened behind their end, which needs the policy's earlier states."""
        ...

    @property
    def pooled(self) -> bool:
        """Whether its texts depend on those of other requests, all of which have to be begun before any can end."""
        ...

    def check(self, capabilities: Capabilities, policy: Policy) -> Sequence[str]:
        """Notes for the reader of the answer. Raises CapabilityError when the engine cannot do what this needs."""
        ...

    def begin(self, job: Job) -> Explorer:
        """What explores one answer."""
        ...


class Explorer(Protocol):
    """The search of one answer."""

    def advance(self, decoder: Decoder, proposals: Sequence[Proposal]) -> None:
        """Carry out one step; `proposals` has one entry per running branch of the answer, in the order of opening. It
        has none where every branch is paused: the explorer waits for another answer, and goes on or concludes."""
        ...

    def certain(self) -> int | None:
        """How many of the trunk's first tokens every possible answer shares; None for all of them."""
        ...

    def exhausted(self, decoder: Decoder) -> None:
        """The budget of tokens is used up: conclude with what there is."""
        ...

    def stopped(self, decoder: Decoder) -> None:
        """The answer is ended from outside: conclude with the texts that have ended, if any have."""
        ...

    def record(self) -> SearchRecord:
        """What has been tried, for the trace."""
        ...


class Matcher(Protocol):
    """How far one branch's text has come in its constraint."""

    @property
    def free(self) -> bool:
        """Whether every token is allowed now; `allowed` is then not asked."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the text is whole and nothing may follow it."""
        ...

    @property
    def problem(self) -> str:
        """Why the text cannot go on, "" while it can."""
        ...

    def allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        """`(vocabulary,)`: the tokens that may come next, end tokens where the text is whole; None for a problem."""
        ...

    def accept(self, token: int) -> None:
        """Take the next token. An end token that ends the answer is not handed over."""
        ...

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens of the answer."""
        ...

    def copy(self) -> Matcher:
        """A second matcher at the same place."""
        ...


@runtime_checkable
class Constraint(Protocol):
    """What an answer's text must be, for one model: no state."""

    @property
    def vocabulary(self) -> int:
        """How many tokens the model has for which it was made."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the reader of the answer must know."""
        ...

    def begin(self) -> Matcher:
        """A matcher at the beginning of an answer."""
        ...
