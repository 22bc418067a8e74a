"""Scripted engines that are slow, or fail."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from entropix.engines.base import Work
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.types import Observation


class Slow(ScriptedEngine):
    """Takes `pause` seconds a forward and remembers how many rows each had."""

    def __init__(self, pause: float = 0.005, **options: Any) -> None:
        super().__init__(hashed(3.0), **{"sequences": 24, **options})
        self.pause = pause
        self.rows: list[int] = []

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        time.sleep(self.pause)
        self.rows.append(len(work))
        return super().forward(work, attention=attention)


class Fragile(ScriptedEngine):
    """Fails whenever a sequence holds `poison`; for the next `stumbles` forwards; and while `dead`."""

    def __init__(self, poison: bytes = b"POISON", **options: Any) -> None:
        super().__init__(hashed(3.0), **{"sequences": 24, **options})
        self.poison = poison
        self.stumbles = 0
        self.dead = False
        self.failures = 0

    def forward(self, work: Sequence[Work], *, attention: bool = False) -> Observation:
        bad = any(self.poison in bytes(t % 256 for t in (*s.tokens, *new)) for s, new in work)
        self.stumbles -= 1
        if bad or self.dead or self.stumbles >= 0:
            self.failures += 1
            raise RuntimeError("the forward of this test fails")
        return super().forward(work, attention=attention)
