"""Mirostat follows its paper, cuts where llama.cpp does, and holds its target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from entropix import Model
from entropix.decoding import Decoder, Request
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.policies import make_policy
from entropix.sampling import apply_filters, top_window
from entropix.signals import measure
from entropix.types import Signals, Thresholds
from helpers.llama import U32, Sampler, needs_llama_cpp

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)
ASKED = {"surprisal", "top_logprob"}


def mirostat(tau: float, eta: float = 0.1) -> Any:
    return make_policy("mirostat", THRESHOLDS, 260, tau=tau, eta=eta)


def seen(logits: np.ndarray[Any, Any], surprisal: float) -> Signals:
    signals = measure(logits, asked=ASKED)
    return Signals(
        signals.entropy, signals.varentropy, top_logprob=signals.top_logprob, surprisal=np.array([surprisal])
    )


def test_it_keeps_the_tokens_of_the_paper_and_moves_its_limit_as_the_paper_does() -> None:
    """Algorithm of version 2, in bits as published: keep −log2 p ≤ μ, draw, μ ← μ − η (s − τ)."""
    g = np.random.default_rng(0)
    tau, eta = 2.5, 0.3
    policy = mirostat(tau * math.log(2), eta)
    state = policy.initial(1, np.zeros(1))
    mu, surprisal = 2 * tau, math.nan
    for _ in range(200):
        logits = g.normal(size=(1, 200)) * g.uniform(0.5, 3)
        decisions, state = policy(seen(logits, surprisal), state)
        assert state["mu"][0] / math.log(2) == pytest.approx(mu)
        window = top_window(logits, 200)
        after = apply_filters(window.logits, decisions.temperature, decisions.top_k, decisions.top_p, decisions.min_p)[
            0
        ]
        p = np.exp(window.logits[0]) / np.exp(window.logits[0]).sum()
        kept = max(int((-np.log2(p) <= mu).sum()), 1)
        assert np.isfinite(after).sum() == kept
        np.testing.assert_allclose(np.exp(after[:kept]), p[:kept] / p[:kept].sum(), rtol=1e-9)
        rank = int(g.choice(kept, p=p[:kept] / p[:kept].sum()))
        surprisal = -math.log(p[rank])
        mu -= eta * (-math.log2(p[rank]) - tau)


def test_it_cuts_where_llama_cpp_cuts() -> None:
    needs_llama_cpp()
    g = np.random.default_rng(1)
    for tau in (0.5, 1.5, 3.0):
        for _ in range(20):
            logits = (g.normal(size=(1, 200)) * g.uniform(0.5, 3)).astype(np.float32)
            decisions, _ = mirostat(tau * math.log(2))(
                seen(logits, math.nan), {"mu": np.array([2 * tau * math.log(2)])}
            )
            window = top_window(logits, 200)
            after = apply_filters(
                window.logits, decisions.temperature, decisions.top_k, decisions.top_p, decisions.min_p
            )
            sampler = Sampler("mirostat_v2", U32(1), tau, 0.1)
            left, _ = sampler.apply(logits[0])
            sampler.free()
            assert np.isfinite(after).sum() == len(left)


@pytest.mark.parametrize(("sharpness", "tau"), [(6.0, 0.6), (3.0, 1.7), (2.0, 2.5)])
def test_it_holds_its_target_on_a_scripted_model(sharpness: float, tau: float) -> None:
    decoder = Decoder(ScriptedEngine(hashed(sharpness), context=1024, cells=1024))
    job = decoder.submit(Request(tokens=(7,), policy=mirostat(tau), seed=3, max_tokens=600, ignore_end=True))
    for _ in decoder.run():
        pass
    found = [-step.logprob for step in job.steps if step.logprob is not None]
    assert np.mean(found[50:]) == pytest.approx(tau, abs=0.1)


@pytest.mark.parametrize("tau", [0.5, 1.2])
def test_it_holds_its_target_on_a_real_model(llama_engine: Engine, tau: float) -> None:
    """Over several texts: one alone may repeat itself from some token on, below any target."""
    model = Model(llama_engine)
    asked = ["Write a long story.", "Write a long letter.", "Describe a day in a city.", "Explain how bread is made."]
    held = model.generate(asked, policy=f"mirostat:tau={tau}", seed=3, max_tokens=120)
    plain = model.generate(asked[0], policy="sample:temperature=1.0", seed=3, max_tokens=30)
    found = [-step.logprob for text in held for step in text.steps[40:] if step.logprob is not None]
    assert len(found) > 300
    assert np.mean(found) == pytest.approx(tau, abs=0.25)
    assert plain.surprisal / len(plain.steps) > tau + 0.8, "any sampler would have held it"
