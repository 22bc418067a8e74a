"""(Signals, State) → (Decisions, State): Entropix and the samplers it is compared with."""

from __future__ import annotations

from typing import Any

from entropix.parameters import fitted, parameter, parameters, parse_spec
from entropix.policies.base import Policy, check_needs, sampled
from entropix.policies.baselines import DynaTemp, Edt, Greedy, Sample, TopNSigma
from entropix.policies.control import CONTROLS, Control
from entropix.policies.entropix import Entropix
from entropix.policies.entropix_2024 import Entropix2024
from entropix.policies.mirostat import Mirostat
from entropix.registry import Registry
from entropix.types import Thresholds

POLICIES: Registry[type[Policy]] = Registry("entropix.policies", "policy", Policy)

__all__ = [
    "CONTROLS",
    "POLICIES",
    "Control",
    "DynaTemp",
    "Edt",
    "Entropix",
    "Entropix2024",
    "Greedy",
    "Mirostat",
    "Policy",
    "Sample",
    "TopNSigma",
    "check_needs",
    "make_policy",
    "parameter",
    "parameters",
    "parse_spec",
    "sampled",
]


def make_policy(spec: str, thresholds: Thresholds, vocabulary: int, /, **values: Any) -> Policy:
    """The policy that `spec` names, for a model with these thresholds and this vocabulary.

    `values` are parameters beside those in the spec; control="random", "shuffled" or "low" makes a control of any
    policy. Raises ParameterError for an unknown policy or parameter or
    a value out of range; the message names what is allowed."""
    name, inline = parse_spec(spec)
    kind = POLICIES.find(name)
    settings = {**inline, **values}
    control = settings.pop("control", None)
    settings = fitted(name, kind, settings)
    needs = {"vocabulary": vocabulary} if "vocabulary" in kind.__dataclass_fields__ else {}
    policy = kind(thresholds=thresholds, **needs, **settings)
    return policy if control is None else Control(thresholds=thresholds, of=policy, kind=str(control))
