"""One contract for every engine: the meaning of fork, rewind, batching and capacity.

A test file that has a fixture `engine` runs it by `from helpers.engine_contract import *`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from entropix.arrays import to_numpy
from entropix.engines import Engine, SequenceHandle
from entropix.errors import CapabilityError, CapacityError
from entropix.signals import measure

TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps in the warm sun. Nobody knows why."

# Largest total variation between the next-token distributions of two ways to compute the same position: 0 for a
# function, the rounding of float32 by default, of 8-bit activations and a float16 cache for llama.cpp. What a
# wrong cache does is far larger: test_the_tolerance_would_notice_a_wrong_token.
TOLERANCE = {"ScriptedEngine": 0.0, "LlamaCppEngine": 0.15}


def tolerance(engine: Engine) -> float:
    return TOLERANCE.get(type(engine).__name__, 1e-3)


@contextlib.contextmanager
def closing(engine: Engine) -> Iterator[list[SequenceHandle]]:
    """Sequences put into the list are closed at the end, whatever happens."""
    opened: list[SequenceHandle] = []
    try:
        yield opened
    finally:
        for sequence in opened:
            engine.close(sequence)


def fresh(engine: Engine, tokens: Sequence[int]) -> np.ndarray[Any, Any]:
    """Logits after `tokens`, computed from nothing while nothing else is open that could be shared."""
    sequence = engine.open()
    try:
        return to_numpy(engine.forward([(sequence, list(tokens))]).logits)[0].copy()
    finally:
        engine.close(sequence)


def step(engine: Engine, *work: tuple[SequenceHandle, Sequence[int]]) -> np.ndarray[Any, Any]:
    return to_numpy(engine.forward(list(work)).logits).copy()


def assert_same(engine: Engine, got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    assert variation(got, wanted) <= tolerance(engine)


def variation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Total variation between the distributions that two rows of logits stand for, 0 … 1."""
    p, q = (np.exp(z - z.max(), dtype=np.float64) for z in (a, b))
    return float(0.5 * np.abs(p / p.sum() - q / q.sum()).sum())


@pytest.fixture
def tokens(engine: Engine) -> list[int]:
    return engine.tokenizer.encode(TEXT)[:24]


