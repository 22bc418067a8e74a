"""Policies: exactly one regime, parameters in range, the same decisions on every library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.arrays import to_numpy
from entropix.errors import ParameterError
from entropix.policies import POLICIES, Entropix, Greedy, make_policy, parameters, parse_spec
from entropix.types import Action, AttentionSignals, Decisions, Regime, Signals, Thresholds

THRESHOLDS = Thresholds(
    0.3, 2.0, 0.25, 1.5, {"entropy": (0.5, 0.1), "varentropy": (0.01, 0.005), "agreement": (0.5, 0.1),
                          "interaction": (3.0, 1.0)},
)  # fmt: skip


def policy(spec: str = "entropix", **values: Any) -> Any:
    return make_policy(spec, THRESHOLDS, 1000, **values)


def signals(h: Any, v: Any, attention: Any = None, xp: Any = np.asarray) -> Signals:
    h = np.atleast_1d(np.asarray(h, float))
    v = np.broadcast_to(np.asarray(v, float), h.shape).copy()
    shown = None
    if attention is not None:
        shown = AttentionSignals(*(xp(np.broadcast_to(np.asarray(a, float), h.shape).copy()) for a in attention))
    further = {"logit_std": np.full(h.shape, 2.0), "top_logprob": -h / 2, "surprisal": v}
    return Signals(xp(h), xp(v), attention=shown, **{name: xp(value) for name, value in further.items()})


def run(p: Any, s: Signals) -> tuple[Decisions, Any]:
    return p(s, p.initial(s.entropy.shape[0], s.entropy))  # type: ignore[no-any-return]


def regime_by_rule(h: float, v: float) -> Regime:
    """The table of docs/method.md, line by line."""
    t = THRESHOLDS
    if h < t.entropy_low and v < t.varentropy_low:
        return Regime.FLOW
    if h > t.entropy_high and v < t.varentropy_low:
        return Regime.CLARIFY
    if h <= t.entropy_high and v > t.varentropy_high:
        return Regime.BRANCH
    if h > t.entropy_high and v > t.varentropy_high:
        return Regime.RESAMPLE
    return Regime.ADAPT


edges = st.sampled_from([0.0, 0.25, 0.3, 1.5, 2.0]) | st.floats(0, 12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(edges, edges), min_size=1, max_size=20))
def test_each_row_has_the_regime_of_the_table(points: list[tuple[float, float]]) -> None:
    h, v = zip(*points, strict=True)
    got = run(policy(), signals(h, v))[0].regime
    assert got.tolist() == [regime_by_rule(a, b) for a, b in points]


def test_every_regime_can_be_reached() -> None:
    for name in ("entropix", "entropix-2024", "greedy"):
        h, v = np.meshgrid(np.linspace(0, 12, 200), np.linspace(0, 12, 200))
        got = run(policy(name), signals(h.ravel(), v.ravel()))[0].regime
        assert set(got.tolist()) == set(Regime), name


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.booleans())
def test_decisions_are_in_range_and_the_same_on_both_libraries(name: str, seed: int, rows: int, shown: bool) -> None:
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(seed)
    h, v = g.exponential(1.5, rows), g.exponential(1.5, rows)
    attention = (g.random(rows), g.random(rows) / 4, g.random(rows), g.exponential(3, rows)) if shown else None
    a, _ = run(policy(name), signals(h, v, attention))
    b, _ = run(policy(name), signals(h, v, attention, xp=torch.from_numpy))
    for column in Decisions.__dataclass_fields__:
        left, right = getattr(a, column), to_numpy(getattr(b, column))
        assert left.dtype == right.dtype
        assert left.shape == (rows,)
        if left.dtype.kind == "f":
            # powers of NumPy and torch differ in the last digit; nothing else may
            np.testing.assert_allclose(left, right, rtol=1e-12)
        else:
            np.testing.assert_array_equal(left, right)
    assert (a.temperature >= 0).all()
    assert (a.temperature <= 1.5).all()
    assert ((a.top_p >= 0.1) & (a.top_p <= 1)).all()
    assert ((a.min_p >= 0) & (a.min_p <= 1)).all()
    assert (a.candidates >= 1).all()


@pytest.mark.parametrize("name", POLICIES)
def test_rows_are_decided_one_by_one(name: str) -> None:
    """A row's decision is the same alone and beside others."""
    g = np.random.default_rng(3)
    h, v = g.exponential(1.5, 30), g.exponential(1.5, 30)
    attention = tuple(g.random((4, 30)))
    together, _ = run(policy(name), signals(h, v, attention))
    for r in range(30):
        alone, _ = run(policy(name), signals(h[r], v[r], [a[r] for a in attention]))
        for column in Decisions.__dataclass_fields__:
            assert getattr(alone, column)[0] == getattr(together, column)[r]


