"""Two phrasings of one answer are one vote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix.answers.extractors import boxed, choice, extractor, number
from entropix.errors import ParameterError


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
    [
        ("The answer is (C).", "C"),
        ("A) no\nB) yes\nAnswer: b", "B"),
        ("I say\n(D)", "D"),
        ("a cat", None),
        ("The answer is A because B is wrong", "A"),
        ("The answer is a dog", None),
        ("Answer: I think it is\n(E)", "E"),
        ("The answer is **i**", "I"),
    ],
)
def test_choice(text: str, answer: str | None) -> None:
    assert choice(text) == answer


SAME = [  # what MATH's grader takes for the same answer, and its plain form
    (r"\frac{1}{2}", r"\dfrac12", r"\tfrac 1 2", "1/2", ".5", "0.50", r"$\displaystyle\frac{1}2$", r"x = \frac12"),
    (r"-\frac{a}{12}", r"-\frac a{12}", r"- \frac{a}{12}"),
    (
        "1234",
        "1,234",
        r"1,\!234",
        r"\$1,234",
        r"1234\%",
        r"1234 \text{ cm}",
        r"1234\text{ cm}^2",
        r"1234\,\mathrm{m}",
    ),
    (r"\sqrt{3}", r"\sqrt3", r"\sqrt 3", r"k=\sqrt{3}."),
    ("(1,2)", r"\left( 1, 2 \right)", r"(1,\ 2)"),
    ("90", r"90^\circ", r"90^{\circ}"),
    ("Evelyn", r"\text{Evelyn}", r"\textbf{Evelyn}"),
    (r"\frac{\sqrt{3}}{2}", r"\dfrac{\sqrt3}{2}"),
    (r"\begin{pmatrix}1\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
]


@pytest.mark.parametrize("forms", SAME, ids=lambda forms: forms[0])
def test_what_math_takes_for_the_same_answer_is_one_text(forms: tuple[str, ...]) -> None:
    assert {boxed(rf"So \boxed{{{form}}}.") for form in forms} == {forms[0]}


def test_different_answers_in_boxes_stay_different() -> None:
    given = ["(1,234)", "1,234,5", "x=y=2", r"\leftarrow", "0.51", "2/4", "1/2/3", "2x", "x2", r"2\text{nd}", "-1", "1"]
    assert len({boxed(rf"\boxed{{{one}}}") for one in given}) == len(given)
    assert boxed(r"\boxed{\leftarrow}") == r"\leftarrow"
    assert boxed(r"\boxed{ }") is None


@given(st.text(alphabet="\\{}frac012.,/=$%^ \nsqrtex", max_size=30))
def test_any_text_in_a_box_is_read_without_error(text: str) -> None:
    found = boxed(f"\\boxed{{{text}}}")
    assert found is None or (found and not any(sign.isspace() for sign in found))


def test_boxed_is_balanced() -> None:
    assert boxed(r"first \boxed{1} then \boxed{\frac{1}{2}} end") == r"\frac{1}{2}"
    assert boxed(r"cut \boxed{1") is None
    assert number(r"\boxed{0.5}") == "0.5"


def test_an_unknown_extractor_names_the_known() -> None:
    with pytest.raises(ParameterError, match="number, choice, boxed"):
        extractor("digits")
    assert extractor("none") is None
    assert extractor(str.upper) is str.upper
