"""What a request asks of Entropix inside vLLM: read and checked where requests are admitted, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropix.errors import EntropixError, ParameterError
from entropix.policies import Policy, check_needs, make_policy, parse_spec
from entropix.sampling import Filters, make_filters
from entropix.types import SIGNALS, Thresholds

KEY, PREFIX, OFF = "entropix", "entropix_", "off"
FILTERS = "entropix_filters"
SHOWN = SIGNALS - {"attention"}
"""What every vLLM shows. Attention needs the operator's switch and a back-end that measures, which are not known where
requests are admitted: policies may want it there and not need it."""
LONGEST = 1000
"""Characters of an injected text: it is forced token by token into an answer."""

ANY_MODEL = Thresholds(entropy_low=0.25, entropy_high=2.5, varentropy_low=0.35, varentropy_high=3.0)


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A policy, its parameters, and what is taken out of the window before it draws. policy "off": vLLM's own sampling,
    whatever the operator's default is."""

    policy: str
    values: tuple[tuple[str, int | float | str], ...] = ()
    filters: Filters | None = None

    @property
    def is_off(self) -> bool:
        return self.policy == OFF

    def make(
        self, thresholds: Thresholds, vocabulary: int, own: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Policy:
        """The policy for one model. own: by policy, what takes the place of its defaults on this model.

        Raises ParameterError."""
        return make_policy(
            self.policy, thresholds, vocabulary, **{**(own or {}).get(self.policy, {}), **dict(self.values)}
        )


def read(arguments: Mapping[str, Any] | None) -> PolicyRequest | None:
    """What `vllm_xargs` ask for: {"entropix": SPEC, "entropix_PARAMETER": value, …}, SPEC being "NAME",
    "NAME:parameter=value,…" or "off"; `entropix_filters` are filters under the policy, such as "min_p=0.05". None when
    they do not mention Entropix.

    Raises ParameterError, also for a policy or a parameter that does not exist, and CapabilityError for a policy that
    needs a signal which is not sure to be there."""
    ours = {key: value for key, value in (arguments or {}).items() if key == KEY or key.startswith(PREFIX)}
    if not ours:
        return None
    spec = ours.pop(KEY, None)
    if spec is None:
        raise ParameterError(
            f"{', '.join(sorted(ours))}: {KEY!r} is missing, which says the policy; "
            f'give for example {{"{KEY}": "entropix", …}}'
        )
    if not isinstance(spec, str) or not spec.strip():
        raise ParameterError(
            f'{KEY}={spec!r} is no policy; allowed: a string such as "entropix", "entropix:temperature=0.8" or "{OFF}"'
        )
    name, values = parse_spec(spec)
    if name == OFF:
        if values or ours:
            raise ParameterError(
                f'{KEY}="{OFF}" takes no parameters, but {", ".join([*values, *sorted(ours)])} came along'
            )
        return PolicyRequest(OFF)
    filters = make_filters(_text(ours.pop(FILTERS, "")))
    for key, value in ours.items():
        parameter = key.removeprefix(PREFIX)
        if parameter in values:
            raise ParameterError(f"{parameter} is given twice, in {KEY}={spec!r} and as {key}; give it once")
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ParameterError(f"{key}={value!r} is neither a number nor a string")
        values[parameter] = value
    asked = PolicyRequest(name, tuple(sorted(values.items())), filters if filters.active else None)
    policy = asked.make(ANY_MODEL, vocabulary=32_000)
    check_needs(policy, SHOWN, "vLLM, where a request is admitted without knowing the back-end,")
    if len(policy.injection) > LONGEST:
        raise ParameterError(f"{name}: inject has {len(policy.injection)} characters; allowed are at most {LONGEST}")
    return asked


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ParameterError(f'{FILTERS}={value!r} is no string of filters such as "top_k=40,min_p=0.05"')
    return value


def check(sampling: Any) -> None:
    """Raise ValueError, which vLLM answers with a 400, for a request that asks for what there is not.

    sampling: vLLM's SamplingParams. Where a policy is asked for, the temperature of a server's request becomes 0: to
    vLLM's own sampler nothing is left to choose, and above 0 it makes a generator of the request's seed, which it
    cannot rewind on a CPU, so that a pre-emption, or a chunked prefill, would end the engine. Parameters that
    belong to a caller of the library are left as they are."""
    try:
        asked = read(sampling.extra_args)
    except EntropixError as error:
        raise ValueError(str(error)) from error
    made_for_this_request = getattr(sampling, "skip_clone", False)
    if asked is not None and not asked.is_off and made_for_this_request:
        sampling.temperature = 0.0
        vars(sampling).pop("sampling_type", None)  # cached, and read off the temperature
