"""How vLLM finds the plug-in and checks requests, with its own loader and validator of Model Runner V2."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm.v1.worker.gpu.sample.logits_processor")

import torch
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.worker.cpu.buffer_utils import UvaBuffer
from vllm.v1.worker.gpu import buffer_utils
from vllm.v1.worker.gpu.sample.logits_processor import (
    build_custom_logits_processors,
    build_custom_logits_processors_params_validator,
)
from vllm.v1.worker.gpu.states import RequestState

from entropix.plugins.vllm import v2
from entropix.plugins.vllm.asking import PolicyRequest
from entropix.plugins.vllm.model import Served
from entropix.profiles import Profile
from entropix.types import Thresholds

INSTALLED = bool(entry_points(group="vllm.logits_processors"))
OURS = [] if INSTALLED else ["entropix.plugins.vllm:LogitsProcessor"]
SERVED = Served(Profile("scripted", "", 260, Thresholds(0.4, 3.0, 0.4, 3.5)), 260, None, None)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What of vLLM's configuration is read; the model is one that nobody loads."""
    monkeypatch.setattr(buffer_utils, "UvaBuffer", UvaBuffer)
    monkeypatch.setattr(v2, "served", lambda config: config.served)
    return SimpleNamespace(
        served=SERVED,
        speculative_config=None,
        parallel_config=SimpleNamespace(data_parallel_index=0),
        model_config=SimpleNamespace(seed=0),
    )


@pytest.mark.skipif(
    not INSTALLED, reason="the package is not installed, so vLLM finds no entry point: pip install -e ."
)
def test_vllm_finds_it_by_its_entry_point(config: Any) -> None:
    assert [entry.name for entry in entry_points(group="vllm.logits_processors")] == ["entropix"]
    states = RequestState(2, 16, 16, 0, 260, torch.device("cpu"))
    (ours,) = build_custom_logits_processors(config, states, False)
    assert type(ours) is v2.SecondRunner
    assert build_custom_logits_processors(config, states, True) == [], "a model that pools has no tokens to choose"


def test_an_operator_s_default_is_for_all_who_do_not_say_off(config: Any) -> None:
    config.served = replace(SERVED, default=PolicyRequest("greedy"))
    states = RequestState(4, 16, 16, 0, 260, torch.device("cpu"))
    (ours,) = build_custom_logits_processors(config, states, False, OURS)
    for slot, (arguments, wanted) in enumerate(
        [(None, True), ({"other": 1}, True), ({"entropix": "off"}, False), ({"entropix": "entropix"}, True)]
    ):
        assert ours.add_request(slot, SamplingParams(extra_args=arguments)) is wanted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"entropix": "nonsense"}, "nonsense"),
        ({"entropix": "entropix:temperature=9"}, "temperature"),
        ({"entropix": "entropix", "entropix_top_p": "x"}, "top_p"),
        ({"entropix_top_p": 0.5}, "missing"),
        ({"entropix": 3}, "3"),
    ],
)
def test_vllm_s_validator_refuses_what_there_is_not(arguments: dict[str, Any], said: str) -> None:
    validate = build_custom_logits_processors_params_validator(OURS)
    with pytest.raises(VLLMValidationError, match=said):
        validate(SamplingParams(extra_args=arguments))


@pytest.mark.parametrize("arguments", [None, {}, {"other": 1}, {"entropix": "off"}, {"entropix": "entropix"}])
def test_vllm_s_validator_lets_the_rest_pass(arguments: dict[str, Any] | None) -> None:
    build_custom_logits_processors_params_validator(OURS)(SamplingParams(extra_args=arguments))
