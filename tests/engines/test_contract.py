"""The engines that ship keep the contract."""

from __future__ import annotations

import pytest

from entropix.engines.scripted import ScriptedEngine
from entropix.errors import CapabilityError
from helpers.engine_contract import *  # noqa: F403


def test_an_engine_without_attention_says_so() -> None:
    engine = ScriptedEngine(attention=False)
    sequence = engine.open()
    with pytest.raises(CapabilityError, match="attention"):
        engine.forward([(sequence, [1])], attention=True)