def test_flow_is_greedy_and_uncertainty_heats() -> None:
    d, _ = run(policy(), signals([0.1, 0.4, 1.0, 1.9], [0.1, 0.3, 0.8, 1.4]))
    assert d.temperature[0] == 0
    assert (np.diff(d.temperature[1:]) > 0).all()
    assert (np.diff(d.min_p[1:]) < 0).all()


def test_attention_moves_the_parameters_the_way_the_method_says() -> None:
    neutral = (0.5, 0.01, 0.5, 3.0)
    base = run(policy(), signals(1.0, 1.0, neutral))[0]
    same = run(policy(), signals(1.0, 1.0))[0]
    for column in ("temperature", "top_k", "top_p", "min_p"):
        assert getattr(base, column) == pytest.approx(getattr(same, column)), "no attention means neutral attention"

    def with_attention(h: float, v: float, **changed: float) -> Decisions:
        names = ("entropy", "varentropy", "agreement", "interaction")
        values = [changed.get(n, m) for n, m in zip(names, neutral, strict=True)]
        return run(policy(), signals(h, v, values))[0]

    assert with_attention(1, 1, entropy=0.6).temperature > base.temperature
    assert with_attention(1, 1, varentropy=0.02).temperature > base.temperature
    assert with_attention(1, 1, agreement=0.6).temperature < base.temperature
    assert with_attention(1, 1, varentropy=0.02).top_p > base.top_p
    assert with_attention(1, 1, interaction=5.0).top_k > base.top_k
    assert with_attention(1, 1, agreement=0.6).top_k < base.top_k
    assert with_attention(3, 3, entropy=0.6).top_p < with_attention(3, 3).top_p
    assert with_attention(1, 3).top_k > base.top_k


def test_resample_is_tighter_and_warmer_but_not_wild() -> None:
    lost = run(policy(), signals(2.1, 1.6))[0]
    unsure = run(policy(), signals(1.9, 1.4))[0]
    assert lost.top_p < unsure.top_p
    assert unsure.temperature < lost.temperature <= 1.5


