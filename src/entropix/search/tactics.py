"""What every strategy's part of an exploration looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entropix.decoding import Branch, Decoder, Proposal

if TYPE_CHECKING:
    from entropix.search.explorer import Exploration


class Tactic:
    """One strategy at work on one answer. The default does nothing, which is plain decoding."""

    def instead(self, search: Exploration, decoder: Decoder, proposal: Proposal) -> bool:
        """Do something else than taking the proposed token; True if so."""
        return False

    def before(self, search: Exploration, decoder: Decoder, proposal: Proposal) -> None:
        """Open branches beside the proposed token, which is taken afterwards."""

    def after(self, search: Exploration, decoder: Decoder) -> None:
        """All branches have taken their tokens: compare, drop, open at earlier places."""

    def busy(self, branch: Branch) -> bool:
        """Whether `branch` is being compared, so that no other tactic may act on it."""
        return False

    def certain(self, search: Exploration) -> int | None:
        """How many of the trunk's first tokens this tactic cannot change any more; None for all."""
        return None

    def outstanding(self, search: Exploration) -> int:
        """Ballots it may still open."""
        return 0

    def replaced(self, old: Branch, new: Branch) -> None:
        """`new` goes on in the place of `old`."""
