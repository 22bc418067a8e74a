"""Where a text gives several numbers or a formula in place of one: then it answers none of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from entropix.answers.numerals import Numeral, numerals

NEAR = 0.005
"""Two numbers that differ by less of the larger are one, written exactly and rounded."""

_ASSIGNED = re.compile(r"(?<![\w\\{^])([A-Za-z])(?:_\{?\w\}?)?[\s$)]{0,3}[=≈][\s$(\\]{0,3}(?=[-−]?[$€£]?[\d.\\])")
_SUPPOSED = re.compile(r"\b(?:when|if|for|let|with|where|given|since|as|at) [$\\(]{0,3}$", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s$)\\*]{0,4}(?:[,;]|[,;]?\s?\b(?:and|or|y|e|o|et|ou|und|oder)\b|和|或|&)?[\s$(\\*]{0,4}")
_LINES = re.compile(r"[\s$)\\*.,;-]{0,8}(?:\b(?:and|or)\b)?[\s$(\\*-]{0,6}")
_LISTED = re.compile(
    r"[\s$)\]}*%°]{0,4}(?:[,;、&]\s?(?:and\s|or\s)?|\b(?:and|or|y|e|o|et|ou|und|oder)\b|和|或)[\s$(\[*\\{]{0,4}| ",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?: [^\W\d]{1,20}){1,2},? (?:and|&) (?=[$€£]?)")
_CLOSES = re.compile(
    r"[\s$)\]}*%°\\]{0,6}(?:[^\W\d]{1,20}[\s$)\]}*\\]{0,3})?(?:[.!?](?=\s|$)|。|[$*)\]}\\]{0,6}(?:\n|$))"
)
_NAMES = re.compile(
    r" (?!more|fewer|less|other|remain|left)[^\W\d]{1,20}[$*)]{0,4}(?:[.!?](?=\s|$)|\n|$)", re.IGNORECASE
)
_GIVEN = re.compile(
    r"\b(?:in|by|at|after|before|on|for|of|with|from|since|until|then|day|year|age|week|month|out)(?: (?:the"
    r"|those|these|all))? $",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"[\s\\]{0,3}(?:%|per ?cent)")
_ALGEBRA_BEFORE = re.compile(
    r"(?:(?<![A-Za-z'’])|(?<=\d))[A-Za-z](?:\^\{?\d{1,2}\}?|[²³])?"
    r"(?:\s?(?:[-−–+*/×·<>≤≥≠]|\\(?:[lg]eq?|[lg]t|neq?)(?![A-Za-z]))\s?[($]{0,2}|\s(?=[-−+]))$"
)
_ALGEBRA_BEHIND = re.compile(
    r"\s?[-−–+*×·]\s?\d{0,9}\s?[A-Za-z](?![A-Za-z'’])(?=\s?[-−+*=^²³)$}.,;!]|\s*$)"
    r"|\s?[<>≤≥≠]\s?[A-Za-z](?![A-Za-z])|[A-Za-z](?![A-Za-z])(?:\^\{?\d{1,2}\}?|[²³])?\s?[-−+*]\s?[\dA-Za-z(\\]"
)
_COEFFICIENT = re.compile(r"[A-Za-z](?![A-Za-z\d'’])")
_OPERATOR = re.compile(r"[-−–+*×·]\s?$")
_ASKED = re.compile(
    r"\b(?:find|what is|what['’]s|determine|compute|calculate|solve for|value of|give)(?: the value of)?\s[$\\(]{0,3}"
    r"(?:(?<=[$(])[aAI]|[b-zB-HJ-Z])(?![A-Za-z'’])(?<=([A-Za-z]))[$\\)]{0,3}"
    r"(?!\s?(?:,|and|or|[-+*/^=])\s?[$\\(]{0,3}[A-Za-z0-9](?![A-Za-z]))",
    re.IGNORECASE,
)


def variable_asked(question: str) -> str:
    """The one variable that a question asks for, "" for none."""
    asked = {found[1] for found in _ASKED.finditer(question)}
    return asked.pop() if len(asked) == 1 else ""


def variables(clause: str, *, lines: bool = False) -> dict[str, str]:
    """What a clause says that several variables are, as in "x = 15, y = 4": by their names, "" for one that it says two
    values of; nothing where it does not list them. lines: they are all of a text, each on a line of its own."""
    found = list(_ASSIGNED.finditer(clause))
    if (
        len(found) < 2
        or _SUPPOSED.search(clause[: found[0].start()])
        or (lines and not _LINES.fullmatch(clause, 0, found[0].start()))
    ):
        return {}
    numbers = {number.start: number for number in numerals(clause, items=False)}
    given: dict[str, str] = {}
    separator, end = _LINES if lines else _BETWEEN, found[0].start()
    for one in found:
        value = numbers.get(one.end()) or numbers.get(one.end() - 1)
        if value is None or not separator.fullmatch(clause, end, one.start()):
            return {}
        given[one[1]] = value.value if given.get(one[1], value.value) == value.value else ""
        end = value.end
    return {} if lines and not _LINES.fullmatch(clause, end) else given


def in_expression(text: str, number: Numeral) -> bool:
    """Whether a number is part of a formula with a variable: 1 of "x^2 + 1", 2 of "2x + 3" and of "2 + 3i"."""
    before = text[max(number.start - 12, 0) : number.start]
    if text[number.start : number.start + 1] in ("-", "−", "+"):
        before += text[number.start]
    if _COEFFICIENT.match(text, number.end) and _OPERATOR.search(before):
        return True
    return bool(_ALGEBRA_BEFORE.search(before) or _ALGEBRA_BEHIND.match(text, number.end))


def settled(text: str, found: Sequence[Numeral], answer: Numeral) -> Numeral | None:
    """`answer`; of numbers that are one, written twice ("1/2, or 50 %"), the first. None where it stands in a list that
    ends its clause: "7 or 8", "5, 6 and 7", "3 apples and 4 pears"."""
    at = next((n for n, one in enumerate(found) if one.start == answer.start), None)
    if at is None:
        return answer
    first = last = at
    while first and _LISTED.fullmatch(text, found[first - 1].end, found[first].start):
        first -= 1
    while last + 1 < len(found) and _LISTED.fullmatch(text, found[last].end, found[last + 1].start):
        last += 1
    if first == last:
        return None if _are_of_two_kinds(text, found, at) else answer
    if _GIVEN.search(text[max(found[first].start - 20, 0) : found[first].start]):
        return answer
    if _are_one(text, found[first : last + 1]):
        return found[first]
    return None if _CLOSES.match(text, found[last].end) else answer


def _are_of_two_kinds(text: str, found: Sequence[Numeral], at: int) -> bool:
    for one, other in ((at - 1, at), (at, at + 1)):
        if one >= 0 and other < len(found) and _NAMED.fullmatch(text, found[one].end, found[other].start):
            given = _GIVEN.search(text[max(found[one].start - 20, 0) : found[one].start])
            return not given and bool(_NAMES.match(text, found[other].end))
    return False


def _are_one(text: str, found: Sequence[Numeral]) -> bool:
    """Whether numbers are one, also as a percentage and rounded."""
    values = [_fraction(one.value) for one in found]
    if any(value is None for value in values):
        return False
    numbers = [value for value in values if value is not None]
    shares = [n / 100 if _PERCENT.match(text, one.end) else n for n, one in zip(numbers, found, strict=True)]
    return any(max(some) - min(some) <= NEAR * max(map(abs, some)) for some in (numbers, shares))


def _fraction(value: str) -> Fraction | None:
    """None for a ratio."""
    try:
        return Fraction(value)
    except ValueError:
        return None
