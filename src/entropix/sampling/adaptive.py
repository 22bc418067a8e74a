"""adaptive-p: of what every other filter has left, tokens are drawn the likelier the nearer their probability is to a
target, and the target moves so that the mean over the text holds.

As llama.cpp has it (ggml-org/llama.cpp#17927), where it is the last of the samplers and draws itself. Here it comes
before the draw, so that the draw stays the keyed one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from entropix.arrays import namespace
from entropix.types import Array

WIDTH = 0.3
"""How far from the target a probability is one unit away."""
SHARPNESS = 10.0
"""How fast a token falls with that distance: by its square near the target, linearly far from it."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What each row aims at, `(rows,)`; NaN in rows without adaptive-p. mean: of the probabilities that the row's draws
    had, decaying by `decay` with every token; the target before the first."""

    target: Array
    decay: Array
    mean: Array

    @property
    def rows(self) -> Array:
        """Which rows have adaptive-p."""
        return ~namespace(self.mean).isnan(self.mean)

    def after(self, probabilities: Array) -> Array:
        """The mean after draws that had these probabilities, `(rows,)`."""
        return self.decay * self.mean + (1 - self.decay) * probabilities


def aimed(filtered: Array, aim: Aim) -> Array:
    """Log-probabilities that adaptive-p draws from, `(rows, k)`; rows without it stay as they are.

    filtered: `(rows, k)`, log-probabilities after every other filter, −∞ for what they have taken out."""
    xp = namespace(filtered)
    goal = xp.clip(2 * aim.target - aim.mean, 0.0, 1.0)
    far = xp.abs(xp.exp(filtered) - goal[:, None]) / WIDTH
    z = xp.where(filtered > -math.inf, -SHARPNESS * far * far / (1 + far), -math.inf)
    z = z - xp.max(z, axis=-1, keepdims=True)
    z = z - xp.log(xp.sum(xp.exp(z), axis=-1, keepdims=True))
    return xp.where(aim.rows[:, None], z, filtered)
