"""Where a search acts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from entropix.parameters import parameter
from entropix.search.host import Place
from entropix.search.seeds import derived
from entropix.search.strategy import Strategy
from entropix.types import Regime

TRIGGERS = ("regime", "entropy", "varentropy", "quantile", "low", "random")

WARM_UP = 16
"""Tokens of a text before its own quantile means anything."""

RANDOM = -1
"""Sets the draws of the random trigger apart from the seeds of branches, whose places are token ids."""


@dataclass(frozen=True, kw_only=True)
class Triggered(Strategy):
    """A strategy that acts where the model is unsure."""

    trigger: str = parameter("regime", allowed=TRIGGERS, doc="what says that the model is unsure")
    threshold: float = parameter(
        2.0, 0, 100, doc="nats (entropy, the least for quantile, the most for low) or nats² (varentropy)"
    )
    rate: float = parameter(0.05, 0, 1, doc="share of the tokens, for trigger random")
    quantile: float = parameter(0.95, 0.5, 1, doc="of this text's own entropies so far, for trigger quantile")
    ratio: float = parameter(0.05, 0, 1, doc="an alternative is at least this many times as likely as the likeliest")

    def reads_leading(self) -> bool:
        return True


def fires(settings: Triggered, place: Place, regimes: Collection[Regime]) -> bool:
    """Whether the model is unsure enough at a place. The running quantile is of the text's own path, so that it does
    not depend on what else is in the batch."""
    step = place.step
    if place.injects or step.entropy is None or step.varentropy is None:
        return False
    if settings.trigger == "regime":
        return step.regime in regimes
    if settings.trigger == "entropy":
        return step.entropy > settings.threshold
    if settings.trigger == "low":  # the two controls: the same actions where the model is sure, or anywhere
        return step.entropy < settings.threshold
    if settings.trigger == "random":
        return derived(place.branch.seed, place.at, RANDOM) < settings.rate * 2**62
    if settings.trigger == "varentropy":
        return step.varentropy > settings.threshold
    own = sorted(s.entropy for s in place.branch.steps[: place.at] if s.entropy is not None)
    if len(own) < WARM_UP:
        return step.entropy > settings.threshold
    return step.entropy > max(settings.threshold, own[min(int(settings.quantile * len(own)), len(own) - 1)])