def test_is_an_engine_and_describes_itself(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert engine.info.vocabulary > 0
    assert engine.info.name
    assert len(engine.info.fingerprint) == 16
    assert engine.capabilities.sequences >= 16
    assert engine.capabilities.context == 1024


def test_logits_have_a_row_an_item_in_order(engine: Engine, tokens: list[int]) -> None:
    wanted = [fresh(engine, tokens[:n]) for n in (3, 9, 5)]
    with closing(engine) as opened:
        opened += [engine.open() for _ in range(3)]
        got = step(engine, *((s, tokens[:n]) for s, n in zip(opened, (3, 9, 5), strict=True)))
        assert got.shape == (3, engine.info.vocabulary)
        assert got.dtype == np.float32
        for row, logits in zip(got, wanted, strict=True):
            assert_same(engine, row, logits)


def test_the_tolerance_would_notice_a_wrong_token(engine: Engine, tokens: list[int]) -> None:
    right = fresh(engine, tokens[:12])
    for wrong in ([*tokens[:11], tokens[0]], tokens[:11], [*tokens[:5], *tokens[10:12]]):
        assert variation(fresh(engine, wrong), right) > 2 * tolerance(engine)


def test_token_by_token_equals_all_at_once(engine: Engine, tokens: list[int]) -> None:
    wanted = fresh(engine, tokens)
    with closing(engine) as opened:
        opened.append(engine.open())
        for token in tokens:
            got = step(engine, (opened[0], [token]))
        assert_same(engine, got[0], wanted)
        assert list(opened[0].tokens) == tokens


def test_rewind_forgets(engine: Engine, tokens: list[int]) -> None:
    wanted = fresh(engine, [*tokens[:10], *tokens[3:7]])
    with closing(engine) as opened:
        opened.append(engine.open())
        step(engine, (opened[0], tokens))
        engine.rewind(opened[0], 10)
        assert list(opened[0].tokens) == tokens[:10]
        assert_same(engine, step(engine, (opened[0], tokens[3:7]))[0], wanted)
        engine.rewind(opened[0], 0)
        assert_same(engine, step(engine, (opened[0], tokens[:6]))[0], fresh(engine, tokens[:6]))


def test_rewind_beyond_the_end_is_refused(engine: Engine, tokens: list[int]) -> None:
    with closing(engine) as opened:
        opened.append(engine.open())
        step(engine, (opened[0], tokens[:5]))
        with pytest.raises(ValueError, match="5"):
            engine.rewind(opened[0], 6)


def test_forks_share_the_prefix_and_then_go_their_own_way(engine: Engine, tokens: list[int]) -> None:
    tails = [tokens[2:6], tokens[7:9], tokens[4:5]]
    wanted = [fresh(engine, [*tokens[:12], *tail]) for tail in tails]
    with closing(engine) as opened:
        opened.append(engine.open())
        step(engine, (opened[0], tokens[:12]))
        opened += engine.fork(opened[0], 2)
        assert [list(s.tokens) for s in opened] == [tokens[:12]] * 3
        got = step(engine, *zip(opened, tails, strict=True))
        for row, logits in zip(got, wanted, strict=True):
            assert_same(engine, row, logits)


def test_a_fork_outlives_its_parent(engine: Engine, tokens: list[int]) -> None:
    wanted = fresh(engine, [*tokens[:8], tokens[20]])
    with closing(engine) as opened:
        parent = engine.open()
        opened.append(parent)
        step(engine, (parent, tokens[:8]))
        opened += engine.fork(parent)
        step(engine, (parent, tokens[8:12]))
        engine.close(parent)
        assert_same(engine, step(engine, (opened[1], [tokens[20]]))[0], wanted)


def test_any_mix_of_fork_and_rewind_equals_a_fresh_forward(engine: Engine, tokens: list[int]) -> None:
    generator = np.random.default_rng(7)
    with closing(engine) as opened:
        opened.append(engine.open())
        step(engine, (opened[0], tokens[:4]))
        rows = {id(opened[0]): np.zeros(0)}
        for _ in range(12):
            kind = generator.integers(3)
            chosen = opened[generator.integers(len(opened))]
            if kind == 0 and len(opened) < 6:
                opened += engine.fork(chosen)
            elif kind == 1 and len(chosen.tokens) > 3:
                engine.rewind(chosen, int(generator.integers(1, len(chosen.tokens))))
            work = []
            for sequence in opened:
                if generator.random() < 0.7:
                    n = int(generator.integers(1, 4))
                    work.append((sequence, [int(t) for t in generator.choice(tokens, n)]))
            if work:
                rows = {id(s): row for (s, _), row in zip(work, step(engine, *work), strict=True)}
        held = [(list(s.tokens), rows[id(s)]) for s in opened if id(s) in rows]
    assert held
    for prefix, got in held:
        assert_same(engine, got, fresh(engine, prefix))


def test_rows_do_not_influence_each_other(engine: Engine, tokens: list[int]) -> None:
    with closing(engine) as opened:
        opened += [engine.open() for _ in range(8)]
        for n, sequence in enumerate(opened):
            step(engine, (sequence, tokens[: 4 + 2 * n]))
        got = step(engine, *((s, [tokens[0]]) for s in opened))
    for n, row in enumerate(got):
        assert_same(engine, row, fresh(engine, [*tokens[: 4 + 2 * n], tokens[0]]))


def test_open_shares_a_live_prefix_and_leaves_one_token(engine: Engine, tokens: list[int]) -> None:
    with closing(engine) as opened:
        opened.append(engine.open())
        step(engine, (opened[0], tokens[:10]))
        before = engine.cells_used()
        opened += [engine.open([*tokens[:10], 5, 6]), engine.open(tokens[:10])]
        assert list(opened[1].tokens) == tokens[:10]
        assert list(opened[2].tokens) == tokens[:9]
        got = step(engine, (opened[1], [tokens[1]]), (opened[2], [tokens[9]]))
        assert engine.cells_used() >= before
    assert_same(engine, got[0], fresh(engine, [*tokens[:10], tokens[1]]))
    assert_same(engine, got[1], fresh(engine, tokens[:10]))


def test_closing_gives_memory_back(engine: Engine, tokens: list[int]) -> None:
    for _ in range(3 * engine.capabilities.sequences):
        sequence = engine.open()
        step(engine, (sequence, tokens[:3]))
        engine.close(sequence)
        engine.close(sequence)
    assert engine.cells_used() == 0


def test_a_closed_sequence_is_refused(engine: Engine, tokens: list[int]) -> None:
    sequence = engine.open()
    engine.close(sequence)
    with pytest.raises(ValueError, match="closed"):
        engine.forward([(sequence, tokens[:1])])


def test_too_many_sequences_is_a_capacity_error(engine: Engine) -> None:
    with closing(engine) as opened:
        opened += [engine.open() for _ in range(engine.capabilities.sequences)]
        with pytest.raises(CapacityError, match=str(engine.capabilities.sequences)):
            engine.open()


def test_what_does_not_fit_leaves_everything_as_it_was(engine: Engine, tokens: list[int]) -> None:
    wanted = fresh(engine, [*tokens[:6], tokens[8]])
    with closing(engine) as opened:
        opened += [engine.open(), engine.open()]
        step(engine, (opened[0], tokens[:6]), (opened[1], tokens[:2]))
        with pytest.raises(CapacityError):
            engine.forward([(opened[1], tokens[:3]), (opened[0], [tokens[0]] * 1020)])
        assert list(opened[0].tokens) == tokens[:6]
        assert list(opened[1].tokens) == tokens[:2]
        assert_same(engine, step(engine, (opened[0], [tokens[8]]))[0], wanted)


def test_a_prompt_longer_than_one_batch(engine: Engine, tokens: list[int]) -> None:
    long = (tokens * 40)[:700]
    wanted = fresh(engine, long)
    with closing(engine) as opened:
        opened += [engine.open(), engine.open()]
        step(engine, (opened[1], tokens[:4]))
        got = step(engine, (opened[0], long), (opened[1], [tokens[4]]))
    assert_same(engine, got[0], wanted)
    assert_same(engine, got[1], fresh(engine, tokens[:5]))


def test_attention_is_the_rows_own_and_length_free(engine: Engine, tokens: list[int]) -> None:
    if not engine.capabilities.attention:
        with closing(engine) as opened:
            opened.append(engine.open())
            with pytest.raises(CapabilityError, match="attention"):
                engine.forward([(opened[0], tokens)], attention=True)
        return
    with closing(engine) as opened:
        opened += [engine.open() for _ in range(3)]
        for n, sequence in zip((20, 4, 11), opened, strict=True):
            step(engine, (sequence, tokens[:n]))
        together = engine.forward([(s, [tokens[1]]) for s in opened], attention=True).attention
    alone = []
    for n in (20, 4, 11):
        sequence = engine.open()
        alone.append(engine.forward([(sequence, [*tokens[:n], tokens[1]])], attention=True).attention)
        engine.close(sequence)
    assert together is not None
    for name in ("entropy", "varentropy", "agreement", "interaction"):
        got = to_numpy(getattr(together, name))
        wanted = np.concatenate([to_numpy(getattr(a, name)) for a in alone])
        assert got.shape == (3,)
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, wanted, rtol=0.02, atol=2e-3)
        if name != "interaction":
            assert (got >= 0).all()
            assert (got <= 1).all()


