"""Amounts in two units and dozens are one number, of the unit that the question asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix.answers.extractors import extractor, number
from entropix.answers.units import merged

AMOUNTS: list[tuple[str, str, str | None]] = [
    ("The answer is 3 dollars and 50 cents.", "", "3.5"),
    ("3 dollars and 50 cents", "How many cents is that?", "350"),
    ("$3 and 50 cents", "", "3.5"),
    ("It is -$3 and 50 cents.", "", "-3.5"),
    ("5 pounds and 50 pence", "", "5.5"),
    ("3 pounds 5 ounces", "How many ounces does it weigh?", "53"),
    ("5 feet 6 inches", "", "5.5"),
    ("He is 5'6\" tall.", "", "5.5"),
    ("6 ft. 2 in.", "", "37/6"),
    ("2 m 50 cm", "", "2.5"),
    ("2 gallons and 3 quarts", "", "2.75"),
    ("10 days and 5 hours", "", "245/24"),
    ("10 days and 5 hours", "How many hours does it take?", "245"),
    ("2 weeks and 3 days", "How many days is that?", "17"),
    ("The trip takes 3 hours and 20 minutes.", "How long is the trip in minutes?", "200"),
    ("The trip takes 3h 20min.", "", "10/3"),
    ("1 hour, 30 minutes and 15 seconds", "How many seconds?", "5415"),
    ("two hours and thirty minutes", "", "2.5"),
    ("She needs an hour and a half.", "", "1.5"),
    ("3 hours and a half", "", "3.5"),
    ("She is 12 years and 6 months old.", "", "12.5"),
    ("3 Stunden und 20 Minuten", "", "10/3"),
    ("答案是：3个小时20分钟", "", "10/3"),
    ("所以小明还剩 12 元 5 角。", "", "12.5"),
    (r"\boxed{10 \text{ days and } 5 \text{ hours}}", "", "245/24"),
    ("4 dozen", "", "48"),
    ("He needs 4 dozen eggs.", "", "48"),
    ("He needs 4 dozen eggs.", "How many dozen eggs does he need?", "4"),
    ("four dozen", "", "48"),
    ("1 1/2 dozen", "", "18"),
    ("Half a dozen", "", "6"),
]

APART = [
    "He works 8 hours a day, 5 days a week.",
    "3 inches and 5 feet",
    "3 hours and 90 minutes",
    "5 days, 8 hours per day",
    "She earns $10 an hour, 20 minutes are unpaid",
    "3 feet and 4 apples",
    "$3 a dozen",
    "in 3 hours",
]


@pytest.mark.parametrize(("text", "question", "wanted"), AMOUNTS)
def test_an_amount_in_two_units_is_one_number(text: str, question: str, wanted: str | None) -> None:
    read = extractor("number", question)
    assert read is not None
    assert read(text) == wanted


@pytest.mark.parametrize("text", APART)
def test_what_is_no_amount_in_two_units_stays_as_it_is(text: str) -> None:
    assert merged(text) == text


@given(st.integers(1, 400), st.integers(1, 59), st.sampled_from([" and ", " ", ", "]))
def test_hours_and_minutes_are_as_many_minutes(hours: int, minutes: int, joint: str) -> None:
    text = f"The answer is {hours} hours{joint}{minutes} minutes."
    assert number(text, "How many minutes?") == str(60 * hours + minutes)
