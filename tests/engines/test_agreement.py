"""The two real engines on the same model and the same real text: logits and attention signals agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropix.arrays import to_numpy
from entropix.engines import Engine
from entropix.signals import measure

TEXT = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
NAMES = ("entropy", "varentropy", "agreement", "interaction")


def observed(engine: Engine, tokens: list[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Attention signals `(tokens, 4)` and logit entropies `(tokens,)` of each position, token by token."""
    sequence = engine.open()
    rows, entropies = [], []
    try:
        for token in tokens:
            seen = engine.forward([(sequence, [token])], attention=True)
            assert seen.attention is not None
            rows.append([float(to_numpy(getattr(seen.attention, name))[0]) for name in NAMES])
            entropies.append(float(to_numpy(measure(seen.logits).entropy)[0]))
    finally:
        engine.close(sequence)
    return np.array(rows), np.array(entropies)


@pytest.fixture(scope="module")
def both(llama_engine: Engine, transformers_engine: Engine) -> Any:
    tokens = llama_engine.tokenizer.encode(" ".join(TEXT.split()))[:256]
    assert len(tokens) == 256
    assert transformers_engine.tokenizer.encode(" ".join(TEXT.split()))[:256] == tokens
    return observed(llama_engine, tokens), observed(transformers_engine, tokens)


@pytest.mark.parametrize("name", NAMES)
def test_attention_signals_agree(both: Any, name: str) -> None:
    (ours, _), (theirs, _) = both
    column = NAMES.index(name)
    a, b = ours[8:, column], theirs[8:, column]
    difference = float(np.median(np.abs(a - b) / np.abs(b)))
    assert difference <= 0.03, f"{name}: median relative difference {difference:.4f}"
    assert np.corrcoef(a, b)[0, 1] > 0.95


def test_logit_entropies_agree(both: Any) -> None:
    (_, a), (_, b) = both
    assert float(np.median(np.abs(a - b) / b)) <= 0.05


def test_fingerprints_and_end_tokens_agree(llama_engine: Engine, transformers_engine: Engine) -> None:
    assert llama_engine.info.fingerprint == transformers_engine.info.fingerprint
    assert llama_engine.tokenizer.end_tokens & transformers_engine.tokenizer.end_tokens
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "héllo 🙂"}]
    assert llama_engine.tokenizer.chat(messages) == transformers_engine.tokenizer.chat(messages)
