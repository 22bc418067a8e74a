"""Texts of all kinds and what they answer: a vote and every evaluation stand on this."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix.answers.extractors import boxed, choice, number, short
from entropix.answers.latex import plain

NUMBERS: list[tuple[str, str | None]] = [
    # what mathematics writes
    (r"So \boxed{1{,}250}.", "1250"),
    (r"\boxed{\dfrac{3}{4}}", "0.75"),
    (r"\boxed{\frac34}", "0.75"),
    (r"\boxed{-\frac{1}{3}}", "-1/3"),
    (r"\boxed{\frac{-1}{3}}", "-1/3"),
    (r"\boxed{2\frac{1}{2}}", "2.5"),
    (r"\boxed{x = 5}", "5"),
    (r"\boxed{42 \text{ apples in 3 days}}", "42"),
    (r"so \boxed{\$18} in 2 days", "18"),
    (r"\boxed{1\,234}", "1234"),
    (r"\boxed{36 \text{ cm}^2}", "36"),
    (r"First \boxed{3}, then \boxed{4}.", "4"),
    (r"The answer is $\frac{2}{5}$.", "0.4"),
    (r"The answer is $3.2 \times 10^{-4}$.", "0.00032"),
    (r"\[ x = 12 \]", "12"),
    (r"\boxed {7}", "7"),
    # marks
    ("#### 14", "14"),
    ("He pays 5 + 9.\n#### $14", "14"),
    ("Work.\n####14", "14"),
    ("#### -1,234", "-1234"),
    ("#### **14**", "14"),
    ("The answer is 14.\n\n#### Step 5: check\n2*7 = 14", "14"),
    ("The answer is 14.\n\n#### 2. Check\nIt is fine.", "14"),
    ("#### Answer: 14", "14"),
    ("#### Answer\n14", "14"),
    ("Answer: 5 + 6 = 11", "11"),
    ("The answer is 18 = 9*2", "18"),
    ("The answer is 9 * 2 = 18.", "18"),
    ("The answer is 12 because 3*4=12 and 5 are left.", "12"),
    ("The answer is not 5 but 6.", "6"),
    ("The answer is not 5, it is 6.", "6"),
    ("The answer isn't 5 but 6.", "6"),
    ("The answer is 7. The answer is not 5.", "7"),
    ("The answer is 3 dozen, i.e. 36.", "36"),
    ("The answer is 2 hours, that is 120 minutes.", "120"),
    ("The total is 7 (see step 3).", "7"),
    ("The answer is 7 (2 more than 5).", "7"),
    ("The answer is 3 apples and 4 pears.", None),
    ("The answer is:\n\n42", "42"),
    ("**Answer:** 42", "42"),
    ("**Final Answer**: 42 apples, after 3 days", "42"),
    ("The final answer is **42**.", "42"),
    ("The answer to the question is 42, as 6*7 shows.", "42"),
    ("The answer (in dollars) is 42 for 3 people.", "42"),
    ("The correct answer would be 42, not 43.", "42"),
    ("Ans: 42", "42"),
    ("answer = 42 from 6 and 7", "42"),
    ("Result: 42 (of 50)", "42"),
    ("The solution is 42, since 50 - 8 leaves it.", "42"),
    ("My answer: 5. Wait, that was wrong. The answer is 6.", "6"),
    ("The answer is 07", "7"),
    ("The answer is approximately 3.14, i.e. near pi.", "3.14"),
    ("The answer is 1/3 ≈ 0.333.", "1/3"),
    ("The answer is 10. That was 3 steps = fine.", "10"),
    ("Answer: 20 minutes\nExplanation: 5 * 4", "20"),
    # other words that mark
    ("Therefore, 7 apples are left of the 12.", "7"),
    ("Thus 7 of the 12 remain.", "7"),
    ("Hence, $7 of the 12 remain.", "7"),
    ("3 times 4 equals 12, for 2 people.", "12"),
    ("That comes to 12 for 2 people.", "12"),
    ("In total, 12 for 2 people.", "12"),
    ("The total is 20. He gives away 5, which leaves 15.", "15"),
    ("So after 3 days he has 12 apples.", "12"),
    ("He has 12 left because he ate 3.", "12"),
    ("He has **42** apples after 3 days.", "42"),
    ("He has 3 + 4 = 7 apples.", "7"),
    ("That is 18 = 9*2", "18"),
    ("Area = 36 cm^2", "36"),
    ("Area = 36 m²", "36"),
    ("x = -7", "-7"),
    # fractions
    ("The answer is 3/4.", "0.75"),
    ("The answer is 2/5", "0.4"),
    ("The answer is 6/8", "0.75"),
    ("The answer is 1/3", "1/3"),
    ("The answer is 2/6", "1/3"),
    ("The answer is -3/4", "-0.75"),
    ("The answer is 12/3 apples", "4"),
    ("The answer is ½.", "0.5"),
    ("The answer is 3½ cups", "3.5"),
    ("The answer is 2 3/4 cups", "2.75"),
    ("The answer is ⅓", "1/3"),
    ("1/0 is not a number", None),
    # money, signs, units, percent
    ("The answer is -$5.00", "-5"),
    ("The answer is $-5.00", "-5"),
    ("The answer is −$5.00", "-5"),
    ("It is −5", "-5"),
    ("The answer is –5.", "-5"),
    ("The answer is negative 5.", "-5"),
    ("The answer is minus 5.", "-5"),
    ("He pays $1,000.", "1000"),
    ("He pays €1,000.50", "1000.5"),
    ("He pays 5€.", "5"),
    ("Rs.500 in all", "500"),
    ("US$42", "42"),
    ("The answer is 42%.", "42"),
    ("The answer is 42 %.", "42"),
    ("The answer is 42kg", "42"),
    ("The answer is 42 km/h for 3 hours", "42"),
    ("The answer is 2.5 million.", "2500000"),
    ("The answer is 3 thousand dollars.", "3000"),
    # ways of writing
    ("The answer is 3.2e-4", "0.00032"),
    ("The answer is 3.2E5", "320000"),
    ("The answer is 3.2 × 10^-4", "0.00032"),
    ("The answer is 3.2×10⁻⁴", "0.00032"),
    ("The answer is 3.2 x 10^5", "320000"),
    ("The answer is 12,5", "12.5"),
    ("The answer is 0,125", "0.125"),
    ("The answer is 12,500", "12500"),
    ("The answer is 1,250", "1250"),
    ("The answer is 1,234,567.50", "1234567.5"),
    ("The answer is 1.234.567", "1234567"),
    ("The answer is 1.250,50", "1250.5"),
    ("The answer is 1 234", "1234"),
    ("The answer is 1\u2009234\u2009567", "1234567"),
    ("The answer is 1\u202f234,50", "1234.5"),
    ("The answer is 1\u00a0234", "1234"),
    ("The answer is 1'234.50", "1234.5"),
    ("The answer is 1,00,000", "100000"),
    ("The answer is .5", "0.5"),
    ("The answer is 5.", "5"),
    ("x = 0.0", "0"),
    ("The answer is -0", "0"),
    ("The answer is +5", "5"),
    ("The answer is 1,234.50 dollars. That was 3 steps.", "1234.5"),
    # other scripts and languages
    ("答案是42。", "42"),
    ("答案：42", "42"),
    ("所以总共是42个苹果。", "42"),
    ("答えは42です。", "42"),
    ("답은 42입니다. 3단계", "42"),
    ("정답: 42", "42"),
    ("La respuesta es 42, en 3 pasos.", "42"),
    ("La réponse est 42, en 3 étapes.", "42"),
    ("La réponse est 12,5.", "12.5"),
    ("Die Antwort ist 42, in 3 Schritten.", "42"),
    ("Die Antwort lautet 1.250,50 Euro.", "1250.5"),
    ("Ответ: 42, за 3 шага", "42"),
    ("A resposta é 42, em 3 passos.", "42"),
    ("La risposta è 42, in 3 passi.", "42"),
    ("الجواب هو ٤٢ في ٣ خطوات", "42"),
    ("الإجابة: ١٬٢٣٤٫٥", "1234.5"),
    ("उत्तर ४२ है", "42"),
    ("پاسخ ۴۲", "42"),
    ("The answer is ４２", "42"),
    # siblings
    ("The answer is 2^10.", "1024"),
    ("### Answer\n\n17 apples from 3 trees", "17"),
    ("<answer>17</answer> of 20", "17"),
    (r"\boxed{3\sqrt{2}}", None),
    (r"\boxed{\frac{1}{2}\pi}", None),
    ("Final Answer: The final answer is $18$. I hope it is correct.", "18"),
    ("Janet makes 9 * 2 = $18 every day.\n#### 18", "18"),
    ("Profit = $70,000 - $50,000 = $20,000", "20000"),
    ("There are 5-3=2 left", "2"),
    ("1) 5+5 = 10\n2) 10*2 = 20", "20"),
    # no answers
    ("H2O has none", None),
    ("none at all 🙂", None),
    ("", None),
    ("He came 3rd.", None),
    ("We meet at 10:30.", None),
    ("It was on 2024-05-01.", None),
    ("It was on 05/12/2024.", None),
    ("It was on May 5, 2024.", None),
    ("See step 3.", None),
    ("The answer is 42, found at 10:30 on 2024-05-01.", "42"),
    ("At 10:30 he had 42.", "42"),
    ("1. Add the numbers\n2. The total comes out at 7\n3. Done", "7"),
    ("The ratio is 3:2.", "3:2"),
    ("The answer is 6:4.", "3:2"),
    ("Tickets 3-5 are his, so 3 tickets.", "3"),
]

CHOICES: list[tuple[str, str | None]] = [
    ("The answer is C, not option D.", "C"),
    ("Answer: C\n\nExplanation: Option A is too low.", "C"),
    (r"\boxed{B}", "B"),
    (r"\boxed{\text{B}}", "B"),
    (r"$\boxed{\textbf{(B)}}$ and A is wrong", "B"),
    ("**B**", "B"),
    ("**B) Paris**", "B"),
    ("(b)", "B"),
    ("b", "B"),
    ("b)", "B"),
    ("B", "B"),
    ("B.", "B"),
    ("B is the correct answer", "B"),
    ("B is correct, A is not.", "B"),
    ("A is wrong. B is wrong. So C is right.", "C"),
    ("The answer is (C).", "C"),
    ("A) no\nB) yes\nAnswer: b", "B"),
    ("I say\n(D)", "D"),
    ("a cat", None),
    ("I do not know", None),
    ("I", "I"),
    ("The answer is A because B is wrong", "A"),
    ("The answer is a dog", None),
    ("The answer is I'm not sure", None),
    ("Answer: I think it is\n(E)", "E"),
    ("The answer is **i**", "I"),
    ("The correct answer is option (C) Paris.", "C"),
    ("The answer is: **C) Paris**", "C"),
    ("The answer is\n\nC", "C"),
    ("The answer is 'C'", "C"),
    ("The answer is $C$.", "C"),
    ("The answer is not A but C.", "C"),
    ("The answer is C. Option D says otherwise.", "C"),
    ("I would choose (B), not A.", "B"),
    ("I'd go with B", "B"),
    ("The correct option is D", "D"),
    ("Option B", "B"),
    ("答案是B。", "B"),
    ("答案：C", "C"),
    ("La respuesta correcta es B.", "B"),
    ("Die Antwort ist C, nicht D.", "C"),
    ("Ответ: D", "D"),
    ("C. Paris\n\nA. Berlin is in Germany.", "C"),
    ("A. one\nB. two\nC. three\nNone of them", "C"),
    ("The answer is Berlin", None),
    ("Dogs are animals", None),
    ("Final answer: D. Because A and B fail.", "D"),
    ("选B", "B"),
    ("<answer>C</answer>", "C"),
    ("[[C]]", "C"),
    ("The answer to this is neither A nor B, but C.", "C"),
    ("正确答案是 D", "D"),
    ("The best choice is C: it is cheap", "C"),
]

SAME: list[tuple[str, ...]] = [
    ("10{,}000", "10000", "10,000", r"10\,000", "10000.0"),
    (".25", r"\frac14", "1/4", "0.25", "0.250", r"\dfrac{1}{4}"),
    ("5.0", "5", "5.", r"5\text{ cm}"),
    ("-1.5", r"-\frac{3}{2}", r"\frac{-3}{2}", r"\frac{3}{-2}", r"-1\frac{1}{2}"),
    (r"\{2, 1\}", r"\{1,2\}", r"\left\{1, 2\right\}"),
    (r"[1, 2)", r"\left[1,2\right)", r"x \in [1,2)"),
    (r"\text{(B)}", "B", r"\textbf{(B)}", r"\mathrm{B}"),
    ("x^{2}", "x^2"),
    (r"\sqrt{3}", "√3"),
    ("½", r"\frac12"),
    ("−3", "-3", "- 3"),
    (r"2\pi", "2π"),
    (r"90^\circ", "90°"),
    (r"x \leq 3", r"x \le 3"),
    (r"(-\infty, 3]", r"(-∞,3]"),
]


@pytest.mark.parametrize(("text", "answer"), NUMBERS)
def test_the_number_that_a_text_answers(text: str, answer: str | None) -> None:
    assert number(text) == answer


@pytest.mark.parametrize(("text", "answer"), CHOICES)
def test_the_choice_that_a_text_makes(text: str, answer: str | None) -> None:
    assert choice(text) == answer


@pytest.mark.parametrize("forms", SAME, ids=lambda forms: forms[0])
def test_forms_of_one_box_are_one_answer(forms: tuple[str, ...]) -> None:
    assert len({boxed(rf"\boxed{{{form}}}") for form in forms}) == 1


def test_boxes_that_say_different_things_stay_apart() -> None:
    forms = ["(1,2)", "[1,2]", r"\{1,2\}", "1,2", "2,1", "(2,1)", "1.2", "12", r"\sqrt{12}", "x^{12}", "0.333", "2/4"]
    assert len({boxed(rf"\boxed{{{form}}}") for form in forms}) == len(forms)


PHRASES = (
    "{}",
    "The answer is {}.",
    "The answer is **{}**, found in 3 steps.",
    "#### {}",
    r"Therefore \boxed{{{}}}.",
    "2 + 2 is easy. Answer: {} apples",
    "答案是{}。",
    "La respuesta es {}, no 77.",
    "He has {} left.",
    "The answer is not 77 but {}.",
)


@given(st.integers(-(10**30), 10**30), st.sampled_from(PHRASES), st.sampled_from(("{}", "{:,}")))
def test_every_integer_is_found_in_every_phrase(value: int, phrase: str, form: str) -> None:
    assert number(phrase.format(form.format(value))) == str(value)


@given(st.decimals(-(10**9), 10**9, places=3), st.sampled_from(PHRASES))
def test_every_decimal_is_found_in_every_phrase(value: object, phrase: str) -> None:
    found = number(phrase.format(f"{value:.3f}"))
    assert found is not None
    assert float(found) == float(f"{value:.3f}")


@given(st.integers(-999, 999), st.integers(1, 999))
def test_a_fraction_counts_as_its_value(above: int, below: int) -> None:
    fraction = number(f"The answer is {above}/{below}")
    assert fraction == number(rf"\boxed{{\frac{{{above}}}{{{below}}}}}")
    assert fraction is not None
    assert number(f"The answer is {above * 7}/{below * 7}.") == fraction


ANY = st.text(alphabet="0123456789.,/:-+=eE$%*#^ \n\\{}fracboxedansweris½٣答案ABC()'", max_size=60)


@given(ANY)
def test_an_extracted_answer_answers_itself(text: str) -> None:
    for extract in (number, choice):
        found = extract(text)
        assert found is None or extract(found) == found


@given(ANY)
def test_the_one_form_of_a_box_is_its_own(text: str) -> None:
    assert plain(plain(text)) == plain(text)


def _lines(extract: Callable[[str], str | None], text: str) -> int:
    """Lines of Python that run."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        extract(text)
    finally:
        sys.settrace(None)
    return count


LONG = (
    "a",
    " ",
    "1",
    "1 234 ",
    "1,",
    "answer is ",
    "####",
    "\\boxed{",
    "{",
    "(",
    "**",
    "not ",
    "= 3 ",
    "1/",
    "A) ",
    "½",
    "3 hours 20 minutes ",
    "x = 3, ",
    "3 or ",
    "<think>",
    "</think>1",
    "not sure, but ",
)


@pytest.mark.parametrize("piece", LONG)
@pytest.mark.parametrize("extract", [number, choice, boxed, short])
def test_the_work_grows_with_the_length(extract: Callable[[str], str | None], piece: str) -> None:
    small, large = (_lines(extract, piece * n) for n in (200, 1600))
    assert large <= 12 * small + 200


@pytest.mark.parametrize("piece", LONG)
def test_a_megabyte_of_anything_is_read(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    for extract in (number, choice, boxed, short):
        extract(text)
