"""The board between the logits processor and the layer that measures, without vLLM."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from entropix.plugins.vllm.attention import board as module
from entropix.plugins.vllm.attention.board import Board, switched_on
from entropix.types import AttentionSignals

ON = {"entropix": {"attention": True}}
SIGNALS = AttentionSignals(*np.zeros((4, 2), np.float32))


def config(extra: Any = None, **changes: Any) -> Any:
    parallel = {"world_size": 1, "enable_dbo": False} | changes
    cache = SimpleNamespace(kv_sharing_fast_prefill=False)
    return SimpleNamespace(
        additional_config=ON if extra is None else extra,
        parallel_config=SimpleNamespace(**parallel),
        cache_config=cache,
    )


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """vLLM, where it is imported, keeps its loggers' records to itself."""
    monkeypatch.setattr(module.logger, "propagate", False)
    module.logger.addHandler(caplog.handler)
    yield
    module.logger.removeHandler(caplog.handler)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model's only layer, which can be measured unless a test says otherwise."""
    layer = SimpleNamespace(impl=SimpleNamespace(board=None, refusal=lambda layer: None))
    monkeypatch.setattr(module, "full_attention_layers", lambda config: [("layers.0", layer)])
    return layer


def test_only_the_operators_switch_turns_it_on() -> None:
    assert switched_on(config())
    for extra in (
        {},
        {"entropix": {}},
        {"entropix": {"attention": False}},
        {"entropix": {"attention": "no"}},
        {"attention": True},
    ):
        assert not switched_on(config(extra))
    assert not switched_on(None)


def test_switched_off_it_looks_for_no_layer_and_says_nothing(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    board = Board(config({}))
    board.wants(np.array([True]))
    assert board.rows is None
    assert board.take() is None
    assert layer.impl.board is None
    assert not caplog.records


def test_the_layer_is_attached_when_a_row_first_asks(layer: Any) -> None:
    board = Board(config())
    board.wants(None)
    board.wants(np.array([False, False]))
    assert layer.impl.board is None
    board.wants(np.array([False, True]))
    assert layer.impl.board is board
    assert board.rows is not None


def test_what_was_measured_is_taken_once_and_only_by_its_own_step(layer: Any) -> None:
    board = Board(config())
    board.wants(np.array([True, True]))
    board.put(SIGNALS)
    assert board.rows is None, "a second forward of the step must not measure again"
    assert board.take() is SIGNALS
    assert board.take() is None
    board.wants(np.array([True, True]))
    board.put(SIGNALS)
    board.wants(np.array([True, True]))  # nothing was sampled in the step before
    assert board.take() is None


@pytest.mark.parametrize(
    ("changes", "reason"), [({"world_size": 2}, "2 workers"), ({"enable_dbo": True}, "dual batch overlap")]
)
def test_an_engine_that_cannot_be_measured_says_why_once(
    changes: dict[str, Any], reason: str, layer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    board = Board(config(**changes))
    for _ in range(3):
        board.wants(np.array([True]))
        assert board.rows is None
        assert board.take() is None
    assert [reason in record.message for record in caplog.records] == [True]


def test_a_layer_that_refuses_is_left_alone(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    layer.impl.refusal = lambda layer: "has attention sinks"
    board = Board(config())
    board.wants(np.array([True]))
    assert layer.impl.board is None
    assert "layer layers.0 has attention sinks" in caplog.text


def test_a_layer_of_another_back_end_is_left_alone(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    layer.impl = SimpleNamespace()
    board = Board(config())
    board.wants(np.array([True]))
    assert board.take() is None
    assert "does not observe" in caplog.text
