"""Requests to a scripted model, for tests that do by hand what a model runner does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from vllm.sampling_params import SamplingParams

from entropix.decoding import Decoder, Request
from entropix.engines.scripted import VOCABULARY, ScriptedEngine, ScriptedTokenizer
from entropix.plugins.vllm.asking import read
from entropix.plugins.vllm.model import Served
from entropix.profiles import Profile
from entropix.types import Thresholds

THRESHOLDS = Thresholds(entropy_low=0.4, entropy_high=3.0, varentropy_low=0.4, varentropy_high=3.5)
SERVED = Served(
    Profile("scripted", "", VOCABULARY, THRESHOLDS),
    VOCABULARY,
    None,
    lambda text: tuple(ScriptedTokenizer().encode(text)),
)
LONGEST = 48
SPECS = (
    "entropix:inject=ab,inject_cooldown=2,inject_max=3,temperature=1.0",
    "entropix:inject=xyz,inject_cooldown=5,inject_max=2",
    "entropix:inject=,control=random",
    "entropix-2024",
    "top-n-sigma",
    "mirostat:tau=2.0",
    "greedy",
)


@lru_cache(maxsize=65536)
def script(tokens: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Logits that depend on every token, from flat to sharp, so that all regimes occur."""
    digest = hashlib.sha256(repr(tokens).encode()).digest()
    out = np.random.default_rng(int.from_bytes(digest[:8], "little")).normal(size=VOCABULARY)
    return (out * (0.3, 0.5, 1.5, 3.0, 9.0)[digest[8] % 5]).astype(np.float32)


@lru_cache(maxsize=4096)
def expected(prompt: tuple[int, ...], spec: str, seed: int, most: int) -> tuple[int, ...]:
    """What our own decoder says."""
    asked = read({"entropix": spec})
    assert asked is not None
    decoder = Decoder(ScriptedEngine(script, attention=False))
    policy = asked.make(THRESHOLDS, VOCABULARY)
    job = decoder.submit(Request(tokens=prompt, policy=policy, seed=seed, max_tokens=most, ignore_end=True))
    for _ in decoder.run():
        pass
    return tuple(job.trunk.tokens)


@dataclass(eq=False)
class Asking:
    """A request, and what it has said."""

    name: str
    prompt: tuple[int, ...]
    spec: str | None
    seed: int
    most: int
    said: list[int] = field(default_factory=list)
    computed: int = 0
    known: int = 0
    last: int = 0

    @property
    def tokens(self) -> list[int]:
        return [*self.prompt, *self.said]

    @property
    def right(self) -> tuple[int, ...]:
        """What it must say; a request that does not ask takes the likeliest tokens."""
        return expected(self.prompt, self.spec or "greedy", self.seed, self.most + 8)

    @property
    def sampling(self) -> SamplingParams:
        extra = {} if self.spec is None else {"entropix": self.spec}
        return SamplingParams(temperature=0.0, seed=self.seed, max_tokens=self.most, extra_args=extra)


asking = st.builds(
    Asking,
    name=st.just(""),
    prompt=st.lists(st.integers(0, 255), min_size=1, max_size=6).map(tuple),
    spec=st.sampled_from([None, *SPECS]),
    seed=st.integers(0, 3),
    most=st.integers(1, 24),
)
