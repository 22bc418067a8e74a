"""The one form in which two short answers are compared.

Source: Rajpurkar et al. 2016, arXiv:1606.05250, evaluation script (lower case, no punctuation, no articles, single
spaces). That dates, spans of years, numbers in words and amounts have one form, too, is this project's own: "20 July
1969" is "July 20th, 1969", "1914–1918" is "from 1914 to 1918", "three" is 3, and "1.5 million" is 1,500,000 and not
15 million.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from entropix.answers.numerals import MONTH
from entropix.answers.spelled import SCALES, whole_number

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
MONTH_IN_DATE = rf"{MONTH}\b\.?"
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{3,4})\b"
_WEEKDAY = r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,? )?"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_WEEKDAY}(?P<month>{MONTH_IN_DATE}) {_DAY},? {_YEAR}",
        rf"{_WEEKDAY}(?:the )?{_DAY}(?: of)? (?P<month>{MONTH_IN_DATE}),? {_YEAR}",
        rf"(?P<month>{MONTH_IN_DATE})(?: of|,)? {_YEAR}",
        rf"{_WEEKDAY}(?P<month>{MONTH_IN_DATE}) {_DAY}\b",
        rf"{_WEEKDAY}(?:the )?{_DAY}(?: of)? (?P<month>{MONTH_IN_DATE})",
        r"(?P<year>\d{4})-(?P<number>0[1-9]|1[0-2])-(?P<day>[0-3]\d)",
    )
]
_SPAN = re.compile(r"(?:from |between )?(1\d{3}|20\d{2})(?:\s?[-–—]\s?| (?:to|until|through|and) )(1\d{3}|20\d{2})")

_AMOUNT = re.compile(
    rf"(?P<digits>\d{{1,3}}(?:,\d{{3}}){{1,8}}|\d{{1,28}})(?P<rest>\.\d{{1,20}})?(?: (?P<scale>{'|'.join(SCALES)}))?",
    re.IGNORECASE,
)


def normalised(text: str) -> str:
    """`text` as SQuAD's scorer compares it: lower case, without punctuation, articles and repeated spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = "".join(c for c in text if not unicodedata.category(c).startswith("P") and c not in "$€£^~`|+<>=")
    text = unicodedata.normalize("NFKC", text)  # what stood between a letter and its accent may be gone
    return " ".join(_ARTICLES.sub(" ", text).split())


def compared(answer: str) -> str:
    """The form in which a short answer is compared: `normalised`, of a date, a span of years, an amount or a number
    in words the one way of writing it."""
    plain = normalised(answer.replace("&", " and "))
    for written in (answer.strip(" \t\n.,;:!?\"'“”*()"), plain):
        if number := whole_number(written):
            return number
        if span := _SPAN.fullmatch(written):
            return f"{span[1]} to {span[2]}"
        if (amount := _AMOUNT.fullmatch(written.lstrip("$€£~ "))) and (amount["rest"] or amount["scale"]):
            return _amount(amount)
        if date := next((found for pattern in _DATES if (found := pattern.fullmatch(written))), None):
            return _date(date)
    return plain


def _amount(found: re.Match[str]) -> str:
    value = Decimal(found["digits"].replace(",", "") + (found["rest"] or ""))
    value *= SCALES[found["scale"].lower()] if found["scale"] else 1
    whole = value.to_integral_value()
    return f"{whole:f}" if value == whole else f"{value:f}".rstrip("0")


def _date(found: re.Match[str]) -> str:
    given = found.groupdict()
    if given.get("number"):
        month = MONTHS[int(given["number"]) - 1]
    else:
        month = next(name for name in MONTHS if name[:3].lower() == given["month"][:3].lower())
    parts = [month.lower(), str(int(given["day"])) if given.get("day") else "", given.get("year") or ""]
    return " ".join(part for part in parts if part)
