"""The place of an answer in its text is where the extractor reads it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.answers.extractors import exact, number
from entropix.answers.spans import NEAR, answer_span


def pieces(text: str) -> list[str]:
    """Tokens, between which a bar stands."""
    return text.split("|")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The| answer| is| |1|8|.", "18"),
        ("1|8| eggs|.| So| the| answer| is| 1|8| eggs|,| as| said|.", " 18"),
        ("First| 1|8|,| then| 2|0|,| and| 1|8", " 18"),
        ("The| answer| is| 18.|5| dollars", " 18.5"),
        ("It| is| 1|,|250|.", " 1,250"),
        ("\\boxed|{|7|}| is| it", "7"),
        ("7", "7"),
    ],
)
def test_the_span_is_the_shortest_run_that_completes_the_last_reading(text: str, found: str) -> None:
    tokens = pieces(text)
    answer = number("".join(tokens))
    assert answer is not None
    span = answer_span(tokens, answer, number)
    assert span is not None
    assert "".join(tokens[span.start : span.stop]) == found


def test_a_text_that_does_not_give_the_answer_has_no_span() -> None:
    assert answer_span(pieces("The| answer| is| 18"), "19", number) is None
    assert answer_span([], "19", number) is None


def test_an_extractor_of_whole_texts_spans_the_text() -> None:
    tokens = ["word "] * (2 * NEAR) + ["end", ""]
    assert answer_span(tokens, "".join(tokens).strip(), exact) == range(0, 2 * NEAR + 1)


@settings(max_examples=25)
@given(before=st.integers(0, 200), after=st.integers(0, 200))
def test_an_answer_far_from_the_end_is_found_too(before: int, after: int) -> None:
    tokens = ["word "] * before + ["The answer is ", "4", "2", "."] + [" more"] * after
    assert answer_span(tokens, "42", number) == range(before + 1, before + 3)
