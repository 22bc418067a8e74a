"""Controls take the actions of their policy at its rates, at places that the signals do not choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropix import Model
from entropix.arrays import to_numpy
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import ParameterError
from entropix.policies import CONTROLS, Control, make_policy
from entropix.types import AttentionSignals, Decisions, Signals, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5, {"entropy": (0.5, 0.1)})
STEPS = 200
SIGMA = "top-n-sigma:temperature=2.0"


def control(kind: str, of: str = "entropix") -> Any:
    return make_policy(f"{of}:control={kind}", THRESHOLDS, 1000)


def text(seed: int, rows: int = 1, xp: Any = np.asarray) -> list[Signals]:
    """Signals of `rows` texts; H and V are independent here, so that a shuffle shows."""
    g = np.random.default_rng(seed)

    def one() -> Any:
        return xp(g.exponential(1.0, rows))

    return [Signals(one(), one(), attention=AttentionSignals(one(), one(), one(), one())) for _ in range(STEPS)]


def walk(policy: Any, steps: list[Signals], seed: int = 5) -> list[Decisions]:
    state = policy.begin(seed, steps[0].entropy)
    found = []
    for signals in steps:
        decisions, state = policy(signals, state)
        found.append(decisions)
    return found


@pytest.mark.parametrize("kind", CONTROLS)
def test_actions_come_at_the_policys_rates(kind: str) -> None:
    steps = [s for seed in range(10) for s in text(seed)]
    found = np.array([d.regime[0] for n in range(10) for d in walk(control(kind), steps[n * STEPS : (n + 1) * STEPS])])
    true = np.array([d.regime[0] for d in walk(make_policy("entropix", THRESHOLDS, 1000), steps)])
    for regime in set(true.tolist()):
        assert abs((found == regime).mean() - (true == regime).mean()) < 0.05
    assert 0 < (found == true).mean() < 0.7  # elsewhere


def test_low_acts_where_the_model_is_sure_and_random_anywhere() -> None:
    steps = text(1)
    h = np.array([s.entropy[0] for s in steps])[50:]
    hot = {k: np.array([d.temperature[0] for d in walk(control(k), steps)])[50:] > 0 for k in CONTROLS}
    true = np.array([d.temperature[0] for d in walk(make_policy("entropix", THRESHOLDS, 1000), steps)])[50:] > 0
    assert h[true].mean() > h[~true].mean() + 0.3
    assert h[hot["low"]].mean() < h[~hot["low"]].mean() - 0.3
    for kind in ("random", "shuffled"):
        assert abs(h[hot[kind]].mean() - h[~hot[kind]].mean()) < 0.5


def test_random_keeps_signals_together_and_shuffled_does_not() -> None:
    """With V = H everywhere, a joint draw keeps V = H and separate draws do not."""
    steps = [Signals(np.array([x]), np.array([x])) for x in np.random.default_rng(0).exponential(1.0, STEPS)]
    seen: dict[str, list[bool]] = {}
    for kind in ("random", "shuffled"):
        policy = control(kind, "greedy")
        state = policy.begin(1, steps[0].entropy)
        seen[kind] = []
        for signals in steps:
            inner: list[Signals] = []
            object.__setattr__(policy, "of", lambda s, own, inner=inner: (inner.append(s), own))  # type: ignore[misc]
            _, state = policy(signals, state)
            seen[kind].append(bool(inner[0].entropy[0] == inner[0].varentropy[0]))
    assert all(seen["random"])
    assert np.mean(seen["shuffled"]) < 0.2


@pytest.mark.parametrize("kind", CONTROLS)
def test_numpy_and_torch_agree(kind: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = walk(control(kind), text(3)), walk(control(kind), text(3, xp=torch.from_numpy))
    for a, b in zip(ours, theirs, strict=True):
        assert a.regime.tolist() == b.regime.tolist()
        np.testing.assert_allclose(a.temperature, to_numpy(b.temperature), rtol=1e-12)


@pytest.mark.parametrize("kind", CONTROLS)
def test_an_answer_is_the_same_alone_and_in_a_batch(kind: str) -> None:
    with Model(ScriptedEngine(hashed(sharpness=2.0), sequences=8)) as model:
        prompts = ["one", "two", "three"]
        together = model.generate(prompts, policy=f"entropix:control={kind}", seed=7, max_tokens=30)
        alone = [model.generate(p, policy=f"entropix:control={kind}", seed=7, max_tokens=30) for p in prompts]
    assert [r.tokens for r in together] == [r.tokens for r in alone]
    assert together[0].policy == f"entropix:control={kind}"


@pytest.mark.parametrize("kind", CONTROLS)
def test_every_signal_is_controlled(kind: str) -> None:
    """top-n-sigma decides by the standard deviation of the logits alone."""
    with Model(ScriptedEngine(hashed(sharpness=2.0))) as model:
        found = [model.generate("one", policy=p, seed=7, max_tokens=40) for p in (SIGMA, f"{SIGMA},control={kind}")]
    assert found[0].tokens != found[1].tokens


def test_a_control_takes_any_integer_as_its_seed() -> None:
    with Model(ScriptedEngine(hashed(sharpness=2.0))) as model:
        assert model.generate("one", policy="entropix:control=random", seed=-3, max_tokens=5).tokens


def test_a_search_on_a_controlled_policy_has_a_controlled_trigger() -> None:
    with Model(ScriptedEngine(hashed(sharpness=4.0), sequences=8)) as model:
        found = {
            policy: model.generate("one", policy=policy, seed=7, max_tokens=40, search="lookahead:width=2,horizon=3")
            for policy in ("greedy", "greedy:control=low")
        }
    places = {p: [b.origin for b in r.search.branches if b.parent is not None] for p, r in found.items()}
    assert places["greedy"] != places["greedy:control=low"]


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(ParameterError, match="allowed are random, shuffled, low"):
        control("often")
    assert isinstance(control("low"), Control)
