"""What an estimator of uncertainty is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import ClassVar

from entropix.uncertainty.readings import Observed


class Needs(Enum):
    """What an estimator has to be given; the value is what that costs beside the answer itself."""

    TEXT = "nothing: read off the answer's own steps"
    TEXTS = "further texts to the same question"
    FORWARD = "one further forward of a short prompt, no token decoded"


class Estimator(ABC):
    """How unsure an answer is; higher is less sure. It has no state, so one object serves all answers."""

    name: ClassVar[str]
    """By which it is asked for; that of the entry point."""
    summary: ClassVar[str]
    """One line: the formula, in words."""
    needs: ClassVar[Needs]
    unit: ClassVar[str]
    """nats, share or tokens."""
    peer: ClassVar[str] = ""
    """What lm-polygraph calls the same number; "" where it has none."""

    @abstractmethod
    def estimate(self, seen: Observed) -> float | None:
        """The uncertainty, None where something that it needs is not known."""

    @property
    def cost(self) -> str:
        """What it costs beside the answer itself, in words."""
        return self.needs.value
