"""Which tokens were forwarded, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Why a token is forwarded."""

    PROMPT = "prompt"
    SAMPLED = "sampled"
    INJECTED = "injected"


@dataclass(slots=True)
class Ledger:
    """Every token that cost a forward, so that no comparison hides its cost.

    forwarded = prompt + sampled + injected + abandoned + looked_ahead + recomputed + asked, counting only what was
    computed; asked are those of prompts that asked the model about its answer afterwards; recomputed tokens had to
    make room for another sequence once; shared counts prompt tokens that a kept prefix saved. forwards are batched
    model calls this request took part in; peak_cells is the most KV-cache tokens it held.
    """

    prompt: int = 0
    shared: int = 0
    sampled: int = 0
    injected: int = 0
    abandoned: int = 0
    looked_ahead: int = 0
    recomputed: int = 0
    forwards: int = 0
    peak_cells: int = 0
    asked: int = 0

    @property
    def forwarded(self) -> int:
        spent = self.prompt + self.sampled + self.injected
        return spent + self.abandoned + self.looked_ahead + self.recomputed + self.asked

    def forward(self, kind: Kind, fresh: int, again: int) -> None:
        """Enter a forward of `fresh` tokens that had never been computed and `again` that had."""
        if kind is Kind.PROMPT:
            self.prompt += fresh
        elif kind is Kind.SAMPLED:
            self.sampled += fresh
        else:
            self.injected += fresh
        self.recomputed += again
        self.forwards += 1

    def abandon(self, sampled: int, injected: int) -> None:
        """Move tokens of the answer to those that are not in it any more."""
        self.sampled -= sampled
        self.injected -= injected
        self.abandoned += sampled + injected

    def look_ahead(self, sampled: int, injected: int) -> None:
        """Move tokens of the answer to those that were only looked ahead."""
        self.sampled -= sampled
        self.injected -= injected
        self.looked_ahead += sampled + injected