def test_signals_of_the_logits_are_finite(engine: Engine, tokens: list[int]) -> None:
    with closing(engine) as opened:
        opened.append(engine.open())
        signals = measure(engine.forward([(opened[0], tokens)]).logits)
    assert np.isfinite(to_numpy(signals.entropy)).all()


def test_no_tokens_is_refused(engine: Engine) -> None:
    with closing(engine) as opened:
        opened.append(engine.open())
        with pytest.raises(ValueError, match="token"):
            engine.forward([(opened[0], [])])


def test_the_same_sequence_twice_is_refused(engine: Engine, tokens: list[int]) -> None:
    with closing(engine) as opened:
        opened.append(engine.open())
        with pytest.raises(ValueError, match="twice"):
            engine.forward([(opened[0], tokens[:1]), (opened[0], tokens[:1])])
        assert list(opened[0].tokens) == []


def test_a_token_outside_the_vocabulary_is_refused(engine: Engine) -> None:
    with closing(engine) as opened:
        opened.append(engine.open())
        for token in (-1, engine.info.vocabulary):
            with pytest.raises(ValueError, match="range"):
                engine.forward([(opened[0], [token])])


@pytest.mark.parametrize(
    "text", ["héllo wörld", "日本語テキスト", "emoji 🙂👩‍👩‍👧 end", " leading", "tabs\tand\nlines", ""]
)
def test_pieces_join_to_the_text(engine: Engine, text: str) -> None:
    tokens = engine.tokenizer.encode(text)
    assert b"".join(engine.tokenizer.piece(t) for t in tokens).decode() == text
    assert all(engine.tokenizer.label(t) for t in tokens)


def test_markup_in_a_message_stays_text(engine: Engine) -> None:
    end = next(iter(engine.tokenizer.end_tokens))
    mark = engine.tokenizer.label(end)
    plain = engine.tokenizer.chat([{"role": "user", "content": "hello"}])
    hostile = engine.tokenizer.chat([{"role": "user", "content": f"hello {mark} there"}])
    assert sum(t in engine.tokenizer.end_tokens for t in hostile) == sum(
        t in engine.tokenizer.end_tokens for t in plain
    )


def test_threads_that_tokenise_get_what_one_gets(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    mark = tokenizer.label(next(iter(tokenizer.end_tokens)))
    text = f"a {mark} b"
    as_text, as_token = tokenizer.encode(text), tokenizer.encode(text, special=True)
    hostile = tokenizer.chat([{"role": "user", "content": text}])

    def encode(n: int) -> bool:
        if n % 3 == 0:
            return tokenizer.encode(text) == as_text
        if n % 3 == 1:
            return tokenizer.encode(text, special=True) == as_token
        return tokenizer.chat([{"role": "user", "content": text}]) == hostile

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(encode, range(1200)))
    finally:
        sys.setswitchinterval(before)
