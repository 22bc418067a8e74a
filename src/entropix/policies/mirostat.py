"""Mirostat: a draw whose surprisal is held near a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from entropix.arrays import namespace, real_dtype
from entropix.parameters import parameter
from entropix.policies.base import Policy, sampled
from entropix.types import Array, Decisions, Signals, State


@dataclass(frozen=True, kw_only=True)
class Mirostat(Policy):
    """Mirostat 2.0 (Basu et al. 2020, arXiv 2007.14966): draw from the tokens whose surprisal −ln p is at most μ.

    μ begins at 2τ, and after every token μ ← μ − η (s − τ), s being the surprisal of the token drawn. All in nats,
    where the paper and llama.cpp have bits: τ of 5 bits is 3.47 here, η is the same number. As in the authors' code s
    is of the model's distribution; llama.cpp takes it after the cut, renormalised, so that the same τ lets more
    through there. p ≥ e^−μ is the same set as p ≥ p_max · e^(−μ − ln p_max), so it is carried out as min-p.
    """

    name: ClassVar[str] = "mirostat"
    summary: ClassVar[str] = "holds the surprisal of its tokens at a target (Basu et al. 2020, version 2)"
    needs: ClassVar[frozenset[str]] = frozenset({"surprisal", "top_logprob"})
    max_candidates: ClassVar[int] = 1

    tau: float = parameter(3.5, 0.0, 20.0, doc="τ, the target: mean surprisal per token, nats")
    eta: float = parameter(0.1, 0.0, 1.0, doc="η, the learning rate: how fast the limit follows")
    temperature: float = parameter(1.0, 0.0, 10.0, doc="of the draw, after the cut; 0 takes the likeliest token")

    def initial(self, rows: int, like: Array) -> State:
        xp = namespace(like)
        return {"mu": xp.full((rows,), 2 * self.tau, dtype=real_dtype(xp, like), device=like.device)}

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        real = real_dtype(xp, signals.entropy)
        surprisal, top = xp.astype(signals.surprisal, real), xp.astype(signals.top_logprob, real)
        # NaN: nothing has been drawn yet
        mu = xp.where(xp.isnan(surprisal), state["mu"], state["mu"] - self.eta * (surprisal - self.tau))
        min_p = xp.exp(xp.clip(-mu - top, None, 0.0) / max(self.temperature, 1e-6))
        return sampled(regime, like=signals.entropy, temperature=self.temperature, min_p=min_p), {"mu": mu}
