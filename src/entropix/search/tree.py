"""tree: every fork is one more ballot. Forks at once (EAGer, Entropy-Tree), or at the best places of texts that have
ended, so that a fork can be chosen with the whole text known and costs only what comes after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entropix.decoding import Branch, Decoder, Proposal
from entropix.search import config
from entropix.search.seeds import derived
from entropix.search.tactics import Tactic
from entropix.search.trigger import fires
from entropix.types import Regime, Step

if TYPE_CHECKING:
    from entropix.search.explorer import Exploration

UNSURE = (Regime.BRANCH, Regime.RESAMPLE)


def worth(entropy: float, left: int, late: float) -> float:
    """How much a place promises where the entropy was `entropy` and after which `left` tokens follow."""
    return entropy / math.pow(max(left, 1), late)


class Fork(Tactic):
    """Forks at once: the parent keeps its token, the child takes the next likeliest."""

    def __init__(self, settings: config.Tree, ballots: int) -> None:
        self.settings, self.ballots = settings, ballots
        self.last: dict[int, int] = {}

    def before(self, search: Exploration, decoder: Decoder, proposal: Proposal) -> None:
        branch, settings = proposal.branch, self.settings
        at = len(branch.tokens)
        idle = at - self.last.get(branch.number, branch.origin)
        if search.busy(branch) or idle > settings.patience or len(search.lines) >= self.ballots:
            return
        if not fires(settings, proposal, UNSURE) or search.room(1) < 1:
            return
        for step in proposal.alternatives(1, settings.ratio):
            why = f"{proposal.step.regime.label}, H {proposal.step.entropy:.2f}"
            child = search.fork(decoder, proposal, step, why)
            search.lines.append(child)
            self.last[branch.number] = self.last[child.number] = at

    def certain(self, search: Exploration) -> int | None:
        forks = [line.origin for line in search.lines if line.parent is not None]
        return min(forks, default=None) if len(search.lines) > 1 else None

    def outstanding(self, search: Exploration) -> int:
        return max(self.ballots - len(search.lines), 0)


@dataclass
class Place:
    """Somewhere another token was possible."""

    line: Branch
    at: int
    step: Step
    value: float


class ForkLater(Tactic):
    """Remembers the alternatives and opens the most valuable once every text so far has ended."""

    def __init__(self, settings: config.Tree, ballots: int) -> None:
        self.settings, self.ballots = settings, ballots
        self.places: list[Place] = []

    def before(self, search: Exploration, decoder: Decoder, proposal: Proposal) -> None:
        if search.busy(proposal.branch) or not fires(self.settings, proposal, (*UNSURE, Regime.ADAPT)):
            return
        for step in proposal.alternatives(1, self.settings.ratio):
            at = len(proposal.branch.tokens)
            self.places.append(Place(proposal.branch, at, step, proposal.step.entropy or 0.0))

    def after(self, search: Exploration, decoder: Decoder) -> None:
        if not all(line.finish_reason for line in search.lines) or search.decided():
            return
        room = min(self.settings.rounds, self.ballots - len(search.lines), search.room(self.settings.rounds))
        for place in sorted(self._possible(), key=self._value, reverse=True)[: max(room, 0)]:
            self.places.remove(place)
            why = f"afterwards, H {place.value:.2f}"
            seed = derived(place.line.seed, place.at, place.step.token)
            child = decoder.retrace(place.line, place.at, place.step, why, seed)
            search.lines.append(child)

    def _possible(self) -> list[Place]:
        return [p for p in self.places if not p.line.gone and p.at < len(p.line.tokens)]

    def _value(self, place: Place) -> tuple[float, int, int]:
        left = len(place.line.tokens) - place.at
        return worth(place.value, left, self.settings.late), -place.line.number, -place.at

    def certain(self, search: Exploration) -> int | None:
        return 0

    def outstanding(self, search: Exploration) -> int:
        return max(self.ballots - len(search.lines), 0)
