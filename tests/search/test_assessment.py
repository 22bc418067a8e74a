"""What a model says of lettered answers: the mean over all rotations of p of the bare letter, from plain forwards."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import entropix
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import CapacityError, ParameterError
from entropix.search.assessment import MOST, NONE, STEM, Assessment, assess, letters, prompt_of, rotations

QUESTION = "Which is the capital of France?"


def chances(engine: Engine, tokens: Sequence[int]) -> np.ndarray:
    sequence = engine.open(tokens)
    try:
        logits = np.asarray(engine.forward([(sequence, tokens[len(sequence.tokens) :])]).logits)[0].astype(float)
    finally:
        engine.close(sequence)
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


@given(st.integers(1, MOST))
def test_every_option_stands_at_every_place_once(answers: int) -> None:
    turned = list(rotations(answers))
    assert turned[0] == tuple(range(answers + 1))  # the leading one first, none of these last
    for place in range(answers + 1):
        assert sorted(options[place] for options in turned) == list(range(answers + 1))


@given(st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=5, unique=True), st.integers(0, 2**16))
def test_it_is_the_mean_over_the_rotations_of_p_of_the_letter(answers: list[str], seed: int) -> None:
    model = entropix.Model(ScriptedEngine(hashed(2.0, seed), context=1024, cells=8192, sequences=8))
    found = model.assess(QUESTION, answers)
    assert model.engine.forwards == 1, "all rotations are one batch"  # type: ignore[attr-defined]
    shown = [*answers, NONE]
    expected, tokens = np.zeros(len(shown)), 0
    for first in range(len(shown)):
        order = [*range(first, len(shown)), *range(first)]
        prompt = model.encode(prompt_of(QUESTION, [shown[n] for n in order])) + list(STEM.encode())
        tokens += len(prompt)
        p = chances(model.engine, prompt)
        for letter, n in zip(string.ascii_uppercase, order, strict=False):
            expected[n] += p[ord(letter)] / len(shown)
    assert np.allclose([*found.probabilities, found.none], expected, rtol=1e-9)
    assert found.tokens == tokens
    assert model.engine.cells_used() == 0


def test_a_model_that_prefers_a_place_says_nothing_of_the_answers() -> None:
    def first_letter(tokens: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(260)
        logits[ord("A")] = 8.0
        return logits

    found = entropix.Model(ScriptedEngine(first_letter, context=1024, sequences=2)).assess(QUESTION, ["Paris", "Rome"])
    assert found.probabilities == pytest.approx((found.none, found.none))
    assert found.shares == pytest.approx({"Paris": 1 / 3, "Rome": 1 / 3})


def test_the_selector_weighs_counts_with_what_the_model_says() -> None:
    found = Assessment(("9", "8"), (0.2, 0.6), 0.1, 50)
    assert found.select({"9": 5, "8": 3}) == "8"
    assert found.select({"9": 5, "8": 3}, strength=0) == "9"
    assert found.select({"9": 6, "8": 2}) == "9"  # of equals the leading one
    assert found.select({"8": 1, "never shown": 7}) == "8"
    for counts, strength in (({"7": 2.0}, 1.0), ({"9": 1.0}, -1.0), ({"9": 1.0}, float("nan"))):
        with pytest.raises(ParameterError):
            found.select(counts, strength)


@pytest.mark.parametrize("answers", [[], ["x"] * 2, [str(n) for n in range(MOST + 1)]])
def test_lists_that_cannot_be_asked_about_are_refused(answers: list[str]) -> None:
    model = entropix.Model(ScriptedEngine(hashed(), context=1024))
    with pytest.raises(ParameterError, match="answer"):
        model.assess(QUESTION, answers)


def test_a_question_that_does_not_fit_is_refused_and_nothing_is_left() -> None:
    model = entropix.Model(ScriptedEngine(hashed(), context=64, sequences=2))
    with pytest.raises(CapacityError):
        model.assess("long " * 40, ["a", "b"])
    assert model.engine.cells_used() == 0


def test_an_answer_may_be_called_none_of_these() -> None:
    found = entropix.Model(ScriptedEngine(hashed(), context=1024, sequences=4)).assess(QUESTION, [NONE, "Rome 🏛"])
    assert found.answers == (NONE, "Rome 🏛")
    assert sum(found.shares.values()) < 1


def test_real_models_have_bare_letters_and_prefer_what_is_right(smollm2_engine: Engine) -> None:
    tokens = letters(smollm2_engine.tokenizer, MOST + 1)
    assert [smollm2_engine.tokenizer.piece(t).decode() for t in tokens] == list(string.ascii_uppercase[: MOST + 1])
    model = entropix.Model(smollm2_engine)
    found = assess(smollm2_engine, model.encode, QUESTION, ["Rome", "Paris", "Lyon"])
    assert 0 < sum(found.probabilities) + found.none <= 1 + 1e-9
    assert max(found.shares, key=lambda answer: found.shares[answer]) == "Paris"


class Pieces:
    """A tokenizer whose tokens are what a pattern finds."""

    def __init__(self, pattern: str) -> None:
        self.pattern = re.compile(pattern)
        self.known: list[str] = []

    def encode(self, text: str, *, begin: bool = False, special: bool = False) -> list[int]:
        found = self.pattern.findall(text)
        self.known += [piece for piece in found if piece not in self.known]
        return [self.known.index(piece) for piece in found]

    def piece(self, token: int) -> bytes:
        return self.known[token].encode()


def test_a_letter_is_the_token_that_follows_the_stem() -> None:
    """The pre-tokenizer of Qwen, Llama 3 and gpt-4o takes a sign together with the letters behind it: "(A" is a token,
    and so is the letter behind " (", where a text continues with it."""
    tokenizer = Pieces(r"[^\s\w]?[A-Za-z]+| ?[^\s\w]+|\s")
    assert tokenizer.encode("(A") == tokenizer.encode("(A")[:1]
    assert [tokenizer.piece(token) for token in letters(cast(Any, tokenizer), 3)] == [b"A", b"B", b"C"]


def test_a_vocabulary_without_bare_letters_is_refused() -> None:
    with pytest.raises(ParameterError, match="no token of the letter 'A'"):
        letters(cast(Any, Pieces(r" ?\(?[A-Za-z]+:?| ?\(")), 2)
