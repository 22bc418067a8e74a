"""Rotary positions for longer texts than a model was trained on, as llama.cpp has them.

Linear scaling: Chen et al. 2023, arXiv 2306.15595. YaRN: Peng et al. 2023, arXiv 2309.00071."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from entropix.errors import CapabilityError, ParameterError

TYPES = {"none": 0, "linear": 1, "yarn": 2}
"""By llama.cpp's numbers (llama_rope_scaling_type)."""
MOST = 1024.0
NO_ROPE = -1  # LLAMA_ROPE_TYPE_NONE


@dataclass(frozen=True, slots=True)
class Rope:
    """kind: "" for what the model says of itself. factor: how many times longer the context becomes. base: of the
    frequencies, None for the model's own."""

    kind: str = ""
    factor: float = 1.0
    base: float | None = None

    def apply(self, settings: Any) -> None:
        """settings: llama_context_params."""
        if self.kind:
            settings.rope_scaling_type = TYPES[self.kind]
            settings.rope_freq_scale = 1 / self.factor
        if self.base is not None:
            settings.rope_freq_base = self.base

    def check(self, llama: Any, model: Any) -> None:
        """Raises CapabilityError for a model whose positions are not rotary."""
        kind = llama.llama_model_rope_type
        if (self.kind or self.base is not None) and kind is not None and kind(model) == NO_ROPE:
            raise CapabilityError("rope_scaling and rope_freq_base: this model has no rotary positions; leave them out")


def parse_rope(scaling: str | None, base: float | None) -> Rope:
    """From "none", "linear:2", "yarn:4" and a base frequency. Raises ParameterError."""
    allowed = f"allowed are none, linear:FACTOR and yarn:FACTOR with a factor from 1 to {MOST:g}, such as yarn:4"
    kind, factor = "", 1.0
    if scaling is not None:
        kind, colon, number = str(scaling).partition(":")
        if kind not in TYPES or bool(colon) == (kind == "none"):
            raise ParameterError(f"rope_scaling is {scaling!r}; {allowed}")
        try:
            factor = float(number) if colon else 1.0
        except ValueError:
            factor = math.nan
        if not 1 <= factor <= MOST:
            raise ParameterError(f"rope_scaling is {scaling!r}; {allowed}")
    if base is not None:
        right = isinstance(base, (int, float)) and not isinstance(base, bool) and math.isfinite(base) and base > 0
        if not right:
            raise ParameterError(f"rope_freq_base is {base!r}; allowed is a number above 0, such as 1000000")
        base = float(base)
    return Rope(kind, factor, base)
