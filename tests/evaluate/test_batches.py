"""Tokens per second of a batch, counted once every prompt is computed."""

from __future__ import annotations

import pytest
from benchmarks.batches import compared, speed

from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed


def test_engines_take_turns_and_are_set_side_by_side() -> None:
    models = {name: Model(ScriptedEngine(hashed(sharpness=0.3), sequences=4)) for name in ("one", "other")}
    head, _, line = compared(models, [2], tokens=20, repeats=2)
    assert head == "| texts at a time | one, tokens/s | other, tokens/s | ratio |"
    assert all(float(cell) > 0 for cell in line.strip("|").split("|"))


def test_texts_that_are_too_short_to_time_are_refused() -> None:
    with pytest.raises(RuntimeError, match="ask for more --tokens"):
        speed(Model(ScriptedEngine(hashed(), sequences=2)), 2, tokens=1)
