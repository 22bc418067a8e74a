"""The thirteen mistakes of earlier implementations (docs/method.md), each with a check that fails on the mistake.

Every check is run twice: on our code, which must pass, and on the mistake itself, which must not. So a check that
could not fail would be noticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from entropix.arrays import to_numpy
from entropix.decoding import Decoder, Request
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine
from entropix.policies import make_policy
from entropix.sampling import Window, apply_filters, choose, keyed_gumbel, noise_key
from entropix.signals import attention_signals, measure
from entropix.types import Action, Decisions, Regime, Signals, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)
Check = Callable[[Callable[..., Any]], None]


def holds_for_us_and_not_for(check: Check, ours: Callable[..., Any], mistake: Callable[..., Any]) -> None:
    check(ours)
    with pytest.raises(AssertionError):
        check(mistake)


def decisions(rows: int, **values: Any) -> Decisions:
    defaults = {"action": 0, "regime": 4, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "candidates": 1}
    return Decisions(**{k: np.full(rows, values.get(k, v)) for k, v in defaults.items()})


def key(seed: int, position: int) -> Any:
    return np.array([noise_key(seed, position)], np.int64)


def kept(logits: Any, top_p: float = 1.0, min_p: float = 0.0) -> Any:
    """The filtered distribution of one descending row, by our filters."""
    d = decisions(1, top_p=top_p, min_p=min_p)
    return np.exp(apply_filters(np.asarray(logits, float)[None], d.temperature, d.top_k, d.top_p, d.min_p))[0]


def test_1_top_p_keeps_the_likeliest_tokens_of_a_flat_distribution() -> None:
    def check(top_p: Callable[..., Any]) -> None:
        logits = np.linspace(0.5, 0.0, 50)
        assert (top_p(logits, 0.3)[:10] > 0).all()

    def ascending(logits: Any, top_p: float) -> Any:
        p = np.exp(logits) / np.exp(logits).sum()
        p[np.cumsum(p[::-1])[::-1] > top_p] = 0
        return p

    holds_for_us_and_not_for(check, kept, ascending)


def test_2_min_p_acts() -> None:
    def check(min_p: Callable[..., Any]) -> None:
        assert (min_p(np.log([0.6, 0.3, 0.05, 0.05])) > 0).tolist() == [True, True, False, False]

    def after_the_fact(logits: Any) -> Any:
        p = np.exp(logits)
        logits[p < 0.1 * p.max()] = -np.inf  # nobody looks at the logits again
        return p

    holds_for_us_and_not_for(check, lambda logits: kept(logits, min_p=0.1), after_the_fact)


def test_3_clarify_injects_text_in_the_model_s_own_tokens(engine: Engine) -> None:
    def check(injection: Callable[[Engine, str], Any]) -> None:
        text = b"".join(engine.tokenizer.piece(t) for t in injection(engine, "Wait, let me think."))
        assert text.decode(errors="replace") == "Wait, let me think."

    def ours(engine: Engine, text: str) -> Any:
        policy = make_policy("entropix", THRESHOLDS, engine.info.vocabulary, inject=text)
        return Decoder(engine).submit(Request(tokens=[1], policy=policy)).injection

    holds_for_us_and_not_for(check, ours, lambda engine, text: [2564 % engine.info.vocabulary])


def test_4_each_row_has_its_own_regime() -> None:
    def check(regimes: Callable[..., Any]) -> None:
        h, v = np.array([0.0, 5.0, 0.1]), np.array([0.0, 5.0, 0.1])
        assert regimes(h, v).tolist() == [Regime.FLOW, Regime.RESAMPLE, Regime.FLOW]

    policy = make_policy("entropix", THRESHOLDS, 100)

    def averaged(h: Any, v: Any) -> Any:
        return policy.regimes(Signals(np.full_like(h, h.mean()), np.full_like(v, v.mean())))

    holds_for_us_and_not_for(check, lambda h, v: policy.regimes(Signals(h, v)), averaged)


def test_5_attention_signals_do_not_see_padding() -> None:
    scores = np.random.default_rng(0).normal(size=(1, 4, 12)) * 3

    def check(signals: Callable[..., Any]) -> None:
        alone = signals(scores, np.ones((1, 12), bool))
        padded = signals(
            np.concatenate([scores, np.zeros((1, 4, 500))], axis=-1),
            np.concatenate([np.ones(12), np.zeros(500)])[None] > 0,
        )
        for name in ("entropy", "varentropy", "agreement", "interaction"):
            assert getattr(padded, name) == pytest.approx(getattr(alone, name), rel=1e-9)

    holds_for_us_and_not_for(check, attention_signals, lambda scores, valid: attention_signals(scores))


def test_6_agreement_rises_with_agreement_and_not_with_length() -> None:
    def check(agreement: Callable[..., Any]) -> None:
        def heads(keys: int, together: bool) -> Any:
            scores = np.full((1, 4, keys), -40.0)
            scores[0, range(4), [0] * 4 if together else range(4)] = 40.0
            return float(agreement(scores)[0])

        assert heads(10, True) > heads(10, False)
        assert heads(10, False) == pytest.approx(heads(1000, False))

    def deviation(scores: Any) -> Any:
        a = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        return np.abs(a - a.mean(1, keepdims=True)).mean((1, 2))

    holds_for_us_and_not_for(check, lambda scores: attention_signals(scores).agreement, deviation)


def test_7_noise_differs_by_step_and_by_candidate() -> None:
    def check(noise: Callable[..., Any]) -> None:
        ids = np.arange(100)[None]
        first, second = noise(key(1, 5), ids), noise(key(1, 6), ids)
        assert np.abs(first - second).min() > 1e-6
        assert len(np.unique(first)) == 100

    def one_key(keys: Any, ids: Any) -> Any:
        return np.random.default_rng(1337).gumbel(size=ids.shape)

    holds_for_us_and_not_for(check, keyed_gumbel, one_key)


def test_8_best_of_n_depends_on_the_candidates() -> None:
    row = np.log(np.array([0.4, 0.25, 0.2, 0.15]))

    def check(best: Callable[..., Any]) -> None:
        ranks = [best(position) for position in range(60)]
        wins = np.mean([rank == 0 for rank in ranks])
        one_draw = 0.4
        assert wins > one_draw + 0.2

    def ours(position: int) -> int:
        window = Window(np.arange(4)[None], row[None])
        return int(choose(window, decisions(1, candidates=3), key(0, position)).ranks[0])

    def constant_score(position: int) -> int:
        window = Window(np.arange(4)[None], row[None])
        choice = choose(window, decisions(1, candidates=3), key(0, position))
        assert choice.drawn is not None
        scores = np.full(3, 1.7)  # what the earlier score amounted to
        return int(choice.drawn[0][scores.argmax()])

    holds_for_us_and_not_for(check, ours, constant_score)


def test_9_regimes_do_not_overlap_and_all_can_be_reached() -> None:
    h, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 6, 150), np.linspace(0, 6, 150)))

    def check(regimes: Callable[..., Any]) -> None:
        assert set(np.asarray(regimes(h, v)).tolist()) == set(Regime)

    def overlapping(h: Any, v: Any) -> Any:
        t = THRESHOLDS
        out = np.full(h.shape, int(Regime.RESAMPLE))  # the default swallows what should adapt
        out[(h < t.entropy_high) & (v > t.varentropy_high)] = Regime.BRANCH
        out[(h > t.entropy_high) & (v < t.varentropy_low)] = Regime.CLARIFY
        out[(h < t.entropy_low) & (v < t.varentropy_low)] = Regime.FLOW
        return out

    policy = make_policy("entropix", THRESHOLDS, 100)
    holds_for_us_and_not_for(check, lambda h, v: policy.regimes(Signals(h, v)), overlapping)


def test_10_state_is_carried_to_the_next_step() -> None:
    policy = make_policy("entropix", THRESHOLDS, 100, inject_cooldown=5, inject_max=9)
    signals = Signals(np.array([3.0]), np.array([0.1]))

    def check(actions: Callable[[int], list[int]]) -> None:
        assert actions(6) == [Action.INJECT, 0, 0, 0, 0, 0]

    def ours(n: int) -> list[int]:
        state = policy.initial(1, signals.entropy)
        out = []
        for _ in range(n):
            decided, state = policy(signals, state)
            out.append(int(decided.action[0]))
        return out

    def forgetful(n: int) -> list[int]:
        return [int(policy(signals, policy.initial(1, signals.entropy))[0].action[0]) for _ in range(n)]

    holds_for_us_and_not_for(check, ours, forgetful)


def test_10_the_loop_carries_the_state_too() -> None:
    engine = ScriptedEngine(lambda tokens: np.zeros(260))  # H = ln 260, V = 0: clarify at every step
    policy = make_policy("entropix", THRESHOLDS, 260, inject="..", inject_cooldown=4, inject_max=9)
    decoder = Decoder(engine)
    job = decoder.submit(Request(tokens=[1], policy=policy, max_tokens=14, ignore_end=True))
    other = Request(tokens=[2], policy=policy, max_tokens=3, ignore_end=True)
    decoder.submit(other)  # leaves the batch early; the row that stays keeps its own state
    list(decoder.run())
    kinds = "".join("i" if s.action == Action.INJECT else "s" for s in job.steps)
    assert kinds == "iissssiissssii"


def test_11_a_fused_kernel_still_shows_attention(smollm2_engine: Engine) -> None:
    tokens = smollm2_engine.tokenizer.encode("The cat sat on the mat because it was tired.")

    def check(shown: Callable[[], Any]) -> None:
        attention = shown()
        assert attention is not None
        assert 0.01 < float(to_numpy(attention.entropy)[0]) < 0.99

    def ours() -> Any:
        sequence = smollm2_engine.open()
        try:
            return smollm2_engine.forward([(sequence, tokens)], attention=True).attention
        finally:
            smollm2_engine.close(sequence)

    holds_for_us_and_not_for(check, ours, lambda: None)


def test_12_a_lost_model_is_not_heated_to_two() -> None:
    def check(temperature: Callable[..., float]) -> None:
        for h, v in ((2.1, 1.6), (5.0, 4.0), (11.0, 30.0)):
            assert temperature(h, v) <= 1.5

    def ours(spec: str) -> Callable[..., float]:
        policy = make_policy(spec, THRESHOLDS, 100)

        def temperature(h: float, v: float) -> float:
            signals = Signals(np.array([h]), np.array([v]))
            return float(policy(signals, policy.initial(1, signals.entropy))[0].temperature[0])

        return temperature

    for spec in ("entropix", "entropix-2024"):
        holds_for_us_and_not_for(check, ours(spec), lambda h, v: max(2.0, 0.666 * 2))


def test_13_nats_everywhere() -> None:
    logits = np.zeros((1, 1024), np.float32)

    def check(entropy: Callable[..., Any]) -> None:
        assert float(entropy(logits)[0]) == pytest.approx(math.log(1024))

    holds_for_us_and_not_for(check, lambda z: measure(z).entropy, lambda z: measure(z).entropy / math.log(2))
    uniform = attention_signals(np.zeros((1, 2, 64)))
    assert float(uniform.entropy[0]) == pytest.approx(1.0), "attention entropy is relative, so it has no unit"
