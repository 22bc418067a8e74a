"""Filters and penalties: those of llama.cpp, on the same logits; and that a batch keeps every row's own."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix import Model
from entropix.decoding.step import draw
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import ParameterError
from entropix.sampling import WINDOW, Filters, Repetition, make_filters, noise_key, survivors, top_window
from entropix.sampling.repetition import penalise, repeated
from entropix.types import Decisions
from helpers.llama import U32, Sampler, needs_llama_cpp

SIZE = 200
KEEP = ctypes.c_size_t(1)
"""What llama.cpp's filters leave at least."""


def logits_of(seed: int, scale: float = 3.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32) * np.float32(scale)


def theirs(logits: np.ndarray[Any, Any], sampler: Sampler, last: Sequence[int] = ()) -> dict[int, float]:
    """Token → logit of what a sampler of llama.cpp leaves."""
    for token in last:
        sampler.accept(token)
    left, _ = sampler.apply(logits)
    sampler.free()
    return left


def ours(logits: np.ndarray[Any, Any], filters: Filters, xp: Any = np) -> set[int]:
    window = top_window(xp.asarray(logits)[None], WINDOW)
    p = np.exp(logits.astype(float) - logits.max())
    p /= p.sum()
    entropy = xp.asarray([-float((p * np.log(p)).sum())])
    keep = survivors(filters, window.logits, entropy, xp.asarray([noise_key(1, 2)]))
    return {int(t) for t in np.asarray(window.ids)[0][np.asarray(keep)[0]]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize(
    ("filters", "make"),
    [
        (Filters(top_k=7), ("top_k", 7)),
        (Filters(min_p=0.08), ("min_p", 0.08, KEEP)),
        (Filters(typical=0.6), ("typical", 0.6, KEEP)),
        (Filters(typical=0.2), ("typical", 0.2, KEEP)),
        (Filters(xtc_probability=1.0, xtc_threshold=0.04), ("xtc", 1.0, 0.04, KEEP, U32(1))),
        (Filters(xtc_probability=1.0, xtc_threshold=0.3), ("xtc", 1.0, 0.3, KEEP, U32(1))),
    ],
    ids=["top_k", "min_p", "typical", "typical-few", "xtc", "xtc-high"],
)
def test_a_filter_leaves_what_llama_cpps_leaves(seed: int, scale: float, filters: Filters, make: Any) -> None:
    needs_llama_cpp()
    logits = logits_of(seed, scale)
    assert ours(logits, filters) == set(theirs(logits, Sampler(*make)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("asked", "make"),
    [
        (Repetition(repetition=1.3), ("penalties", SIZE, 64, 1.3, 0.0, 0.0)),
        (Repetition(presence=0.7, frequency=0.4), ("penalties", SIZE, 64, 1.0, 0.4, 0.7)),
        (Repetition(repetition=0.8, last=3), ("penalties", SIZE, 3, 0.8, 0.0, 0.0)),
    ],
    ids=["repetition", "counts", "last"],
)
def test_a_penalty_changes_logits_as_llama_cpps_does(seed: int, asked: Repetition, make: Any) -> None:
    needs_llama_cpp()
    logits = logits_of(seed)
    said = np.random.default_rng(seed).integers(0, 9, 20).tolist()
    found = logits.copy()
    penalise(found, asked, [], said, np, lambda token: False)
    wanted = theirs(logits, Sampler(*make), said)
    assert found == pytest.approx(np.array([wanted[i] for i in range(SIZE)]), abs=1e-5)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=0, max_size=24), st.integers(0, 4))
def test_repeated_tokens_are_those_that_a_plain_search_finds(tokens: list[int], allowed: int) -> None:
    found = repeated(tokens, allowed, lambda token: token == 3)
    back = next((n for n, token in enumerate(reversed(tokens)) if token == 3), len(tokens))
    wanted: dict[int, int] = {}
    for end in range(len(tokens) - 1):
        length = 0
        while length < back and length <= end and tokens[end - length] == tokens[len(tokens) - 1 - length]:
            length += 1
        following = tokens[end + 1]
        if length >= allowed and following != 3 and length > wanted.get(following, -1):
            wanted[following] = length
    assert found == (wanted if len(tokens) > allowed and back >= allowed else {})


