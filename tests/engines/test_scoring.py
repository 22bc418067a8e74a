"""Log-likelihoods are those of a plain forward over the same tokens, each context is computed once, nothing leaks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.engines import Engine
from entropix.engines.scoring import Score, scores
from entropix.engines.scripted import VOCABULARY, ScriptedEngine, hashed
from entropix.errors import CapacityError

A, B, C = b"abc"
Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]


def known(tokens: tuple[int, ...]) -> np.ndarray:
    """p(a) = 1/2, p(b) = 1/3, p(c) = 1/6 after an a; p(a) = 1/4, p(b) = 3/4 after anything else."""
    logits = np.full(VOCABULARY, -1000.0)
    logits[[A, B, C]] = np.log([3, 2, 1]) + 7 if tokens[-1] == A else np.log([1, 3, 1e-300]) - 5
    return logits


def scored(engine: Engine, pairs: Pairs) -> list[Score]:
    found = dict(scores(engine, pairs))
    assert engine.cells_used() == 0
    return [found[n] for n in range(len(pairs))]


def fresh(engine: Engine, context: Sequence[int], rest: Sequence[int]) -> tuple[float, bool]:
    """The same by one forward a position over everything before it."""
    total, greedy = 0.0, True
    for n, token in enumerate(rest):
        sequence = engine.open()
        logits = np.asarray(engine.forward([(sequence, [*context, *rest[:n]])]).logits[0], float)
        engine.close(sequence)
        total += logits[token] - np.logaddexp.reduce(logits)
        greedy &= int(logits.argmax()) == token
    return total, greedy


def test_scores_equal_values_computed_by_hand() -> None:
    pairs = [([A], [A]), ([A], [A, B]), ([B], [B, B, A]), ([A, B], [A, C]), ([B], [A]), ([A], [])]
    by_hand = [(1 / 2, True), (1 / 6, False), (9 / 64, False), (1 / 24, False), (1 / 4, False), (1, True)]
    for score, (p, greedy) in zip(scored(ScriptedEngine(known), pairs), by_hand, strict=True):
        assert score.logprob == pytest.approx(math.log(p), abs=1e-5)
        assert score.greedy is greedy
    (score,) = scored(ScriptedEngine(known), [([A], [A, A, A])])
    assert score.greedy


tokens = st.lists(st.integers(97, 99), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(tokens, st.lists(st.integers(97, 99), max_size=5)), max_size=12),
    sequences=st.integers(1, 6),
    cells=st.integers(9, 40),
    fork=st.booleans(),
)
def test_scores_are_those_of_a_fresh_forward_however_little_the_engine_holds(
    pairs: Pairs, sequences: int, cells: int, fork: bool
) -> None:
    engine = ScriptedEngine(hashed(), sequences=sequences, cells=cells, fork=fork)
    plain = ScriptedEngine(hashed())
    for score, pair in zip(scored(engine, pairs), pairs, strict=True):
        logprob, greedy = fresh(plain, *pair)
        assert score.logprob == pytest.approx(logprob, abs=1e-4)
        assert score.greedy is greedy


def test_a_shared_context_is_computed_once() -> None:
    engine = ScriptedEngine(sequences=8)
    context = list(range(50))
    scored(engine, [(context, [n, 1, 2]) for n in range(4)] + [(context[1:], [5])])
    assert engine.forwarded == 50 + 4 * 2 + 49  # the last token of each continuation is never forwarded
    assert engine.forwards == 3


def test_what_alone_does_not_fit_is_refused_and_nothing_leaks() -> None:
    engine = ScriptedEngine(context=10, sequences=4)
    with pytest.raises(CapacityError):
        scored(engine, [([1] * 8, [2] * 4), ([1], [2])])
    assert engine.cells_used() == 0


def test_stopping_half_way_leaks_nothing() -> None:
    engine = ScriptedEngine(sequences=2)
    found = scores(engine, [([n], [1, 2]) for n in range(9)])
    next(found)
    found.close()
    assert engine.cells_used() == 0


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_an_engine_that_fails_leaks_nothing(fails_at: int) -> None:
    calls = [0]

    def failing(tokens: tuple[int, ...]) -> np.ndarray:
        calls[0] += 1
        if calls[0] == fails_at:
            raise RuntimeError("broken")
        return known(tokens)

    engine = ScriptedEngine(failing)
    with pytest.raises(RuntimeError, match="broken"):
        scored(engine, [([A], [A, B]), ([A], [B, B, B])])
    assert engine.cells_used() == 0


def test_a_real_engine_scores_as_a_fresh_forward_does(llama_engine: Engine) -> None:
    encode = llama_engine.tokenizer.encode
    context = encode("Question: What is the capital of France?\nAnswer:")
    pairs = [(context, encode(text)) for text in (" Paris", " Berlin", " the city of Rome", " a")]
    pairs += [(context[:3], encode(" some other text")), (encode("x"), encode("y"))]
    found = scored(llama_engine, pairs)
    for score, pair in zip(found, pairs, strict=True):
        logprob, greedy = fresh(llama_engine, *pair)
        assert score.logprob == pytest.approx(logprob, abs=0.05)
        assert score.greedy is greedy
    assert found[0].logprob > found[1].logprob > found[2].logprob
