"""A vote's confidence as a probability: fitted on labelled items, kept in a profile, applied to an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from entropix.errors import ParameterError, ProfileError
from entropix.numeric import plain

FEATURES = ("agreement", "margin", "span", "length")
"""agreement: log odds of the winner among all ballots, half a ballot added to each side. margin: likewise against the
next answer alone. span: mean log-probability, nats, of the tokens that give the answer, over the texts that give it.
length: log of their mean number of tokens. The first one holds (a, n) and, after a stop rule, says what the rule
saw."""

HOW = "`entropix calibrate MODEL --answers TASK` calibrates it"


@dataclass(frozen=True)
class Evidence:
    """What a vote knows of its answer. first, second: the two largest counts; cast: all ballots, those without an
    answer included, all three as weight where ballots are weighted. span, length: see `FEATURES`; None where not
    known."""

    first: float
    second: float
    cast: float
    span: float | None = None
    length: float | None = None

    def knows(self, feature: str) -> bool:
        """Whether the vote has what a feature is made of."""
        return getattr(self, feature, 0.0) is not None

    def value(self, feature: str) -> float:
        """A feature. Raises ProfileError where the vote does not know it."""
        if feature == "agreement":
            return math.log((self.first + 0.5) / (max(self.cast - self.first, 0.0) + 0.5))
        if feature == "margin":
            return math.log((self.first + 0.5) / (self.second + 0.5))
        found = self.span if feature == "span" else self.length
        if found is None:
            raise ProfileError(f"the calibration of the confidence uses {feature!r}, which this vote does not know")
        return math.log(max(found, 1.0)) if feature == "length" else found


@dataclass(frozen=True)
class Setting:
    """What a calibration holds for. file: of the weights, since every quantisation of a model has its fingerprint.
    template: digest of the chat template. rule: of stopping, with cap, waves and weights."""

    fingerprint: str
    file: str
    template: str
    policy: str
    rule: str

    def differences(self, other: Setting) -> list[str]:
        """In what `other` is another setting, in words; none for the same."""
        names = {
            "fingerprint": "model",
            "file": "file",
            "template": "chat template",
            "policy": "policy",
            "rule": "rule",
        }
        pairs = [(names[f.name], getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name} {now!r} instead of {before!r}" for name, before, now in pairs if before != now]


@dataclass(frozen=True)
class Bound:
    """With confidence 1 − delta at most `risk` of the answers whose confidence is at least `threshold` are wrong.
    accepted, wrong: the calibration's items there. threshold None: no threshold keeps the risk, so abstain always."""

    risk: float
    delta: float
    threshold: float | None
    accepted: int
    wrong: int


@dataclass(frozen=True)
class Calibration:
    """A logistic fit (Platt) of whether an answer is right on standardised features, with steps over it where there
    were items enough, and thresholds for several risks. items: digests of the questions it was fitted on, on which
    nothing is reported. steps: (confidence of the fit, share right), rising in both; empty for none."""

    setting: Setting
    task: str
    items: tuple[str, ...]
    features: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    slope: tuple[float, ...]
    intercept: float
    steps: tuple[tuple[float, float], ...] = ()
    bounds: tuple[Bound, ...] = ()

    def confidence(self, evidence: Evidence) -> float:
        """The probability that an answer is right, 0 … 1. Raises ProfileError for a feature the vote does not know."""
        z = self.intercept
        for name, centre, scale, slope in zip(self.features, self.centre, self.scale, self.slope, strict=True):
            z += slope * (evidence.value(name) - centre) / scale
        fitted = 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))
        return between(fitted, self.steps) if self.steps else fitted

    def bound(self, risk: float) -> Bound:
        """The thresholds' entry for a wished risk, or for the next smaller one that was fitted: it keeps the wished one
        too. Raises ProfileError when the risk is not in 0 … 1, or smaller than all that were fitted."""
        fitted = [b for b in self.bounds if b.risk <= risk]
        if not 0 < risk < 1 or not fitted:
            known = ", ".join(f"{b.risk:.3g}" for b in self.bounds) or "none"
            raise ProfileError(
                f"a risk of {risk:g} cannot be bounded; allowed is a number between 0 and 1, at least the smallest of "
                f"those that the confidence was calibrated for: {known}"
            )
        return max(fitted, key=lambda b: b.risk)

    @property
    def source(self) -> str:
        """For `confidence_source`, after what was counted."""
        return f"calibrated on {len(self.items)} items of {self.task}"

    def mismatch(self, now: Setting) -> str:
        """What to say where the calibration is of another setting; "" where it fits."""
        found = self.setting.differences(now)
        if not found:
            return ""
        return f"the confidence is not calibrated for this: {'; '.join(found)}. It is the share of the ballots; {HOW}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Calibration:
        """The stored form, checked. Raises KeyError, TypeError or ValueError, as `Profile.from_dict` expects."""
        features = tuple(map(str, data["features"]))
        unknown = sorted(set(features) - set(FEATURES))
        if unknown or not features:
            raise ValueError(f"unknown feature {unknown[0]!r}" if unknown else "no features")
        numbers = {name: tuple(map(_finite, data[name])) for name in ("centre", "scale", "slope")}
        if any(len(n) != len(features) for n in numbers.values()) or min(numbers["scale"]) <= 0:
            raise ValueError("centre, scale and slope must have one number per feature, and scales be positive")
        steps = tuple((_finite(x), _finite(y)) for x, y in data.get("steps", ()))
        if any(b < a for one, two in pairwise(steps) for a, b in zip(one, two, strict=True)):
            raise ValueError("steps must rise")
        return cls(
            setting=Setting(**{f.name: str(data["setting"][f.name]) for f in fields(Setting)}),
            task=str(data["task"]),
            items=tuple(map(str, data["items"])),
            features=features,
            intercept=_finite(data["intercept"]),
            steps=steps,
            bounds=tuple(Bound(**b) for b in data.get("bounds", ())),
            **numbers,
        )


def parse_risk(given: object) -> float:
    """A share of wrong answers, as 0.1 or "10%". Raises ParameterError unless it lies between 0 and 1."""
    value = plain(given)
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("%")) / (100 if value.strip().endswith("%") else 1)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ParameterError(f"risk {given!r} is no share of wrong answers; give one between 0 and 1, as 10% or 0.1")
    return float(value)


def between(x: float, steps: Sequence[tuple[float, float]]) -> float:
    """A rising line through points, flat outside them."""
    if x <= steps[0][0]:
        return steps[0][1]
    for (x0, y0), (x1, y1) in pairwise(steps):
        if x <= x1:
            return y1 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return steps[-1][1]


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)
