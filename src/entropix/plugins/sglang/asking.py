"""What a request asks of Entropix inside SGLang: written by a client, read in the server; without SGLang and torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np

from entropix.errors import CapabilityError, ParameterError
from entropix.parameters import parameters, spec_of
from entropix.policies import Policy, check_needs, make_policy, parse_spec
from entropix.profiles import Profile, generic_thresholds, named
from entropix.signals import measure_unchecked
from entropix.types import SIGNALS, Thresholds

KEY, PREFIX, THRESHOLDS = "entropix", "entropix_", "entropix_thresholds"
SHOWN = SIGNALS - {"attention", "surprisal"}
"""A logit processor sees neither attention nor the tokens that were drawn."""

NEUTRAL = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0}
"""SGLang's own sampling, off: it comes after the policy, and SGLang takes a model's generation_config.json for it."""

PROCESSOR = json.dumps(
    {"callable": b"centropix.plugins.sglang.processor\nPolicyLogitProcessor\n.".hex()}  # the class by its name, pickled
)
"""What `PolicyLogitProcessor.to_str()` stands for, for clients without SGLang."""

Limits = tuple[float, float, float, float]
LIMITS = tuple(f.name for f in fields(Thresholds) if f.name != "attention")
OFF = {"candidates": "1", "inject": ""}
"""The parameters by which built-in policies do without."""
VOCABULARY = 32_000
"""Of a model that a client does not know, to try its request."""


def request(policy: str, *, profile: Profile | str | None = None) -> dict[str, Any]:
    """The `extra_body` of a request to SGLang's OpenAI API whose tokens this policy shapes; arguments and errors as in
    `custom_params`. For SGLang's own API: custom_logit_processor is `PROCESSOR`, the rest are sampling_params."""
    return {"custom_logit_processor": PROCESSOR, "custom_params": custom_params(policy, profile=profile), **NEUTRAL}


def custom_params(policy: str, *, profile: Profile | str | None = None) -> dict[str, Any]:
    """What goes to the processor with a request. policy: such as "edt" or "sample:temperature=0.7,min_p=0.05".
    profile: of the model that SGLang serves, a name or a file of `entropix calibrate`; None for generic thresholds.

    Raises ParameterError for a policy that there is not, CapabilityError for one that needs more than a logit
    processor has, ProfileError."""
    found = profile if profile is None or isinstance(profile, Profile) else named(profile)
    asked: dict[str, Any] = {KEY: policy}
    if found is not None:
        name, values = parse_spec(policy)
        tuned = make_policy(name, found.thresholds, found.vocabulary, **{**found.parameters.get(name, {}), **values})
        limits = {limit: getattr(found.thresholds, limit) for limit in LIMITS}
        asked = {KEY: spec_of(tuned), THRESHOLDS: limits}
    read(asked, VOCABULARY)
    return asked


def read(params: Mapping[str, Any] | None, vocabulary: int) -> Policy | None:
    """The policy that a request's custom_params ask for, the same object for the same request; None where they ask for
    none. Raises EntropixError subclasses, as `custom_params` does."""
    if params is None or not any(str(key).startswith(KEY) for key in params):
        return None
    unknown = sorted(key for key in params if str(key).startswith(PREFIX) and key != THRESHOLDS)
    if unknown:
        raise ParameterError(
            f"{', '.join(unknown)}: inside SGLang custom_params take {KEY!r}, a policy with its parameters, and "
            f"{THRESHOLDS!r}; searches, efforts and filters need a loop of ours: `entropix serve`, or "
            "entropix.remote.connect over SGLang's own API"
        )
    spec = params.get(KEY)
    if not isinstance(spec, str) or not spec.strip():
        raise ParameterError(f'{KEY}={spec!r} is no policy; give a string such as "edt" or "sample:temperature=0.7"')
    limits = params.get(THRESHOLDS)
    return _policy(spec, None if limits is None else _limits(limits), vocabulary)


def _limits(given: Any) -> Limits:
    """The thresholds in the order of LIMITS."""
    known = isinstance(given, Mapping) and set(given) == set(LIMITS)
    if not known or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in given.values()):
        raise ParameterError(f"{THRESHOLDS}={given!r} must be an object of the numbers {', '.join(LIMITS)}")
    entropy_low, entropy_high, varentropy_low, varentropy_high = (float(given[name]) for name in LIMITS)
    return entropy_low, entropy_high, varentropy_low, varentropy_high


@lru_cache(maxsize=1024)
def _policy(spec: str, limits: Limits | None, vocabulary: int) -> Policy:
    """The policy, if a logit processor can do what it does."""
    thresholds = generic_thresholds(vocabulary) if limits is None else Thresholds(*limits)
    policy = make_policy(spec, thresholds, vocabulary)
    check_needs(policy, SHOWN, "SGLang, which shows a logit processor nothing but logits,")
    beyond = [f"draws up to {policy.max_candidates} candidates for a token"] if policy.max_candidates > 1 else []
    beyond += [f"puts {policy.injection!r} into answers"] if policy.injection else []
    if beyond:
        without = ",".join(f"{name}={off}" for name, off in OFF.items() if name in parameters(type(policy)))
        remedy = f"give {f'{policy.name}:{without}'!r}" if without else "choose another policy"
        raise CapabilityError(
            f"policy {policy.name!r} {' and '.join(beyond)}; inside SGLang each token is drawn once, by SGLang, and no "
            f"text can be put in: {remedy}, or decode with `entropix serve`"
        )
    if _remembers(policy):
        raise CapabilityError(
            f"policy {policy.name!r} remembers earlier tokens, and SGLang does not tell a logit processor which of its "
            "calls lead to a token; choose a policy that decides by the current one, or decode with `entropix serve`"
        )
    return policy


def _remembers(policy: Policy) -> bool:
    """Whether its state changes where the model is sure, unsure, or torn between two tokens."""
    logits = np.zeros((3, 64), np.float32)
    logits[0, 0], logits[1, :2] = 30, 10
    signals = measure_unchecked(logits, asked=policy.asked)
    state = policy.initial(len(logits), signals.entropy)
    _, after = policy(signals, dict(state))
    return any(not np.array_equal(value, after[name], equal_nan=True) for name, value in state.items())
