"""What transformers shows of its models by itself, and random work whose results are held against it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from entropix.signals.attention import attention_signals

Work = list[tuple[Any, list[int]]]


def plain_logits(model: Any, tokens: list[int]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return np.asarray(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].float())


def eager_attention(model: Any, tokens: list[int], layer: int) -> np.ndarray[Any, Any]:
    """(heads, tokens) weights of the last query, from the library's own eager attention."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            out = model(torch.tensor([tokens]), use_cache=False, output_attentions=True)
    finally:
        model.set_attn_implementation(before)
    return np.asarray(out.attentions[layer][0, :, -1].double())


def assert_shows(attention: Any, row: int, weights: np.ndarray[Any, Any]) -> None:
    """That the signals of a row are those of these weights."""
    wanted = attention_signals(np.log(np.maximum(weights, 1e-300))[None])
    for name in ("entropy", "varentropy", "agreement"):
        np.testing.assert_allclose(getattr(attention, name)[row], getattr(wanted, name)[0], atol=1e-5)


def mixed_work(engine: Any, draw: Callable[[int], list[int]], context: int) -> Iterator[Work]:
    """Sixty random openings, forks, rewinds, closings and forwards on an engine of five sequences; the work of each
    forward, which the caller does before the next. draw: so many tokens."""
    live: list[Any] = []
    for _ in range(60):
        choice = random.randrange(6)
        work: Work = []
        if choice == 0 and len(live) < 5:
            wanted = (random.choice(live).tokens[:-1] if live and random.random() < 0.5 else []) + draw(6)
            live.append(engine.open(wanted[:30]))
            work = [(live[-1], wanted[:30][len(live[-1].tokens) :])]
        elif choice == 1 and 0 < len(live) < 5:
            live += engine.fork(random.choice(live))
        elif choice == 2 and live:
            chosen = random.choice(live)
            engine.rewind(chosen, random.randint(0, len(chosen.tokens)))
        elif choice == 3 and live:
            engine.close(live.pop(random.randrange(len(live))))
        elif live:
            rows = random.sample(live, random.randint(1, len(live)))
            work = [(row, draw(random.choice([1, 1, 3, 8]))) for row in rows]
            work = [(row, tokens) for row, tokens in work if len(row.tokens) + len(tokens) <= context]
        if work:
            yield work
