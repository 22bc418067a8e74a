"""Two phrasings of one answer are one vote."""

from __future__ import annotations

import pytest

from entropix.errors import ParameterError
from entropix.search.answers import boxed, choice, extractor, number


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("He has 3 + 4 = 7 apples.", "7"),
        ("The answer is 1,234.50 dollars. That was 3 steps.", "1234.5"),
        ("#### 42", "42"),
        ("so \\boxed{\\$18} in 2 days", "18"),
        ("It is −5", "-5"),
        ("x = 0.0", "0"),
        ("Answer: 5 + 6 = 11", "11"),
        ("The answer is 07", "7"),
        ("H2O has none", None),
        ("none at all 🙂", None),
        ("", None),
    ],
)
def test_number(text: str, answer: str | None) -> None:
    assert number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [("The answer is (C).", "C"), ("A) no\nB) yes\nAnswer: b", "B"), ("I say\n(D)", "D"), ("a cat", None)],
)
def test_choice(text: str, answer: str | None) -> None:
    assert choice(text) == answer


def test_boxed_is_balanced() -> None:
    assert boxed(r"first \boxed{1} then \boxed{\frac{1}{2}} end") == r"\frac{1}{2}"
    assert boxed(r"cut \boxed{1") is None


def test_an_unknown_extractor_names_the_known() -> None:
    with pytest.raises(ParameterError, match="number, choice, boxed"):
        extractor("digits")
    assert extractor("none") is None
    assert extractor(str.upper) is str.upper
