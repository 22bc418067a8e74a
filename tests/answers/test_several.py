"""A text that gives several numbers, or a formula, answers none of them; numbers beside the answer are none."""

from __future__ import annotations

import pytest

from entropix.answers.extractors import boxed, extractor, number

NONE = [
    "x = 15, y = 4",
    "The solution is x = 15, y = 4.",
    "x = 15\ny = 4",
    "x = 3 or x = -3",
    "The answer is $x = \\pm 3$.",
    "The answer is 7 or 8.",
    "The answer is between 7 and 8.",
    "The answer is 5, 6, and 7.",
    "The two scores are 3 and 5.",
    "The answer is (2, 3).",
    "The answer is 3 apples and 4 pears.",
    "The derivative is 2x + 3.",
    "y = x^2 + 1",
    "x > 5",
    "5 < x < 12",
    "(x, y) = (5, 12)",
    "The answer is 2 + 3i.",
    "The answer is 5 + 3.",
    r"\boxed{x^2+1}",
    r"The answer is 5: \boxed{(2,3)}",
    r"\boxed{x > 3}",
    r"\boxed{2n}",
    r"\boxed{\frac{x}{2}}",
    r"\boxed{[0, 5]}",
    r"\boxed{\{1, 2\}}",
    r"\boxed{3 \text{ or } 4}",
    r"\boxed{5!}",
    r"\boxed{5 + 5}",
    r"\boxed{5 \pmod{7}}",
    r"\boxed{101_2}",
    r"\boxed{\pm 3}",
    r"\boxed{f(x)=2x+3}",
    r"\boxed{3} and \boxed{4}",
    r"$x = \boxed{3}$ or $x = \boxed{-3}$",
    r"He has 5. \boxed{\text{No solution}}",
]

ONE: list[tuple[str, str, str]] = [
    ("x = 15, y = 4", "What is y?", "4"),
    ("So $x = 15$ and $y = 4$.", "Find $x$.", "15"),
    ("A = 5, B = 6, so A + B = 11", "", "11"),
    ("When x = 5, y = 12.", "", "12"),
    ("14... no, 15.", "", "15"),
    ("The answer is 4 (Smith, 2019).", "", "4"),
    ("x + 5 = 12, so x = 7", "", "7"),
    ("f(3) = 9 and f(4) = 16, so the sum is 25", "", "25"),
    ("The probability is 1/2, or 50%.", "", "0.5"),
    ("The answer is 10/3 or 3.33.", "", "10/3"),
    ("The answer is 120 minutes or 2 hours.", "", "120"),
    ("There is a 1 in 6 chance.", "", "1/6"),
    ("The ratio is 2 to 3.", "", "2:3"),
    ("By 1999, 12 were left.", "", "12"),
    ("Out of 20, 5 are red.", "", "5"),
    ("They had 12 boxes in 2004.", "", "12"),
    ("They had 12 boxes in March 2004.", "", "12"),
    ("He has 3 apples left at 5 pm.", "", "3"),
    ("He arrives at 5 pm.", "", "5"),
    ("She will have 15 stickers left after giving away 10.", "", "15"),
    ("Tom needs $30 more to buy the $80 bike.", "", "30"),
    ("Each child gets 4 candies, with 2 left over.", "", "4"),
    ("一共有42个，其中3个是红的。", "", "42"),
    ("The answer is 20% of 50, which is 10.", "", "10"),
    ("It is minus 7 degrees.", "", "-7"),
    ("The answer is no longer 5 but 4.", "", "4"),
    ("The answer comes out to 12 after 3 steps.", "", "12"),
    ("Rezultat: 15 nakon 3 koraka", "", "15"),
    ("Svar: 42 efter 3 steg", "", "42"),
    ("Kết quả là 42 trong 3 bước", "", "42"),
    ("So, **30 pencils** are left.\n\nLet me know if you have 2 minutes for a follow-up!", "", "30"),
    ("There are 12 left.\n\n*Note: this assumes 2 were eaten.*", "", "12"),
    ("12\n\nConfidence: 95%", "", "12"),
    ("Check: 3 * 4 = 12", "", "12"),
    ("It will take him 3 hours to travel 150 miles.", "", "3"),
    ("The increase is 20%, from $50 to $60.", "", "20"),
    ("She ran for 45 minutes at 6 mph.", "", "45"),
    ("12 balls: 3 red, 4 blue, 5 green", "", "12"),
    ("Here's the solution:\n\n1. Ann has 5.\n2. Bob has 7.\n3. Together: 5 + 7 = 12.\n\n✅ **12 apples**", "", "12"),
    ("1. 5\n2. 7\n3. 12", "", "12"),
    ("**Solution:**\n\nTom has 5 apples. He buys 3.\n\nSo he has 8 apples.", "", "8"),
    ("Solution:\nTom has 5 apples and buys 3.\n5 + 3 = 8", "", "8"),
    ("Answer: Tom has 5 apples. He buys 3 more. 5 + 3 = 8. So he has 8 apples.", "", "8"),
    ("Answer: Tom starts with 5 apples and buys 3, so he has 8.", "", "8"),
    ("Answer: He has 3 + 5 = 8 apples.", "", "8"),
    ("Answer: Tom has 8 apples.\n\nHe started with 5 and bought 3.", "", "8"),
    ("Answer: The total is 8 apples for 2 children.", "", "8"),
    ("Answer:\nFirst, 5 + 3 = 8.\nThen 8 * 2 = 16.\nTom has 16 apples.", "", "16"),
    ("Here's the solution:\n\n1. 5 + 3 = 8\n2. 8 × 2 = 16\n\nThe farmer has 16 sheep.", "", "16"),
    ("The answer is that Tom has 8 apples after buying 3.", "", "8"),
    ("The answer to this problem is: Tom has 8 apples, since he bought 3.", "", "8"),
    ("Result: the mean is 8, the median 7.", "", "8"),
    ("### Solution\n8", "", "8"),
    ("**Answer**\n\n**8**\n\n**Working**\n\n5+3 = 8\n\n2 children", "", "8"),
    ("Answer: \\(x = 8\\). We used 2 steps.", "", "8"),
    ("Answer: no more than 8", "", "8"),
    ("Answer: 8 = 5 + 3", "", "8"),
]

