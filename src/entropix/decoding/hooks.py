"""Where a search takes part in the decoding loop. The loop knows these protocols and no strategy.

For every answer with a search the loop hands the explorer what it would do next on each running branch. The
explorer carries it out, or something else, through the decoder's `accept`, `fork`, `retrace`, `rewind`, `pause`,
`resume`, `drop` and `conclude`, so that every token taken passes through the one loop and its ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

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

    def check(self, capabilities: Capabilities, policy: Policy) -> Sequence[str]:
        """Notes for the reader of the answer. Raises CapabilityError when the engine cannot do what this needs."""
        ...

    def begin(self, job: Job) -> Explorer:
        """What explores one answer."""
        ...


class Explorer(Protocol):
    """The search of one answer."""

    def advance(self, decoder: Decoder, proposals: Sequence[Proposal]) -> None:
        """Carry out one step; `proposals` has one entry a running branch of the answer, in the order of opening."""
        ...

    def certain(self) -> int | None:
        """How many of the trunk's first tokens every possible answer shares; None for all of them."""
        ...

    def exhausted(self, decoder: Decoder) -> None:
        """The budget of tokens is used up: conclude with what there is."""
        ...

    def record(self) -> SearchRecord:
        """What has been tried, for the trace."""
        ...
