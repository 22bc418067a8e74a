"""The Entropix policy: five regimes, and sampling parameters recomputed every step from the signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from entropix.arrays import namespace, real_dtype
from entropix.parameters import parameter
from entropix.policies.base import Policy, sampled
from entropix.types import ATTENTION, Action, Array, Decisions, Regime, Signals, State

# every parameter a step can reach, whatever the signals are: columns as in PARAMETERS
LOWEST = np.array([0.0, 0.1, 1.0, 0.0])
HIGHEST = np.array([1.5, 1.0, 200.0, 0.5])
PARAMETERS = ("temperature", "top_p", "top_k", "min_p")
FEATURES = ("one", "uncertainty", *ATTENTION)


@dataclass(frozen=True, kw_only=True)
class Entropix(Policy):
    """Sure: take the likeliest. Unsure: sample to fit, draw several and keep the best, or inject a thought.

    Signals enter normalised by the model's profile, so that coefficients mean the same on every model:
    uncertainty u = ½ (H / H_high + V / V_high), 0 … 2; attention terms as (x − median) / (2 spread), −1 … 1, and
    0 where the engine shows no attention. Each parameter is base · (1 + coefficients · features), clamped to
    temperature 0 … 1.5, top-p 0.1 … 1, top-k 1 … 200, min-p 0 … 0.5. Source: this project, docs/method.md, after
    the first public Entropix sampler.
    """

    name: ClassVar[str] = "entropix"
    summary: ClassVar[str] = "five regimes from entropy and varentropy; parameters follow the signals"
    wants: ClassVar[frozenset[str]] = frozenset({"attention"})

    temperature: float = parameter(0.666, 0.0, 1.5, doc="base temperature")
    top_p: float = parameter(0.90, 0.1, 1.0, doc="base nucleus")
    top_k: int = parameter(27, 1, 200, doc="base number of candidates to sample from")
    min_p: float = parameter(0.03, 0.0, 0.5, doc="base floor relative to the likeliest token")
    temperature_logits: float = parameter(0.3, -2, 2, doc="temperature: + this × uncertainty")
    temperature_attention: float = parameter(0.2, -2, 2, doc="temperature: + this × attention uncertainty")
    temperature_agreement: float = parameter(0.2, -2, 2, doc="temperature: − this × head agreement")
    top_p_attention: float = parameter(0.1, -2, 2, doc="adapt: top-p + this × attention varentropy")
    top_p_resample: float = parameter(0.2, -2, 2, doc="resample: top-p − this × attention entropy")
    top_k_interaction: float = parameter(0.3, -2, 2, doc="top-k: + this × interaction strength")
    top_k_agreement: float = parameter(0.2, -2, 2, doc="top-k: − this × head agreement")
    min_p_logits: float = parameter(0.5, -2, 2, doc="min-p: − this × uncertainty")
    clarify_heat: float = parameter(1.1, 0.1, 2, doc="clarify without injection: temperature × this")
    branch_width: float = parameter(1.5, 0.1, 4, doc="branch: top-k × this; disagreement counts as much again")
    resample_heat: float = parameter(1.2, 0.1, 2, doc="resample: temperature × this")
    resample_nucleus: float = parameter(0.7, 0.1, 1, doc="resample: top-p × this")
    candidates: int = parameter(3, 1, 16, doc="adapt: distinct candidates drawn, the likeliest kept")
    inject: str = parameter("...", doc="clarify: text to inject; empty never injects")
    inject_cooldown: int = parameter(32, 1, 100_000, doc="clarify: tokens between two injections")
    inject_max: int = parameter(3, 0, 1000, doc="clarify: most injections per answer")

    @property
    def max_candidates(self) -> int:
        return self.candidates

    @property
    def injection(self) -> str:
        return self.inject if self.inject_max > 0 else ""

    def initial(self, rows: int, like: Array) -> State:
        xp = namespace(like)
        return {
            "wait": xp.zeros((rows,), dtype=xp.int64, device=like.device),
            "left": xp.full((rows,), self.inject_max, dtype=xp.int64, device=like.device),
        }

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        constants = self.constants(xp, signals.entropy)
        values = constants["base"][regime]  # (rows, parameters)
        values = values + self.uncertainty(signals)[:, None] * constants["by_uncertainty"][regime]
        if signals.attention is not None and self.thresholds.attention:
            # (rows, 1, attention signals) @ (rows, attention signals, parameters)
            values = values + (self.attention_terms(signals) @ constants["by_attention"][regime])[:, 0, :]
        values = xp.minimum(xp.maximum(values, constants["lowest"]), constants["highest"])
        inject, state = self._inject(regime, state)
        decisions = sampled(
            regime,
            like=signals.entropy,
            temperature=values[:, 0],
            top_p=values[:, 1],
            top_k=xp.astype(xp.round(values[:, 2]), xp.int64),
            min_p=values[:, 3],
            candidates=constants["candidates"][regime],
            action=inject,
        )
        return decisions, state

    def _inject(self, regime: Array, state: State) -> tuple[Array | int, State]:
        """Action.INJECT for the rows that get the text now, and the state after it."""
        if not self.injection:
            return int(Action.SAMPLE), state
        xp = namespace(regime)
        wait, left = state["wait"], state["left"]
        if xp is np and int(Regime.CLARIFY) not in regime.tolist():  # the usual case, in a third of the operations
            return int(Action.SAMPLE), {"wait": wait - 1, "left": left}
        now = (regime == int(Regime.CLARIFY)) & (wait <= 0) & (left > 0)
        after = {"wait": xp.where(now, self.inject_cooldown, wait - 1), "left": left - xp.astype(now, xp.int64)}
        return xp.astype(now, xp.int64), after  # INJECT is 1

    def uncertainty(self, signals: Signals) -> Array:
        """u = ½ (H / H_high + V / V_high), at most 2; `(rows,)`."""
        t = self.thresholds
        xp = namespace(signals.entropy)
        real = real_dtype(xp, signals.entropy)
        h, v = xp.astype(signals.entropy, real), xp.astype(signals.varentropy, real)
        return xp.clip(h * (0.5 / t.entropy_high) + v * (0.5 / t.varentropy_high), None, 2.0)

    def attention_terms(self, signals: Signals) -> Array:
        """Normalised attention signals, −1 … 1, `(rows, 1, 4)`; one that the profile does not know is 0."""
        assert signals.attention is not None
        xp = namespace(signals.entropy)
        constants = self.constants(xp, signals.entropy)
        columns = [getattr(signals.attention, name) for name in ATTENTION]
        terms = xp.astype(xp.stack(columns, axis=-1), real_dtype(xp, signals.entropy))
        return xp.clip((terms - constants["median"]) * constants["scale"], -1.0, 1.0)[:, None, :]

    def tables(self) -> dict[str, np.ndarray[Any, Any]]:
        """The whole policy: one table [regime, feature, parameter], cut by kind of feature."""
        table = np.zeros((len(Regime), len(FEATURES), len(PARAMETERS)))
        temperature, top_p, top_k, min_p = range(len(PARAMETERS))
        one, u, attention_entropy, attention_varentropy, agreement, interaction = range(len(FEATURES))
        # every regime samples like this; what differs follows
        table[:, one] = self.temperature, self.top_p, self.top_k, self.min_p
        table[:, u, temperature] = self.temperature * self.temperature_logits
        table[:, attention_entropy, temperature] = self.temperature * self.temperature_attention / 2
        table[:, attention_varentropy, temperature] = self.temperature * self.temperature_attention / 2
        table[:, agreement, temperature] = -self.temperature * self.temperature_agreement
        table[:, interaction, top_k] = self.top_k * self.top_k_interaction
        table[:, agreement, top_k] = -self.top_k * self.top_k_agreement
        table[:, u, min_p] = -self.min_p * self.min_p_logits
        table[Regime.FLOW, :, temperature] = 0.0
        table[Regime.ADAPT, attention_varentropy, top_p] = self.top_p * self.top_p_attention
        table[Regime.CLARIFY, :, temperature] *= self.clarify_heat
        table[Regime.BRANCH, :, top_k] *= self.branch_width
        table[Regime.BRANCH, agreement, top_k] *= 2
        table[Regime.RESAMPLE, :, temperature] *= self.resample_heat
        table[Regime.RESAMPLE, attention_entropy, top_p] = -self.top_p * self.top_p_resample
        table[Regime.RESAMPLE, :, top_p] *= self.resample_nucleus
        candidates = np.ones(len(Regime), np.int64)
        candidates[Regime.ADAPT] = self.candidates
        stats = [self.thresholds.attention.get(name, (0.0, 0.0)) for name in ATTENTION]
        return {
            **super().tables(),
            "base": table[:, one],
            "by_uncertainty": table[:, u],
            "by_attention": table[:, attention_entropy:],
            "lowest": LOWEST,
            "highest": HIGHEST,
            "candidates": candidates,
            "median": np.array([median for median, _ in stats]),
            # a spread of 0 means the profile does not know this signal: it stays neutral
            "scale": np.array([1 / (2 * spread) if spread > 0 else 0.0 for _, spread in stats]),
        }
