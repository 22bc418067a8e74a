"""When a vote has heard enough: rules on the two largest counts, decided where a wave of ballots ends.

Sources: `beta` is Adaptive-Consistency (arXiv 2305.11860, its Beta criterion) in closed form; `lead` is a race to a
lead, `overtake` a count that cannot change any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Protocol, runtime_checkable

from entropix.errors import ParameterError
from entropix.search.tally import CUT_OFF, tally

RULES = "none, overtake, beta:θ with 0.5 < θ < 1, lead:L with an integer L from 1 to 1024"
EXACT = 2048
"""Ballots up to which `beta` is decided with integers; beyond them, and for weights, by a continued fraction."""


@dataclass(frozen=True)
class Standing:
    """How a vote stands. first ≥ second: the two largest counts, of ballots that vote; 0 where there is no such answer.

    outstanding: ballots that may still be cast. heaviest: the most that each of those may weigh. open: nothing that has
    been cast votes if one more text ends by itself, so nothing is decided. unit: the weight of one ballot, which makes
    weights counts: Σw²/Σw, so that the counts add up to the effective number of ballots, (Σw)²/Σw² (Kish)."""

    first: float
    second: float
    outstanding: int
    heaviest: float = 1.0
    open: bool = False
    unit: float = 1.0

    @property
    def lead(self) -> float:
        """How far the winner is ahead, in ballots."""
        return (self.first - self.second) / self.unit


def standing(
    answers: Sequence[str | None],
    ends: Sequence[str],
    outstanding: int,
    weights: Sequence[float] | None = None,
    heaviest: float = math.inf,
) -> Standing:
    """How a vote stands after these ballots, one entry each, in order of casting. ends: how each text ended; answers:
    None for none. weights: at least 0; None for one each, otherwise heaviest bounds those still to come."""
    if weights is None:
        weights, heaviest = [1.0] * len(answers), 1.0
    sums = [*tally(answers, weights, ends).values(), 0.0, 0.0]
    total, squares = math.fsum(weights), math.fsum(w * w for w in weights)
    cut_off = all(end in CUT_OFF for end in ends)
    return Standing(
        sums[0], sums[1], outstanding, heaviest, cut_off and outstanding > 0, squares / total if total else 1.0
    )


@runtime_checkable
class StopRule(Protocol):
    """Whether a vote may end."""

    @property
    def spec(self) -> str:
        """The text that names the rule."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the answer cannot change any more once it stops, so that it may stop in the middle of a wave."""
        ...

    def stops(self, now: Standing) -> bool:
        """Whether no more ballots are drawn. Always so when none is outstanding."""
        ...

    def soonest(self, now: Standing) -> int:
        """How many further ballots it takes at least until it stops, at most those outstanding."""
        ...


@dataclass(frozen=True)
class Whole:
    """Casts every ballot."""

    spec: str = "none"
    exact = True

    def soonest(self, now: Standing) -> int:
        return now.outstanding

    def stops(self, now: Standing) -> bool:
        return not now.outstanding


@dataclass(frozen=True)
class Overtake:
    """Stops when the winner cannot be overtaken any more, first − second > what may still come: the same answer as all
    ballots give, whatever they say."""

    spec: str = "overtake"
    exact = True

    def soonest(self, now: Standing) -> int:
        """All: a ballot that turns out not to be needed is ended when it is."""
        return now.outstanding

    def stops(self, now: Standing) -> bool:
        if now.open or not now.outstanding:
            return not now.outstanding
        return now.first - now.second > now.outstanding * now.heaviest


class AtWaveEnds:
    """What rules on the counts so far have in common. `enough`: whether these decide, while ballots may still come."""

    exact = False

    def enough(self, now: Standing) -> bool:
        raise NotImplementedError

    def stops(self, now: Standing) -> bool:
        return self.enough(now) if now.outstanding and not now.open else not now.outstanding

    def soonest(self, now: Standing) -> int:
        """The fewest further ballots for the leader that make the rule stop."""
        for more in range(1, now.outstanding):
            then = replace(now, first=now.first + more * now.unit, outstanding=now.outstanding - more, open=False)
            if self.stops(then):
                return more
        return now.outstanding


@dataclass(frozen=True)
class Beta(AtWaveEnds):
    """Stops when the winner is more frequent than the next with probability `theta`, given their two counts and a
    uniform prior. Exact: 0.9375 of 3 : 0 is not below a theta of 0.9375."""

    theta: Fraction
    spec: str = field(default="", compare=False)

    def enough(self, now: Standing) -> bool:
        first, second = now.first / now.unit, now.second / now.unit
        if now.unit == 1 and first.is_integer() and second.is_integer() and first + second <= EXACT:
            return exact_ahead(int(first), int(second)) >= self.theta
        return ahead(first, second) >= self.theta


@dataclass(frozen=True)
class Lead(AtWaveEnds):
    """Stops when the winner leads by so many ballots."""

    ballots: int
    spec: str = field(default="", compare=False)

    def enough(self, now: Standing) -> bool:
        return now.lead >= self.ballots


def parse_stop(text: str) -> StopRule:
    """The rule that a text names: "overtake", "beta:0.95", "lead:3", "none". Raises ParameterError."""
    name, colon, value = text.strip().partition(":")
    if name in ("none", "overtake"):
        if colon:
            raise ParameterError(f"stop={text!r}: {name} takes no number; known are {RULES}")
        return Whole() if name == "none" else Overtake()
    if name == "beta":
        theta = _fraction(value)
        if theta is None or not Fraction(1, 2) < theta < 1:
            raise ParameterError(f"stop={text!r}: beta takes a probability between 0.5 and 1, such as beta:0.95")
        return Beta(theta, f"beta:{value.strip()}")
    if name == "lead":
        ballots = int(value) if value.strip().isdecimal() else 0
        if not 1 <= ballots <= 1024:
            raise ParameterError(f"stop={text!r}: lead takes an integer from 1 to 1024, such as lead:3")
        return Lead(ballots, f"lead:{ballots}")
    raise ParameterError(f"stop={text!r} is unknown; known are {RULES}")


def _fraction(text: str) -> Fraction | None:
    """Digits as they are written, so that 0.9375 is 15/16 and no double near it."""
    try:
        return Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        return None


@lru_cache(4096)
def exact_ahead(first: int, second: int) -> Fraction:
    """P(p > ½) for p ~ Beta(first + 1, second + 1): Σ_{k ≤ first} C(first + second + 1, k) / 2^(first + second + 1)."""
    n = first + second + 1
    term = total = 1
    for k in range(first):
        term = term * (n - k) // (k + 1)
        total += term
    return Fraction(total, 1 << n)


def ahead(first: float, second: float) -> float:
    """`exact_ahead` for any counts, whole or not: the regularised incomplete beta function I_½(second + 1, first + 1).

    Lentz's continued fraction in logarithms (Abramowitz & Stegun 26.5.8); relative error below 1e-9 up to 10⁶."""
    a, b = second + 1.0, first + 1.0
    if a < b:  # the fraction converges fast for ½ < (a + 1) / (a + b + 2)
        return 1.0 - ahead(second, first)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - (a + b) * math.log(2.0)
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) / (2.0 * (a + 1.0))
    d = 1.0 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 100_000):
        even = m * (b - m) / (2.0 * (a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) / (2.0 * (a + 2 * m) * (a + 2 * m + 1.0))
        for step in (even, odd):
            d = 1.0 + step * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + step / c
            c = c if abs(c) > tiny else tiny
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return min(math.exp(front) * fraction / a, 1.0)
