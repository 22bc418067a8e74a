"""What every strategy is: frozen settings, and a tactic that works on one answer. One file each beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from entropix.parameters import check_parameters, parameter
from entropix.search.host import Place
from entropix.search.record import AnyBallot, Ballot

if TYPE_CHECKING:
    from entropix.answers import Extractor
    from entropix.search.ballots import Count
    from entropix.search.exploration import Exploration
    from entropix.search.spec import SearchPlan


class Tactic:
    """One strategy at work on one answer. The default does nothing, which is plain decoding."""

    def begin(self, search: Exploration) -> None:
        """The answer begins: open further samples of the prompt."""

    def instead(self, search: Exploration, place: Place) -> bool:
        """Do something else than taking the proposed token; True if so. Only for a host that can rewind."""
        return False

    def before(self, search: Exploration, place: Place) -> None:
        """Open branches beside the token that is said at a place."""

    def after(self, search: Exploration) -> None:
        """All branches have taken their tokens: compare, drop, open at earlier places, draw another wave."""

    def busy(self, branch: Ballot) -> bool:
        """Whether `branch` is being compared, so that no other tactic may act on it."""
        return False

    def certain(self, search: Exploration) -> int | None:
        """How many of the trunk's first tokens this tactic cannot change any more; None for all."""
        return None

    def outstanding(self, search: Exploration) -> int:
        """Ballots it may still open."""
        return 0

    def waits(self, search: Exploration) -> bool:
        """Whether it may still open ballots though every text has ended: that is decided by other answers."""
        return False

    def end(self) -> None:
        """The answer has ended, however."""

    def replaced(self, old: Ballot, new: Ballot) -> None:
        """`new` goes on in the place of `old`."""

    def cut(self, branch: Ballot, at: int) -> None:
        """`branch` has taken back what it said from position `at` on."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Base of all strategies. Subclasses declare their settings with `parameter`, and give a `Tactic`; what several
    have in common is in `trigger.Triggered` and `samples.Sampled`. max_sequences 0: as many as the strategy needs;
    max_tokens 0: no limit."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    part: ClassVar[str] = ""
    """The part it plays that only one strategy of a search can: "compares at once", "decides"; "" for none."""
    opens_ballots: ClassVar[bool] = False
    """Whether its branches are ballots, so that a vote needs no samples of its own."""
    is_vote_of_samples: ClassVar[bool] = False
    """Whether every sample is one ballot, whatever the others are, so that the first few are a smaller vote."""
    greedy_first: ClassVar[bool] = False
    """Whether the first text takes the likeliest tokens, whatever the policy."""
    pooled: ClassVar[bool] = False
    """Whether its texts depend on those of other questions."""

    max_sequences: int = parameter(0, 0, 1024, doc="most branches live at a time; 1 is plain decoding; 0: as needed")
    max_tokens: int = parameter(0, 0, 10**9, doc="most tokens over all branches; 0: no limit")

    def __post_init__(self) -> None:
        check_parameters(self)

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        """What the host must be able to do, names of `host.CAPABILITIES`."""
        return frozenset()

    def reads_leading(self) -> bool:
        """Whether it reads more of a step than the log-probability of its token."""
        return False

    @property
    def reads(self) -> str | Extractor | None:
        """What reads a text's answer, an extractor or its name; None if it counts no answers."""
        return None

    def rule_in_words(self, plan: SearchPlan) -> str | None:
        """How it stops and counts, for a confidence that is calibrated on its shares; None if it has no such shares."""
        del plan
        return None

    def branches(self, plan: SearchPlan) -> int:
        """Branches it needs at a time when max_sequences is 0."""
        return 1

    def samples(self, plan: SearchPlan) -> int:
        """Independent samples of the prompt that it draws."""
        return 1

    def about(self, question: str) -> Self:
        """The same strategy on texts that answer `question`."""
        del question
        return self

    def begin(self, plan: SearchPlan) -> Tactic:
        """What works on one answer."""
        return Tactic()

    def count(self, ended: Sequence[AnyBallot], outstanding: int, running: int) -> Count[AnyBallot] | None:
        """Which text is the answer, of a strategy that decides; None without any text. outstanding: ballots that may
        still be cast; running: those of them that have begun."""
        raise NotImplementedError(f"{self.name} does not decide")
