"""adaptive-p: what llama.cpp's makes of the same logits, and that rows without it stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropix.sampling import Aim, Filters, aimed, choose, make_filters, noise_key, top_window
from entropix.types import Decisions
from helpers.llama import U32, Sampler, needs_llama_cpp

SIZE = 200


def log_probabilities(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    z = logits.astype(float) - logits.max()
    return z - np.log(np.exp(z).sum())


def aim(*rows: tuple[float, float, float]) -> Aim:
    return Aim(*(np.array(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("target", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_over_a_text_it_is_what_llama_cpps_is(target: float, decay: float) -> None:
    needs_llama_cpp()
    g = np.random.default_rng(2)
    sampler, mean = Sampler("adaptive_p", target, decay, U32(7)), target
    for place in range(60):
        logits = (g.normal(size=SIZE) * g.uniform(0.5, 4)).astype(np.float32)
        logits[g.integers(0, SIZE, 5)] = -np.inf  # a filter before it
        left, token = sampler.apply(logits)
        before = log_probabilities(logits)
        here = aim((target, decay, mean))
        found = aimed(before[None], here)[0]
        wanted = log_probabilities(np.array([left[i] for i in range(SIZE)]))
        assert np.exp(found) == pytest.approx(np.exp(wanted), abs=2e-6)
        assert token is not None
        if place % 4 == 3:
            sampler.accept((token + 1) % SIZE)  # an injected token: not what was drawn
        else:
            sampler.accept(token)
            mean = float(here.after(np.exp(before[[token]]))[0])
    sampler.free()


@pytest.mark.parametrize("candidates", [1, 3])
def test_rows_without_it_draw_as_they_would_alone(candidates: int) -> None:
    g = np.random.default_rng(4)
    window = top_window((g.normal(size=(3, SIZE)) * 2).astype(np.float32), SIZE)
    whole = {"action": 0, "regime": 0, "top_k": 0, "candidates": candidates}
    real = {"temperature": [1.0, 1.3, 0.0], "top_p": [1.0, 0.9, 1.0], "min_p": [0.0, 0.01, 0.0]}
    decisions = Decisions(
        **{name: np.full(3, value) for name, value in whole.items()}, **{k: np.array(v) for k, v in real.items()}
    )
    changed = 0
    for seed in range(40):
        keys = np.array([noise_key(seed, row) for row in range(3)])
        plain = choose(window, decisions, keys)
        found = choose(window, decisions, keys, aim((0.1, 0.9, 0.1), (np.nan, np.nan, np.nan), (0.1, 0.9, 0.1)))
        assert found.tokens[1:].tolist() == plain.tokens[1:].tolist(), "the second has none, the third is greedy"
        assert found.probabilities is not None
        assert found.probabilities[2] == 1.0
        changed += int(found.tokens[0] != plain.tokens[0])
    assert changed > 5


def test_numpy_and_torch_agree() -> None:
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(5)
    before = np.stack([log_probabilities(g.normal(size=SIZE) * 3) for _ in range(3)])
    before[0, 7] = -np.inf
    rows = aim((0.4, 0.9, 0.6), (np.nan, np.nan, np.nan), (0.0, 0.5, 0.9))
    theirs = Aim(*(torch.from_numpy(column) for column in (rows.target, rows.decay, rows.mean)))
    found = aimed(torch.from_numpy(before), theirs)
    np.testing.assert_allclose(found.numpy(), aimed(before, rows), rtol=1e-12)
    np.testing.assert_array_equal(found[1].numpy(), before[1])


def test_a_target_below_zero_switches_it_off() -> None:
    assert not make_filters("adaptive_target=-1").active
    assert make_filters("adaptive_target=0").adapts
    assert make_filters(str(Filters(adaptive_target=0.4, adaptive_decay=0.5))).adaptive_decay == 0.5
