"""`--temperature`, `--top-p`, `--top-k`, `--min-p`: what people know from elsewhere, under any policy."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

from entropix.cli.options import SAMPLING, Default, check_policy, policy_parameters
from entropix.errors import ParameterError

FILTERS = ("top_k", "min_p")
"""What takes tokens away before any policy draws, where it is no parameter of the policy."""


@dataclass(frozen=True)
class Sampling:
    """What an answer is drawn with. parameters: given to the policy; all: every one that it runs with, for the trace.
    filters, repetition: "" for none."""

    parameters: dict[str, Any]
    all: dict[str, Any]
    filters: str = ""
    repetition: str = ""


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def read_sampling(args: argparse.Namespace) -> Sampling:
    """What --set and these options ask of the policy. --temperature 0 without a policy makes it greedy, in `args`, too.
    Raises ParameterError for what contradicts each other or the policy."""
    from entropix.policies import POLICIES, parameters, parse_spec
    from entropix.sampling import make_settings

    given_filters, penalties = make_settings(getattr(args, "filters", None) or "")
    values = policy_parameters(args)
    asked = {name: value for name in SAMPLING if (value := getattr(args, name, None)) is not None}
    usual = isinstance(args.policy, Default)
    name, inline = parse_spec(args.policy)
    for where, given in (("--set", values), ("--policy", {} if usual else inline)):
        for key, value in asked.items():
            if key in given and given[key] != value:
                raise ParameterError(f"{option(key)} {value:g} and {where} {key}={given[key]} contradict each other")
    if usual and getattr(args, "endpoint", None) is not None:
        check_policy("sample", asked)  # what the endpoint is sent, and nothing else
        return Sampling({**values, **asked}, asked)
    if usual and asked.get("temperature") == 0 and not values:
        check_policy("sample", asked)  # the others change nothing any more, and are right all the same
        args.policy = "greedy"
        return Sampling({}, check_policy("greedy", {}), str(given_filters), str(penalties))
    known = parameters(POLICIES.find(name))
    filters = {}
    for key, value in asked.items():
        if name == "greedy" and (key, value) != ("temperature", 0):
            raise ParameterError(
                f"{option(key)} {value:g} contradicts --policy greedy, which takes the likeliest token whatever else "
                "is set; leave one of them out, or take --policy sample"
            )
        if key in known:
            values[key] = value
        elif key in FILTERS:
            filters[key] = value
        elif name != "greedy":
            raise ParameterError(
                f"{option(key)}: policy {name!r} has no {key}; it has {', '.join(known) or 'none'}, and sample has all "
                f"of {', '.join(SAMPLING)}"
            )
    for key, value in filters.items():
        if getattr(given_filters, key) not in (value, getattr(type(given_filters)(), key)):
            raise ParameterError(
                f"{option(key)} {value:g} and --filters {key}={getattr(given_filters, key):g} contradict each other"
            )
    text = str(replace(given_filters, **filters))
    return Sampling(values, check_policy(args.policy, values), text, str(penalties))
