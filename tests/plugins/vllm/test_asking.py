"""What a request may ask for, and what it is told when it asks for something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from entropix.errors import CapabilityError, EntropixError, ParameterError
from entropix.plugins.vllm.asking import ANY_MODEL, PolicyRequest, check, read
from entropix.plugins.vllm.model import _settings
from entropix.policies import POLICIES, Greedy
from entropix.sampling import Filters


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (None, None),
        ({}, None),
        ({"session_id": "x", "entropy": 3}, None),
        ({"entropix": "off"}, PolicyRequest("off")),
        ({"entropix": " greedy "}, PolicyRequest("greedy")),
        ({"entropix": "entropix:temperature=0.8", "other": []}, PolicyRequest("entropix", (("temperature", 0.8),))),
        ({"entropix": "entropix", "entropix_temperature": 0.8}, PolicyRequest("entropix", (("temperature", 0.8),))),
        (
            {"entropix": "entropix", "entropix_inject": "Hm, 🤔: wait,"},
            PolicyRequest("entropix", (("inject", "Hm, 🤔: wait,"),)),
        ),
        ({"entropix": "greedy", "entropix_filters": "min_p=0.1"}, PolicyRequest("greedy", (), Filters(min_p=0.1))),
        ({"entropix": "greedy", "entropix_filters": ""}, PolicyRequest("greedy")),
        ({"entropix": "entropix:control=low"}, PolicyRequest("entropix", (("control", "low"),))),
    ],
)
def test_what_can_be_asked(arguments: dict[str, Any] | None, wanted: PolicyRequest | None) -> None:
    assert read(arguments) == wanted


def test_a_policy_that_needs_what_vllm_may_not_show_is_refused_by_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks(Greedy):
        name = "looks"
        needs = frozenset({"attention"})

    monkeypatch.setitem(POLICIES, "looks", Looks)
    with pytest.raises(CapabilityError, match="policy 'looks' needs attention, and vLLM"):
        read({"entropix": "looks"})
    with pytest.raises(ValueError, match="policy 'looks' needs attention, and vLLM"):
        check(SimpleNamespace(extra_args={"entropix": "looks"}))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"entropix": "nix"}, "no policy 'nix'; known are entropix, greedy"),
        ({"entropix": ""}, "is no policy"),
        ({"entropix": 1}, "entropix=1 is no policy"),
        ({"entropix": ["entropix"]}, "is no policy"),
        ({"entropix": "entropix:heat"}, "'heat' is not of the form parameter=value"),
        ({"entropix": "entropix:heat=1"}, "no parameter 'heat'; it has temperature"),
        ({"entropix": "entropix", "entropix_heat": 1}, "no parameter 'heat'"),
        ({"entropix": "entropix", "entropix_temperature": 9}, "temperature=9.0 is out of range; allowed is"),
        ({"entropix": "entropix", "entropix_temperature": "warm"}, "temperature='warm' is out of range"),
        ({"entropix": "entropix", "entropix_temperature": True}, "neither a number nor a string"),
        ({"entropix": "entropix", "entropix_candidates": [3]}, "neither a number nor a string"),
        ({"entropix": "entropix", "entropix_candidates": 2.5}, "candidates=2.5 is out of range; allowed is an integer"),
        ({"entropix": "entropix", "entropix_inject": "x" * 1001}, "inject has 1001 characters; allowed are at most"),
        ({"entropix": "entropix", "entropix_control": "high"}, "control='high' is unknown; allowed are random"),
        ({"entropix": "entropix:top_k=3", "entropix_top_k": 4}, "top_k is given twice"),
        ({"entropix": "off", "entropix_top_k": 4}, "takes no parameters, but entropix_top_k came along"),
        ({"entropix_top_k": 4}, "entropix_top_k: 'entropix' is missing"),
    ],
)
def test_what_cannot(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said.replace("(", r"\(").replace("[", r"\[")):
        read(arguments)
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace("[", r"\[")):
        check(SimpleNamespace(extra_args=arguments))


def test_a_profile_s_parameters_give_way_to_the_request_s() -> None:
    own = {"entropix": {"temperature": 0.5, "top_p": 0.7}}
    policy: Any = PolicyRequest("entropix", (("top_p", 0.8),)).make(ANY_MODEL, 1000, own)
    assert (policy.temperature, policy.top_p) == (0.5, 0.8)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("entropix", "must be an object"),
        ({"polcy": "entropix"}, "no setting 'polcy'; it has policy, profile, attention"),
        ({"policy": 3}, "entropix.policy is 3; it must be a string"),
        ({"attention": "yes"}, "entropix.attention is 'yes'; it must be true or false"),
    ],
)
def test_an_operator_s_mistakes(settings: Any, said: str) -> None:
    with pytest.raises(EntropixError, match=said):
        _settings(SimpleNamespace(additional_config={"entropix": settings}))
