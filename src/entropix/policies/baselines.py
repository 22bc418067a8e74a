"""The samplers Entropix is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from entropix.arrays import namespace, real_dtype
from entropix.parameters import parameter
from entropix.policies.base import Policy, sampled
from entropix.types import Array, Decisions, Signals, State


@dataclass(frozen=True, kw_only=True)
class Greedy(Policy):
    """Always the likeliest token."""

    name: ClassVar[str] = "greedy"
    summary: ClassVar[str] = "always the likeliest token"
    max_candidates: ClassVar[int] = 1

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        return sampled(regime, like=signals.entropy, temperature=0.0), state


@dataclass(frozen=True, kw_only=True)
class Sample(Policy):
    """Fixed temperature, top-k, top-p and min-p."""

    name: ClassVar[str] = "sample"
    summary: ClassVar[str] = "fixed temperature, top-k, top-p and min-p"
    max_candidates: ClassVar[int] = 1

    temperature: float = parameter(0.7, 0.0, 10.0, doc="0 takes the likeliest token")
    top_k: int = parameter(0, 0, 1_000_000, doc="0 keeps all")
    top_p: float = parameter(1.0, 0.0, 1.0, doc="nucleus; 1 keeps all")
    min_p: float = parameter(0.0, 0.0, 1.0, doc="floor relative to the likeliest token; 0 keeps all")

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        return (
            sampled(
                regime,
                like=signals.entropy,
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_p=self.min_p,
            ),
            state,
        )


@dataclass(frozen=True, kw_only=True)
class DynaTemp(Policy):
    """Dynamic temperature of KoboldCpp and llama.cpp: low + (high − low) · (H / ln vocabulary)^exponent.

    The entropy is of the whole vocabulary's distribution, so that the result does not depend on the filters."""

    name: ClassVar[str] = "dynatemp"
    summary: ClassVar[str] = "temperature between two limits, the higher the more unsure the model is"
    max_candidates: ClassVar[int] = 1

    vocabulary: int
    low: float = parameter(0.0, 0.0, 10.0, doc="temperature where the model is sure")
    high: float = parameter(1.5, 0.0, 10.0, doc="temperature at a uniform distribution")
    exponent: float = parameter(1.0, 0.01, 10.0, doc="bends the way between the two")
    top_k: int = parameter(0, 0, 1_000_000, doc="0 keeps all")
    top_p: float = parameter(1.0, 0.0, 1.0, doc="nucleus; 1 keeps all")
    min_p: float = parameter(0.05, 0.0, 1.0, doc="floor relative to the likeliest token; 0 keeps all")

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        h = xp.astype(signals.entropy, real_dtype(xp, signals.entropy))
        share = xp.clip(h / math.log(max(self.vocabulary, 2)), 0.0, 1.0)
        temperature = self.low + (self.high - self.low) * share**self.exponent
        return (
            sampled(
                regime,
                like=signals.entropy,
                temperature=temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_p=self.min_p,
            ),
            state,
        )


@dataclass(frozen=True, kw_only=True)
class Edt(Policy):
    """Entropy-based dynamic temperature (Zhang et al. 2024, arXiv 2403.14541): T = T₀ · 0.8^(θ / H)."""

    name: ClassVar[str] = "edt"
    summary: ClassVar[str] = "temperature that falls as the model gets surer (Zhang et al. 2024)"
    max_candidates: ClassVar[int] = 1

    temperature: float = parameter(0.8, 0.0, 10.0, doc="T₀, the temperature at high entropy")
    theta: float = parameter(0.1, 0.0, 10.0, doc="θ, nats: how much entropy the temperature needs")
    top_p: float = parameter(0.95, 0.0, 1.0, doc="nucleus; 1 keeps all")

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        h = xp.astype(signals.entropy, real_dtype(xp, signals.entropy))
        temperature = self.temperature * 0.8 ** (self.theta / xp.clip(h, 1e-6, None))
        return sampled(regime, like=signals.entropy, temperature=temperature, top_p=self.top_p), state


@dataclass(frozen=True, kw_only=True)
class TopNSigma(Policy):
    """Keep logits within n standard deviations of the largest (Tang et al. 2024, arXiv 2411.07641).

    logit ≥ max − n·σ is the same set as p ≥ p_max · exp(−n·σ / T) at temperature T, so it is carried out as min-p."""

    name: ClassVar[str] = "top-n-sigma"
    summary: ClassVar[str] = "tokens with logits within n standard deviations of the largest (Tang et al. 2024)"
    needs: ClassVar[frozenset[str]] = frozenset({"logit_std"})
    max_candidates: ClassVar[int] = 1

    n: float = parameter(1.0, 0.0, 10.0, doc="how many standard deviations of the logits")
    temperature: float = parameter(1.0, 0.0, 10.0, doc="0 takes the likeliest token")

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        std = xp.astype(signals.logit_std, real_dtype(xp, signals.entropy))
        min_p = xp.exp(-self.n * std / max(self.temperature, 1e-6))
        return sampled(regime, like=signals.entropy, temperature=self.temperature, min_p=min_p), state