def test_dry_is_what_llama_cpps_is(llama_engine: Any) -> None:
    engine, tokenizer = llama_engine, llama_engine.tokenizer
    text = "one two three four.\none two three four. one two three"
    tokens = tokenizer.encode(text)
    logits = np.random.default_rng(0).normal(size=engine.info.vocabulary).astype(np.float32)
    breakers = (ctypes.c_char_p * 4)(b"\n", b":", b'"', b"*")
    vocab = tokenizer._vocab
    four = ctypes.c_size_t(4)
    sampler = Sampler("dry", ctypes.c_void_p(vocab), 0.8, 1.75, 2, 1024, breakers, four)
    wanted = theirs(logits, sampler, tokens)
    found = logits.copy()
    breaks = lambda token: any(text in tokenizer.piece(token) for text in (b"\n", b":", b'"', b"*"))  # noqa: E731
    penalise(found, Repetition(dry_multiplier=0.8), tokens, [], np, breaks)
    assert found == pytest.approx(np.array([wanted[i] for i in range(len(logits))]), abs=1e-4)
    assert (found != logits).any()


@pytest.mark.parametrize("scale", [0.3, 3.0])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_top_h_keeps_as_much_entropy_as_it_may_and_no_more(scale: float, share: float) -> None:
    logits = logits_of(5, scale)
    p = np.exp(logits.astype(float) - logits.max())
    p /= p.sum()
    order = np.argsort(-p)
    most = -share * float((p * np.log(p)).sum())

    def entropy(n: int) -> float:
        q = p[order[:n]] / p[order[:n]].sum()
        return -float((q * np.log(q)).sum())

    wanted = next(n for n in range(1, SIZE + 1) if n == SIZE or entropy(n + 1) > most)
    assert ours(logits, Filters(top_h=share)) == set(order[:wanted].tolist())


ALL = Filters(top_k=50, typical=0.9, min_p=0.01, top_h=0.8, xtc_probability=0.5, xtc_threshold=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_numpy_and_torch_agree(seed: int) -> None:
    torch = pytest.importorskip("torch")
    logits = logits_of(seed, 1.0)
    assert ours(logits, ALL) == ours(logits, ALL, torch)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 1))
def test_something_always_survives(seed: int, typical: float, min_p: float, threshold: float, top_h: float) -> None:
    filters = Filters(typical=typical, min_p=min_p, xtc_probability=1.0, xtc_threshold=threshold, top_h=top_h)
    assert ours(logits_of(seed, 4.0), filters)


def test_a_draw_is_among_what_is_kept_and_its_rank_is_of_the_window() -> None:
    logits = logits_of(3)[None]
    window = top_window(logits, WINDOW)
    keep = np.zeros(window.logits.shape, np.bool_)
    keep[0, [4, 9]] = True
    columns = {"action": 0, "regime": 0, "top_k": 0, "candidates": 1}
    whole = {name: np.array([value]) for name, value in columns.items()}
    real = {"temperature": np.array([1.0]), "top_p": np.array([1.0]), "min_p": np.array([0.0])}
    seen = set()
    for seed in range(40):
        key = np.array([noise_key(seed, 0)])
        _, choice = draw(logits, window, Decisions(**whole, **real), key, (keep, np.array([True])))
        assert window.ids[0, choice.ranks[0]] == choice.tokens[0]
        assert choice.filtered is not None
        assert [r for r, z in enumerate(choice.filtered[0].tolist()) if z > -math.inf] == [4, 9]
        seen.add(int(choice.ranks[0]))
    assert seen == {4, 9}


def test_filters_are_written_and_read() -> None:
    assert make_filters(str(ALL)) == ALL
    assert not make_filters(None).active
    with pytest.raises(ParameterError, match="out of range"):
        make_filters("min_p=2")
    with pytest.raises(ParameterError, match="there is no parameter"):
        make_filters("nope=1")


def test_every_answer_of_a_batch_has_its_own_filters() -> None:
    model = Model(ScriptedEngine(hashed(2.0)))
    asked: list[dict[str, Any]] = [
        {},
        {"filters": "top_k=1"},
        {"repetition": "repetition=5"},
        {"filters": "xtc_probability=1,xtc_threshold=0"},
    ]
    alone = [model.generate("x", seed=3, policy="sample:temperature=1", max_tokens=12, **o).text for o in asked]
    assert len(set(alone)) == 4
    from entropix.decoding import Decoder

    decoder = Decoder(model.engine)
    jobs = [
        decoder.submit(model.request("x", seed=3, policy="sample:temperature=1", max_tokens=12, **o)) for o in asked
    ]
    list(decoder.run())
    assert [job.stream.text for job in jobs] == alone


def test_dry_ends_a_loop() -> None:
    model = Model(ScriptedEngine(saying("la la la la la la la la la la", certainty=4.0)))
    looped = model.generate("x", policy="greedy", max_tokens=29).text
    assert looped.count("la") == 10
    assert model.generate("x", policy="greedy", max_tokens=29, repetition="dry_multiplier=2").text != looped
