"""Numbers in English words and in Chinese characters, read where a text has no digits to state."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from entropix.answers.numerals import fraction

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL_NUMBERS = {word: n for n, word in enumerate(_SMALL.split())} | {
    word: 10 * n for n, word in enumerate(_TENS.split(), 2)
}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5}
_PARTS |= {
    name + end: n for n, name in enumerate(("sixth", "seventh", "eighth", "ninth", "tenth"), 6) for end in ("", "s")
}
_WORD = "|".join(sorted([*SMALL_NUMBERS, *SCALES], key=len, reverse=True))
_SPELLED = re.compile(
    rf"\b(?P<minus>(?:minus|negative) )?(?P<words>(?:{_WORD})(?:(?:[ -]| and )(?:{_WORD}))"
    r"{0,12})\b(?! (?:of|by|another)\b)",
    re.IGNORECASE,
)
_UNIT, _FEW, _PART = "|".join(SMALL_NUMBERS), "|".join(_SMALL.split()), "|".join(_PARTS)
_BROKEN = re.compile(
    rf"(?:(?P<whole>{_UNIT}) and )?(?:(?P<above>{_FEW}|a)[ -](?P<part>{_PART})|half)\b(?! (?:dozen|an?|the)\b)"
    rf"|(?P<times>half a|{_UNIT}|a) dozen\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"(?:\b(?:is|are|was|were|equals?|makes|gives|leaves|leaving|becomes|costs?)|, so) "
    r"(?:only |just |exactly |now |still |also )?(?P<number>"
    rf"{_SPELLED.pattern}(?! (?:{_PART}|dozens?)\b)|{_BROKEN.pattern})"
    rf"(?: (?!(?:{_WORD}|to|or|and|than|more|less|fewer|times|by)\b)[a-z]{{2,20}}){{0,2}}"
    r"(?: (?:in (?:all|total)|altogether))?[\s.!*_)]{0,6}\Z",
    re.IGNORECASE,
)
_ANY = 10**18
_HAN_DIGITS = {
    sign: n
    for n, signs in enumerate(("零〇", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九"))
    for sign in signs
}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN_NUMBER = rf"[{''.join(_HAN_DIGITS)}{''.join(_HAN_SCALES)}]{{1,24}}"
_HAN_AT_MARK = re.compile(rf"[\s:：是为為は]{{0,4}}({_HAN_NUMBER})")
_HAN_COUNTED = re.compile(
    rf"({_HAN_NUMBER})(?=[个個只隻人元块塊颗顆棵朵条條张張支枝本名位次天岁歲年月日小时時分秒米公里厘千克斤升件双雙页頁倍辆輛台瓶杯盒箱袋间間円冊匹枚つ])"
)
_DECORATION = " \t\n*_.!\"'`()$:"
REACH, LONGEST = 60, 160
"""Characters behind a mark, and of a text without marks, in which a number in words is looked for."""


def in_words(text: str, marks: Sequence[int], counts: Callable[[str, int], bool] | None = None) -> str | None:
    """The number that a text states in words: the first one right behind one of `marks`, the last mark first; without
    marks, that of a short text that has one such number and no more than that, or one that `counts` what is asked for,
    given the text and where the number ends."""
    for at in sorted(marks, reverse=True):
        clause = text[at : at + REACH].lstrip(_DECORATION).split("\n", 1)[0]
        if broken := _BROKEN.match(clause):
            return _broken(broken)
        if found := _SPELLED.search(clause):
            return _value(found)
        if han := _HAN_AT_MARK.match(clause):
            return _han_value(han[1])
    if broken := _BROKEN.fullmatch(text.strip(_DECORATION)):
        return _broken(broken)
    if whole := whole_number(text):
        return whole
    spelled = list(_SPELLED.finditer(text)) if len(text) <= LONGEST and not marks else []
    if counts and len(spelled) > 1:
        spelled = [found for found in spelled if counts(text, found.end())]
    if len(spelled) == 1 and spelled[0]["words"].lower() != "one":  # which is more often a pronoun
        return _value(spelled[0])
    counted = _HAN_COUNTED.findall(text) if len(text) <= LONGEST else []
    return _han_value(counted[0]) if len(counted) == 1 and counted[0] != "一" else None  # an article, too


def concluded_in_words(text: str) -> str | None:
    """The number in words that a text ends with, as what something comes to: 4 of "Half of 8 is four.",
    where the digits say only half of what."""
    found = _CONCLUDES.search(text, max(len(text) - 2 * REACH, 0))
    if found is None or found["number"].lower() == "one":
        return None
    return _broken(found) if found["part"] or found["times"] or not found["words"] else _value(found)


def _han_value(written: str) -> str | None:
    """Of 一百二十五, and of 二〇二四 digit by digit; None where the characters are no number."""
    if len(written) > 1 and all(sign in _HAN_DIGITS for sign in written):
        return "".join(str(_HAN_DIGITS[sign]) for sign in written).lstrip("0") or "0"
    total = group = 0
    digit: int | None = None
    for sign in written:
        if sign in _HAN_DIGITS:
            if digit:
                return None
            digit = _HAN_DIGITS[sign]
        elif (scale := _HAN_SCALES[sign]) < 10**4:
            group, digit = group + (1 if digit is None else digit) * scale, None
        else:
            total, group, digit = (total + group + (digit or 0)) * scale, 0, None
    return str(total + group + (digit or 0))


def whole_number(text: str) -> str | None:
    """The number that a text is in words and nothing else; None for any other text."""
    found = _SPELLED.fullmatch(text.strip(_DECORATION)) if len(text) <= LONGEST else None
    return _value(found) if found else None


def _broken(found: re.Match[str]) -> str | None:
    """Of "two and a half", "three quarters" and "half a dozen"."""
    if times := found["times"]:
        return str(6 if times.lower() == "half a" else 12 * SMALL_NUMBERS.get(times.lower(), 1))
    below = _PARTS[(found["part"] or "half").lower()]
    above = SMALL_NUMBERS.get((found["above"] or "a").lower(), 1)
    return fraction(below * SMALL_NUMBERS.get((found["whole"] or "zero").lower(), 0) + above, below)


def _value(found: re.Match[str]) -> str | None:
    """None where the words are no number, like "two three"."""
    total = group = 0
    last = smallest_scale = _ANY
    for word in re.split(r"[ -]| and ", found["words"].lower()):
        if word == "hundred":
            if group >= 100:
                return None
            group = (group or 1) * 100
            last = 100
        elif word in SCALES:
            if SCALES[word] >= smallest_scale:
                return None
            smallest_scale = SCALES[word]
            total, group, last = total + (group or 1) * smallest_scale, 0, _ANY
        elif word in SMALL_NUMBERS:
            value = SMALL_NUMBERS[word]
            room = (
                100 if last == 100 else 10 if 20 <= last < 100 and last % 10 == 0 else 10**18 if last == 10**18 else 0
            )
            if value >= room or (room == 10 and not value):
                return None
            group += value
            last = value if value else 1
    value = total + group
    return f"-{value}" if found["minus"] and value else str(value)
