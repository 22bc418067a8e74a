"""Amounts that a text gives in two units, and dozens, as one number of one unit.

"3 dollars and 50 cents" are 3.5 dollars, "5 feet 6 inches" 5.5 feet, "10 days and 5 hours" 245/24 days: of the larger
unit, or of the one that the question asks for ("how many minutes"). So is an amount in one unit, where the text has
none in the unit that is asked for: "half an hour" are 30 minutes. "4 dozen" are 48, unless dozens are asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from entropix.answers.numerals import fraction
from entropix.answers.spelled import SMALL_NUMBERS

_FAMILIES: tuple[dict[str, int], ...] = tuple(
    {spelling: size for size, spellings in family.items() for spelling in spellings.split()}
    for family in (
        {12: "year years yr yrs", 1: "month months mo mos"},
        {
            604_800: "week weeks wk wks",
            86_400: "day days d 天 tag tage jour jours día días",
            3600: "hour hours hr hrs h 小时 个小时 時間 시간 stunde stunden heure heures hora horas",
            60: "minute minutes min mins m 分钟 分 분 minuten minutos",
            1: "second seconds sec secs s 秒 초 sekunde sekunden secondes segundos",
        },
        {63_360: "mile miles mi", 36: "yard yards yd yds", 12: "foot feet ft ' ’ ′", 1: 'inch inches in " ” ″'},
        {
            1_000_000: "kilometer kilometers kilometre kilometres km",
            1000: "meter meters metre metres m",
            10: "centimeter centimeters centimetre centimetres cm",
            1: "millimeter millimeters millimetre millimetres mm",
        },
        {1000: "kilogram kilograms kilo kilos kg kgs", 1: "gram grams g"},
        {16: "pound pounds lb lbs", 1: "ounce ounces oz"},
        {1000: "liter liters litre litres l", 1: "milliliter milliliters millilitre millilitres ml"},
        {16: "gallon gallons gal", 4: "quart quarts qt qts", 2: "pint pints pt pts", 1: "cup cups"},
        {100: "dollar dollars buck bucks $", 1: "cent cents ¢"},
        {100: "euro euros €", 1: "cent cents"},
        {100: "pound pounds £", 1: "pence penny pennies"},
        {100: "rupee rupees ₹", 1: "paise paisa"},
        {100: "元", 10: "角", 1: "分"},
        {12: "dozen dozens"},
    )
)
"""Units that are parts of each other: how they are written → how many of the smallest they are."""

MOST_UNITS = 5
"""Of one amount."""

_NAMES = sorted({name for family in _FAMILIES for name in family}, key=len, reverse=True)
_UNIT = "|".join(
    f"{name}(?![^\\W\\d_])" + r"\.?" * (len(name) < 4) if name.isascii() and name.isalpha() else re.escape(name)
    for name in _NAMES
)
_SPELLED = "|".join(sorted(SMALL_NUMBERS, key=len, reverse=True))
_AMOUNT = re.compile(
    r"(?<![A-Za-zÀ-ɏͰ-ԯ\d_.,/^])(?:(?P<sign>[$€£₹]) ?)?"
    r"(?:(?P<broken>(?:\d{1,9} )?\d{1,9}/\d{1,9})(?![/\d])"
    r"|(?P<digits>\d{1,3}(?:,\d{3}){1,4}(?!\d)(?:\.\d{1,9})?|\d{1,15}(?:\.\d{1,9})?)"
    rf"|(?P<spelled>(?:{_SPELLED})(?:-(?:{_SPELLED}))?)(?P<half> and (?:a|one)[ -]half)?(?= (?:{_UNIT}))"
    rf"|(?P<halved>half) an?(?= (?:{_UNIT}))|(?P<article>(?<!\d )an?)(?= (?:{_UNIT})))"
    rf"(?:[ -]?(?P<unit>{_UNIT}))?(?P<more>,? and (?:a|one)[ -]half\b(?! an?\b))?",
    re.IGNORECASE,
)
_JOINT = re.compile(r",? ?(?P<and>(?:and|und|et|y|&) )?")
_RATE = re.compile(r" ?/| (?:an?|per|each|every)\b", re.IGNORECASE)
_WANTED = re.compile(
    r"\b(?:how many|number of|in|nearest|total)(?: (?:more|additional|total|whole|full))? "
    rf"(?P<unit>(?:{_UNIT}))(?=[\s?.,)]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Amount:
    """A number as a text writes it, with its unit if it has one."""

    found: re.Match[str]

    @property
    def unit(self) -> str:
        """As it is written; "" for none."""
        return (self.found["unit"] or self.found["sign"] or "").rstrip(".")

    @property
    def value(self) -> Fraction:
        """Of the unit that is written."""
        found = self.found
        if found["broken"]:
            value = sum((Fraction(part) for part in found["broken"].split() if not part.endswith("/0")), Fraction(0))
        elif found["digits"]:
            value = Fraction(found["digits"].replace(",", ""))
        elif found["halved"]:
            value = Fraction(1, 2)
        else:
            value = Fraction(sum(SMALL_NUMBERS[word] for word in (found["spelled"] or "one").lower().split("-")))
        return value + (Fraction(1, 2) if self.is_broken else 0)

    @property
    def is_broken(self) -> bool:
        """Whether a half is written in words."""
        return bool(self.found["half"] or self.found["more"])

    @property
    def start(self) -> int:
        return self.found.start()

    @property
    def end(self) -> int:
        return self.found.end()


def merged(text: str, question: str = "") -> str:
    """`text` with every amount in several units, and every dozen, as one number."""
    asked = [found["unit"].lower() for found in _WANTED.finditer(question) if found["unit"].lower() != "in"]
    parts, done = [], 0
    amounts = [_Amount(found) for found in _AMOUNT.finditer(text)]
    written = {amount.unit.lower() for amount in amounts}
    missing = [a for a in asked if not any(f.get(a, -1) == f.get(w) for f in _FAMILIES for w in written)]
    at = 0
    while at < len(amounts):
        run, families = _run(text, amounts, at)
        at += len(run)
        if families and (number := _as_one(run, families, asked if _has_own_unit(run) else missing)):
            parts += [text[done : run[0].start], number]
            done = run[-1].end
    return "".join((*parts, text[done:]))


def _run(text: str, amounts: list[_Amount], at: int) -> tuple[list[_Amount], list[dict[str, int]]]:
    """The amounts from `at` on that are one together, and the families of the units they share."""
    run = [amounts[at]]
    families = [f for f in _FAMILIES if run[0].unit.lower() in f]
    for following in amounts[at + 1 : at + MOST_UNITS] if families else ():
        joint = _JOINT.fullmatch(text, run[-1].end, following.start)
        articles = run[-1].found["article"] or following.found["article"]
        if not joint or (not joint["and"] and (articles or _RATE.match(text, following.end))):
            break  # 8 hours a day, 5 days a week
        closer = [
            f for f in families if 0 < following.value * f.get(following.unit.lower(), 0) < f[run[-1].unit.lower()]
        ]
        if not closer:
            break
        families = closer
        run.append(following)
    return run, families


def _has_own_unit(run: list[_Amount]) -> bool:
    """Whether it is several units, or dozens, which are put into any unit that is asked for; else only into one that
    the text does not know."""
    return len(run) > 1 or run[0].unit.lower().startswith("dozen")


def _as_one(run: list[_Amount], families: list[dict[str, int]], asked: list[str]) -> str:
    """The number that replaces a run, with its unit; "" where it stays as it is. asked: the units to put it into."""
    one = run[0]
    if len(run) == 1 and (one.found["article"] or (len(one.unit) == 1 and one.unit.isalpha())):
        asked = []  # miles an hour, 5 m
    family, unit = next(((f, a) for f in families for a in asked if a in f), (families[0], one.unit))
    if "dozen" in family:
        return "" if one.found["article"] or unit in asked else _written(one.value * 12)
    if len(run) == 1 and unit == one.unit and not (one.is_broken or one.found["halved"]):
        return ""
    whole = sum((each.value * family[each.unit.lower()] for each in run), Fraction(0)) / family[unit.lower()]
    return f"{_written(whole)} {unit}" if unit.isalpha() else _written(whole)


def _written(value: Fraction) -> str:
    return fraction(value.numerator, value.denominator) or ""
