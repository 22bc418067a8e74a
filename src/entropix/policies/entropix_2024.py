"""The first public Entropix sampler, kept for comparison: its thresholds and formulas, its defects repaired."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from entropix.arrays import namespace, real_dtype
from entropix.parameters import parameter
from entropix.policies.base import Policy, sampled
from entropix.types import Action, Array, AttentionSignals, Decisions, Regime, Signals, State

BITS = 1 / math.log(2)


@dataclass(frozen=True, kw_only=True)
class Entropix2024(Policy):
    """The static thresholds and adjustments of xjdr-alt/entropix (October 2024), in its own units.

    Entropy in bits, varentropy in bits². docs/policies.md lists every difference from the original.
    """

    name: ClassVar[str] = "entropix-2024"
    summary: ClassVar[str] = "the first public sampler's thresholds (bits) and formulas, defects repaired"
    wants: ClassVar[frozenset[str]] = frozenset({"attention"})

    temperature: float = parameter(0.666, 0.01, 1.5, doc="base temperature")
    top_p: float = parameter(0.90, 0.1, 1.0, doc="base nucleus")
    top_k: int = parameter(27, 1, 100, doc="base number of candidates to sample from")
    min_p: float = parameter(0.03, 0.0, 0.5, doc="base floor relative to the likeliest token")
    low_entropy: float = parameter(0.1, 0, 100, doc="bits; flow below")
    high_entropy: float = parameter(5.0, 0, 100, doc="bits; clarify and resample above")
    low_varentropy: float = parameter(0.1, 0, 1000, doc="bits²; flow and clarify below")
    high_varentropy: float = parameter(5.0, 0, 1000, doc="bits²; branch and resample above")
    candidates: int = parameter(5, 1, 16, doc="adapt: distinct candidates drawn, the likeliest kept")
    inject: str = parameter("...", doc="clarify: text to inject, not twice in a row; empty never injects")

    @property
    def max_candidates(self) -> int:
        return self.candidates

    @property
    def injection(self) -> str:
        return self.inject

    def initial(self, rows: int, like: Array) -> State:
        xp = namespace(like)
        return {"injected": xp.zeros((rows,), dtype=xp.int64, device=like.device)}

    def regimes(self, signals: Signals) -> Array:
        xp = namespace(signals.entropy)
        h, v = signals.entropy * BITS, signals.varentropy * BITS * BITS
        table = self.constants(xp, signals.entropy)["regimes"]
        row = xp.astype(h >= self.low_entropy, xp.int64) + (h > self.high_entropy)
        column = xp.astype(v >= self.low_varentropy, xp.int64) + (v > self.high_varentropy)
        return table[3 * row + column]

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        real = real_dtype(xp, signals.entropy)
        h = xp.astype(signals.entropy, real) * BITS
        v = xp.astype(signals.varentropy, real) * BITS * BITS
        zero = xp.zeros_like(h)
        a = signals.attention or AttentionSignals(zero, zero, zero, zero)
        entropy, varentropy = xp.astype(a.entropy, real), xp.astype(a.varentropy, real)
        agreement, interaction = xp.astype(a.agreement, real), xp.astype(a.interaction, real)
        clarify, branch = regime == int(Regime.CLARIFY), regime == int(Regime.BRANCH)
        resample, flow = regime == int(Regime.RESAMPLE), regime == int(Regime.FLOW)

        factor = 1 + 0.3 * (h + v) + 0.2 * (entropy + varentropy) - 0.2 * agreement
        factor = xp.where(clarify, 1.3 + 0.2 * entropy, factor)
        factor = xp.where(branch, 1.2 + 0.3 * interaction, factor)
        factor = xp.where(resample, 2.0 + 0.5 * varentropy, factor)
        temperature = xp.clip(self.temperature * factor, 0.0, 1.5)
        top_p = xp.clip(self.top_p * (1 + 0.1 * varentropy), 0.1, 1.0)
        top_p = xp.where(clarify | branch, zero + self.top_p, top_p)
        top_p = xp.where(resample, xp.clip(self.top_p - 0.2 * entropy, 0.5, 1.0), top_p)
        top_k = xp.clip(xp.round(self.top_k * (1 + 0.3 * interaction - 0.2 * agreement)), 1.0, 100.0)
        top_k = xp.where(branch, xp.clip(xp.floor(self.top_k * (1 + 0.5 * (1 - agreement))), 5.0, None), top_k)
        top_k = xp.where(clarify | resample, zero + self.top_k, top_k)
        min_p = xp.clip(self.min_p * (1 - 0.5 * (h + v)), min(0.01, self.min_p), 0.5)
        min_p = xp.where(clarify | branch | resample, zero + self.min_p, min_p)
        one = xp.ones_like(regime)
        inject = clarify & (state["injected"] == 0)
        if not self.inject:
            inject = inject & False
        inject = xp.astype(inject, xp.int64)
        decisions = sampled(
            regime,
            like=signals.entropy,
            temperature=xp.where(flow, zero, temperature),
            top_p=top_p,
            top_k=xp.astype(top_k, xp.int64),
            min_p=min_p,
            candidates=xp.where(regime == int(Regime.ADAPT), one * self.candidates, one),
            action=inject * int(Action.INJECT),
        )
        return decisions, {"injected": inject}
