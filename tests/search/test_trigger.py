"""The triggers that serve as controls."""

from __future__ import annotations

import pytest

from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed


def forks(search: str, seed: int = 1, tokens: int = 400) -> list[int]:
    with Model(ScriptedEngine(hashed(sharpness=1.0), context=2048, sequences=4)) as model:
        result = model.generate("one", policy="greedy", seed=seed, max_tokens=tokens, search=search)
    return [b.origin for b in result.search.branches if b.parent is not None]


def test_random_fires_at_its_rate_and_not_always_at_the_same_places() -> None:
    search = "lookahead:width=2,horizon=1,ratio=0,trigger=random,rate="
    found = [forks(search + "0.2", seed) for seed in range(3)]
    assert 0.15 < sum(map(len, found)) / (3 * 400) < 0.25
    assert found[0] != found[1]
    assert forks(search + "0.2") == forks(search + "0.2")
    assert forks(search + "0") == []


@pytest.mark.parametrize("threshold", [0, 100])
def test_low_fires_below_its_threshold(threshold: float) -> None:
    found = forks(f"lookahead:width=2,horizon=1,ratio=0,trigger=low,threshold={threshold}", tokens=30)
    assert len(found) == (0 if threshold == 0 else 30)