WRITTEN: list[tuple[str, str | None]] = [
    ("The answer is 2 and 1/2 cups.", "2.5"),
    ("The answer is 2 and a half hours.", "2.5"),
    ("The answer is 3½ million.", "3500000"),
    ("The answer is 1 1/2 million.", "1500000"),
    ("3 hundred thousand", "300000"),
    ("five eighths", "0.625"),
    ("5万円", "50000"),
    ("1.5億", "150000000"),
    ("10^-3", "0.001"),
    ("2^{-3}", "0.125"),
    ("10⁻³", "0.001"),
    ("10^(3)", "1000"),
    (r"\boxed{2^{100}}", str(2**100)),
    ("9999^999", None),
    ("The answer is...12", "12"),
]

BOXES: list[tuple[str, str]] = [
    (r"\boxed{12\text{ cm}^2}", "12"),
    (r"\boxed{12 \text{ m/s}^2}", "12"),
    (r"\boxed{60 \text{ km/h}}", "60"),
    (r"\boxed{5\text{m}}", "5"),
    (r"\boxed{5^\circ\text{C}}", "5"),
    (r"\boxed{5 \text{ (five)}}", "5"),
    (r"\boxed{P(X) = \frac{1}{4}}", "0.25"),
    (r"\boxed{\text{twelve}}", "12"),
    (r"\boxed{3 \times 10^{5}}", "300000"),
    ("So \\boxed{840}., as said.\n\n**Final Answer**\n\\boxed{840}", "840"),
    (r"The total is 12, option \boxed{B}", "12"),
    ("Thus $\\boxed{36$.\nDone in 3 steps", "36"),
    (r"The total is 12. So \boxed{\frac{1", "12"),
]


@pytest.mark.parametrize("text", NONE)
def test_several_numbers_and_formulas_are_no_number(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(("text", "question", "wanted"), ONE)
def test_numbers_beside_the_answer_are_not_taken_for_it(text: str, question: str, wanted: str) -> None:
    read = extractor("number", question)
    assert read is not None
    assert read(text) == wanted


@pytest.mark.parametrize(("text", "wanted"), WRITTEN + BOXES)
def test_a_number_is_read_as_a_whole(text: str, wanted: str | None) -> None:
    assert number(text) == wanted


def test_a_box_keeps_what_is_no_number() -> None:
    assert boxed(r"\boxed{x^2+1}") == "x^2+1"
    assert boxed(r"\boxed{(2, 3)}") == "(2,3)"
    assert boxed(r"$x = \boxed{3}$ or $x = \boxed{-3}$") == boxed(r"\boxed{3, -3}")
    assert boxed(r"So \boxed{3}. In short: \boxed{3}") == "3"
