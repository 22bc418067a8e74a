"""backtrack: take the last choice back where the model has lost its way, ban it, choose again.

Sources: Entropix's resample state; entropy-gated branching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entropix.decoding import Branch, Decoder, Proposal
from entropix.search import config
from entropix.search.tactics import Tactic
from entropix.search.trigger import fires
from entropix.types import Action, Regime

if TYPE_CHECKING:
    from entropix.search.explorer import Exploration


class GoBack(Tactic):
    """Never loops: `retries` a place, `rewinds` an answer, and never behind what is certain."""

    def __init__(self, settings: config.Backtrack) -> None:
        self.settings = settings
        self.used = 0
        self.behind: dict[int, int] = {}
        """By branch: the answer position before which nothing is taken back."""

    def instead(self, search: Exploration, decoder: Decoder, proposal: Proposal) -> bool:
        branch, settings = proposal.branch, self.settings
        least = max(len(branch.tokens) - settings.reach, self.behind.get(branch.number, branch.origin), 0)
        self.behind[branch.number] = least
        if search.busy(branch) or self.used >= settings.rewinds or search.affordable(2) < 2 or not self._lost(proposal):
            return False
        at = self._choice(branch, least)
        if at is None:
            return False
        self.used += 1
        decoder.rewind(branch, at)
        return True

    def _lost(self, proposal: Proposal) -> bool:
        settings = self.settings
        if settings.trigger == "entropy" and settings.window > 1 and proposal.step.entropy is not None:
            last = [s.entropy for s in proposal.branch.steps[1 - settings.window :] if s.entropy is not None]
            window = [*last, proposal.step.entropy]
            return len(window) == settings.window and sum(window) / len(window) > settings.threshold
        return fires(settings, proposal, (Regime.RESAMPLE,))

    def _choice(self, branch: Branch, least: int) -> int | None:
        """The last place from `least` on where the model was not sure and may still choose differently."""
        for at in range(len(branch.steps) - 1, least - 1, -1):
            step = branch.steps[at]
            if step.action == Action.INJECT:
                return None
            if step.regime != Regime.FLOW and len(branch.banned.get(at, ())) < self.settings.retries:
                return at
        return None

    def certain(self, search: Exploration) -> int | None:
        if self.used >= self.settings.rewinds:
            return None
        trunk = search.trunk
        return max(len(trunk.tokens) - self.settings.reach, self.behind.get(trunk.number, 0), 0)

    def replaced(self, old: Branch, new: Branch) -> None:
        self.behind[new.number] = self.behind.get(old.number, 0)