def test_clarify_injects_with_a_cool_down_and_a_maximum() -> None:
    p = policy(inject_cooldown=3, inject_max=2)
    s = signals(3.0, 0.1)
    state = p.initial(1, s.entropy)
    actions = []
    for _ in range(12):
        d, state = p(s, state)
        actions.append(int(d.action[0]))
    assert actions == [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert run(policy(inject=""), s)[0].action[0] == Action.SAMPLE
    assert run(policy(inject_max=0), s)[0].action[0] == Action.SAMPLE


def test_the_2024_thresholds_are_bits() -> None:
    bit = math.log(2)
    p = policy("entropix-2024")
    assert run(p, signals(5.1 * bit, 0.05 * bit**2))[0].regime[0] == Regime.CLARIFY
    assert run(p, signals(4.9 * bit, 5.1 * bit**2))[0].regime[0] == Regime.BRANCH
    assert run(p, signals(0.09 * bit, 0.09 * bit**2))[0].regime[0] == Regime.FLOW
    assert run(p, signals(0.09, 0.09))[0].regime[0] == Regime.ADAPT


def test_the_2024_policy_does_not_inject_twice_in_a_row() -> None:
    p = policy("entropix-2024")
    s = signals(5.0, 0.01)
    state = p.initial(1, s.entropy)
    actions = []
    for _ in range(4):
        d, state = p(s, state)
        actions.append(int(d.action[0]))
    assert actions == [1, 0, 1, 0]


@pytest.mark.parametrize("agreement", [0.0, 0.05, 0.3, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("interaction", [0.0, 0.4, 3.0, 40.0])
@pytest.mark.parametrize("top_k", [1, 27, 100])
def test_the_2024_top_k_is_truncated_in_branch_and_capped_at_100_in_adapt(
    agreement: float, interaction: float, top_k: int
) -> None:
    """As the original's max(5, int(…)) and clip(round(…), 1, 100)."""
    bit = math.log(2)
    p = policy("entropix-2024", top_k=top_k)
    attention = (0.5, 0.5, agreement, interaction)
    branch = run(p, signals(2 * bit, 6 * bit**2, attention))[0]
    assert branch.regime[0] == Regime.BRANCH
    assert branch.top_k[0] == max(5, int(top_k * (1 + 0.5 * (1 - agreement))))
    adapt = run(p, signals(2 * bit, 2 * bit**2, attention))[0]
    assert adapt.regime[0] == Regime.ADAPT
    assert adapt.top_k[0] == min(max(round(top_k * (1 + 0.3 * interaction - 0.2 * agreement)), 1), 100)


def test_baselines_follow_their_formulas() -> None:
    s = signals([0.5, 2.0], 1.0)
    assert run(policy("greedy"), s)[0].temperature.tolist() == [0, 0]
    d = run(policy("sample", temperature=0.4, top_k=7, top_p=0.8, min_p=0.02), s)[0]
    assert (d.temperature[0], d.top_k[0], d.top_p[0], d.min_p[0]) == (0.4, 7, 0.8, 0.02)
    d = run(policy("dynatemp", low=0.5, high=1.5, exponent=2.0), s)[0]
    assert d.temperature == pytest.approx(0.5 + (np.array([0.5, 2.0]) / math.log(1000)) ** 2)
    d = run(policy("edt", temperature=0.9, theta=0.2), s)[0]
    assert d.temperature == pytest.approx(0.9 * 0.8 ** (0.2 / np.array([0.5, 2.0])))
    d = run(policy("top-n-sigma", n=1.5, temperature=2.0), s)[0]
    assert d.min_p == pytest.approx(math.exp(-1.5 * 2.0 / 2.0))


def test_top_n_sigma_keeps_what_lies_within_n_sigma() -> None:
    from entropix.sampling import apply_filters, top_window
    from entropix.signals import measure

    logits = np.random.default_rng(0).normal(size=(1, 1000)) * 2
    s = measure(logits, asked={"logit_std"})
    d = run(policy("top-n-sigma", n=1.2, temperature=0.8), s)[0]
    window = top_window(logits, 1000)
    kept = np.isfinite(apply_filters(window.logits, d.temperature, d.top_k, d.top_p, d.min_p))[0]
    np.testing.assert_array_equal(kept, window.logits[0] >= logits.max() - 1.2 * logits.std())


@pytest.mark.parametrize(
    ("spec", "values", "words"),
    [
        ("entropics", {}, ["entropics", "entropix", "greedy"]),
        ("sample:heat=2", {}, ["heat", "temperature", "top_p"]),
        ("sample:temperature", {}, ["temperature", "parameter=value"]),
        ("sample:temperature=hot", {}, ["hot", "0 to 10"]),
        ("sample", {"temperature": -0.1}, ["temperature=-0.1", "0 to 10"]),
        ("sample", {"temperature": float("nan")}, ["nan", "0 to 10"]),
        ("sample", {"top_k": 2.5}, ["top_k=2.5", "integer"]),
        ("entropix", {"candidates": 0}, ["candidates=0", "1 to 16"]),
        ("entropix", {"candidates": True}, ["candidates=True"]),
        ("greedy:temperature=1", {}, ["temperature", "none"]),
        ("sample", {"thresholds": 1}, ["thresholds", "temperature", "top_p"]),
        ("sample", {"vocabulary": 1}, ["vocabulary", "temperature", "top_p"]),
    ],
)
def test_bad_parameters_are_named_with_what_is_allowed(spec: str, values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        policy(spec, **values)
    for word in words:
        assert word in str(caught.value)


def test_specs_carry_parameters() -> None:
    with pytest.raises(ParameterError, match="temperature is given twice"):
        parse_spec("sample:temperature=0.5,temperature=0.6")
    assert parse_spec("sample:temperature=0.5,top_k=4") == ("sample", {"temperature": 0.5, "top_k": 4})
    p = policy("entropix:candidates=5,inject=hm", temperature=1)
    assert (p.candidates, p.inject, p.temperature) == (5, "hm", 1.0)
    assert policy("entropix:inject=42").inject == "42"


def test_every_parameter_says_what_it_is() -> None:
    for kind in POLICIES.values():
        assert kind.summary
        for f in parameters(kind).values():
            assert f.metadata["doc"]


def test_a_policy_of_ones_own_needs_only_decide() -> None:
    from dataclasses import dataclass

    from entropix.policies import Policy, parameter, sampled

    @dataclass(frozen=True, kw_only=True)
    class Halves(Policy):
        heat: float = parameter(0.5, 0, 1, doc="temperature")

        def decide(self, signals: Signals, regime: Any, state: Any) -> Any:
            return sampled(regime, like=signals.entropy, temperature=self.heat), state

    assert run(Halves(thresholds=THRESHOLDS), signals([1.0, 2.0], 1.0))[0].temperature.tolist() == [0.5, 0.5]
    with pytest.raises(ParameterError):
        Halves(thresholds=THRESHOLDS, heat=2.0)


def test_what_a_policy_asks_for_must_be_a_signal() -> None:
    class Typo(Greedy):
        name = "typo"
        wants = frozenset({"atention"})

    with pytest.raises(ParameterError, match="policy 'typo' asks for atention; signals are attention, entropy"):
        Typo(thresholds=THRESHOLDS)


def test_a_control_asks_for_what_its_policy_asks_for() -> None:
    for name in POLICIES:
        plain, controlled = policy(name), policy(f"{name}:control=random")
        assert (plain.needs, plain.wants) == (controlled.needs, controlled.wants)
        assert plain.max_candidates == controlled.max_candidates


def test_extreme_coefficients_stay_clamped() -> None:
    p = Entropix(thresholds=THRESHOLDS, temperature_logits=2.0, top_k_interaction=2.0, temperature=1.5, top_k=200)
    d, _ = run(p, signals(100.0, 100.0, (1, 0.25, 0, 1e6)))
    assert d.temperature[0] == 1.5
    assert d.top_k[0] == 200
