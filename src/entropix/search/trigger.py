"""Where a search acts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from entropix.decoding import Proposal
from entropix.search.config import Triggered
from entropix.search.seeds import derived
from entropix.types import Regime, Step

WARM_UP = 16
"""Tokens of a text before its own quantile means anything."""

RANDOM = -1
"""Sets the draws of the random trigger apart from the seeds of branches, whose places are token ids."""


def fires(settings: Triggered, proposal: Proposal, regimes: Collection[Regime]) -> bool:
    """Whether the model is unsure enough where `proposal` is made."""
    branch = proposal.branch
    return not proposal.injects and unsure(settings, proposal.step, branch.steps, branch.seed, regimes)


def unsure(settings: Triggered, step: Step, earlier: Sequence[Step], seed: int, regimes: Collection[Regime]) -> bool:
    """Whether the model is unsure enough at `step`, which comes after the steps `earlier` of a text with `seed`. The
    running quantile is of the text's own path, so that it does not depend on what else is in the batch."""
    if step.entropy is None or step.varentropy is None:
        return False
    if settings.trigger == "regime":
        return step.regime in regimes
    if settings.trigger == "entropy":
        return step.entropy > settings.threshold
    if settings.trigger == "low":  # the two controls: the same actions where the model is sure, or anywhere
        return step.entropy < settings.threshold
    if settings.trigger == "random":
        return derived(seed, len(earlier), RANDOM) < settings.rate * 2**62
    if settings.trigger == "varentropy":
        return step.varentropy > settings.threshold
    own = sorted(s.entropy for s in earlier if s.entropy is not None)
    if len(own) < WARM_UP:
        return step.entropy > settings.threshold
    return step.entropy > max(settings.threshold, own[min(int(settings.quantile * len(own)), len(own) - 1)])
