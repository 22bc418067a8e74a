"""(Signals, State) → (Decisions, State): Entropix and the samplers it is compared with."""

from __future__ import annotations

from typing import Any

from entropix.errors import ParameterError
from entropix.numeric import plain
from entropix.policies.base import Policy, check_needs, parameter, parameters, sampled
from entropix.policies.baselines import DynaTemp, Edt, Greedy, Sample, TopNSigma
from entropix.policies.control import CONTROLS, Control
from entropix.policies.entropix import Entropix
from entropix.policies.entropix_2024 import Entropix2024
from entropix.policies.mirostat import Mirostat
from entropix.types import Thresholds

POLICIES: dict[str, type[Policy]] = {
    p.name: p for p in (Entropix, Greedy, Sample, DynaTemp, Edt, TopNSigma, Mirostat, Entropix2024)
}

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


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """A policy and its parameters from text: "entropix" or "sample:temperature=0.7,top_p=0.9".

    Returns the name and the parameters, numbers where they look like numbers. Raises ParameterError."""
    name, _, rest = spec.partition(":")
    values: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ParameterError(f"policy {spec!r}: {pair!r} is not of the form parameter=value")
        values[key.strip()] = parse_value(value.strip())
    return name.strip(), values


def parse_value(text: str) -> int | float | str:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def make_policy(spec: str, thresholds: Thresholds, vocabulary: int, /, **values: Any) -> Policy:
    """The policy that `spec` names, for a model with these thresholds and this vocabulary.

    `values` are parameters beside those in the spec; control="random", "shuffled" or "low" makes a control of any
    policy. Raises ParameterError for an unknown policy or parameter or
    a value out of range; the message names what is allowed."""
    name, inline = parse_spec(spec)
    kind = POLICIES.get(name)
    if kind is None:
        raise ParameterError(f"there is no policy {name!r}; known are {', '.join(POLICIES)}")
    known = parameters(kind)
    settings = {**inline, **{key: plain(value) for key, value in values.items()}}
    control = settings.pop("control", None)
    for key, value in settings.items():
        if key not in known:
            names = ", ".join(known) or "none"
            raise ParameterError(f"{name}: there is no parameter {key!r}; it has {names}")
        default = known[key].default
        if isinstance(default, str) and isinstance(value, (int, float)):
            settings[key] = str(value)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            settings[key] = float(value)
        elif isinstance(default, int) and isinstance(value, float) and value.is_integer():
            settings[key] = int(value)
    needs = {"vocabulary": vocabulary} if "vocabulary" in kind.__dataclass_fields__ else {}
    policy = kind(thresholds=thresholds, **needs, **settings)
    return policy if control is None else Control(thresholds=thresholds, of=policy, kind=str(control))
