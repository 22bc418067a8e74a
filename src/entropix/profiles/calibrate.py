"""Measure a model on its own text and write down where its regimes begin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources

import numpy as np

from entropix.decoding import Decoder, Job, Request
from entropix.engines import Engine
from entropix.errors import ParameterError, PromptError
from entropix.policies import make_policy
from entropix.profiles.library import generic
from entropix.profiles.profile import Profile
from entropix.types import ATTENTION, Step, Thresholds

DECODING = "sample:temperature=0.7,top_p=0.95"
"""How the measured text is sampled: as people use models, neither greedy loops nor the drift of temperature 1."""

LOW, HIGH = 50, 95
PERCENTS = (5, 25, 50, 75, 80, 90, 95, 99)


def default_prompts() -> list[str]:
    """The prompts that shipped profiles are measured on: facts, reasoning, arithmetic, code, prose, chat."""
    text = (resources.files("entropix.profiles") / "prompts.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def calibrate(
    engine: Engine,
    prompts: Sequence[str] | None = None,
    *,
    name: str = "",
    tokens: int = 128,
    seed: int = 0,
    low: float = LOW,
    high: float = HIGH,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Decode `tokens` tokens after each prompt and return the quantiles of the signals as a profile.

    Prompts are user messages where the model has a chat template, else plain text. H_low and V_low are the
    `low` percentile, H_high and V_high the `high` one. `progress` is called with (tokens done, tokens at most).
    Raises PromptError for an empty list, ParameterError for impossible percentiles.
    """
    texts = list(default_prompts() if prompts is None else prompts)
    if not texts:
        raise PromptError("calibrate: there are no prompts; give at least one, a line each")
    if not 0 < low < high < 100:
        raise ParameterError(f"calibrate: low={low:g} and high={high:g} must satisfy 0 < low < high < 100")
    policy = make_policy(DECODING, generic(engine.info).thresholds, engine.info.vocabulary)
    decoder = Decoder(engine)
    attention = engine.capabilities.attention
    jobs: list[Job] = []
    for n, text in enumerate(texts):
        prompt = _prompt_tokens(engine, text)
        request = Request(
            tokens=prompt, policy=policy, seed=seed + n, max_tokens=tokens, attention=attention, leading=0
        )
        jobs.append(decoder.submit(request, n))
    total = tokens * len(jobs)
    for event in decoder.run():
        if progress is not None and event.step is None:
            ended = sum(tokens for job in jobs if job.finish_reason)
            running = sum(len(job.tokens) for job in jobs if not job.finish_reason)
            progress(ended + running, total)
    steps = [step for job in jobs for step in job.steps]
    return profile_of(steps, engine, name=name, low=low, high=high, prompts=texts)


def profile_of(
    steps: Sequence[Step], engine: Engine, *, name: str, low: float, high: float, prompts: Sequence[str]
) -> Profile:
    """The profile that these steps' signals give."""
    entropy = np.array([s.entropy for s in steps])
    varentropy = np.array([s.varentropy for s in steps])
    attention = {}
    shown = np.array([s.attention for s in steps if s.attention is not None])
    if len(shown):
        for column, signal in zip(shown.T, ATTENTION, strict=True):
            quarter, median, three = np.percentile(column, [25, 50, 75])
            attention[signal] = (round(float(median), 6), round(float((three - quarter) / 1.349), 6))
    info = engine.info
    h, v = np.percentile(entropy, [low, high]), np.percentile(varentropy, [low, high])
    return Profile(
        name=name or info.name,
        fingerprint=info.fingerprint,
        vocabulary=info.vocabulary,
        thresholds=Thresholds(
            entropy_low=round(float(h[0]), 6),
            entropy_high=round(max(float(h[1]), float(h[0]) + 1e-3), 6),
            varentropy_low=round(float(v[0]), 6),
            varentropy_high=round(max(float(v[1]), float(v[0]) + 1e-3), 6),
            attention=attention,
        ),
        quantiles={
            signal: {str(p): round(float(q), 6) for p, q in zip(PERCENTS, np.percentile(x, PERCENTS), strict=True)}
            for signal, x in (("entropy", entropy), ("varentropy", varentropy))
        },
        tokens=len(steps),
        prompts=hashlib.sha256("\n".join(prompts).encode()).hexdigest(),
        decoding=DECODING,
        source="measured",
    )


def _prompt_tokens(engine: Engine, text: str) -> list[int]:
    tokenizer = engine.tokenizer
    if tokenizer.has_chat_template:
        return tokenizer.chat([{"role": "user", "content": text}])
    return tokenizer.encode(text, begin=True)
