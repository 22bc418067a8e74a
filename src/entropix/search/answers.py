"""What a text answers, so that two phrasings of one answer are one vote."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from entropix.errors import ParameterError

Extractor: TypeAlias = "Callable[[str], str | None]"

_NUMBER = re.compile(r"(?<![\w.])[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?<=\d)")
_MARKED = re.compile(r"####\s*|(?:final answer|answer|result)\s*(?:is|=|:)", re.IGNORECASE)
_CHOICE = re.compile(r"(?:answer|option|choice)\s*(?:is|:)?\s*\**\(?([A-J])\b", re.IGNORECASE)
_LETTER = re.compile(r"(?<![\w'])\(?([A-J])(?:[).:]|\s*$)", re.MULTILINE)


def number(text: str) -> str | None:
    """The number a text ends on: in \\boxed{}, after "####" or the last "answer is", else the last one. Without
    thousands separators and trailing zeros; None for none."""
    inner = boxed(text)
    if inner is not None:
        found = _numbers(inner)
        if found:
            return found[-1]
    marks = list(_MARKED.finditer(text))
    if marks:
        line = text[marks[-1].end() :].split("\n", 1)[0]
        found = _numbers(line)
        if found:
            return found[-1] if "=" in line else found[0]
    found = _numbers(text)
    return found[-1] if found else None


def choice(text: str) -> str | None:
    """The letter A … J that a text chooses: after "answer is", else the last letter that stands as a choice."""
    found = _CHOICE.findall(text) or _LETTER.findall(text)
    return found[-1].upper() if found else None


def boxed(text: str) -> str | None:
    """What the last \\boxed{…} holds, with balanced braces; None for none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[begin:at].strip() or None
    return None


def exact(text: str) -> str | None:
    """The whole text, without space around it."""
    return text.strip() or None


EXTRACTORS: dict[str, Extractor] = {"number": number, "choice": choice, "boxed": boxed, "text": exact}


def extractor(answer: str | Extractor | None) -> Extractor | None:
    """The function that `answer` names, or the function itself; None for "none". Raises ParameterError."""
    if answer is None or answer == "none":
        return None
    if callable(answer):
        return answer
    if answer not in EXTRACTORS:
        raise ParameterError(f"answer={answer!r} is unknown; known are none, {', '.join(EXTRACTORS)}, or a function")
    return EXTRACTORS[answer]


def _numbers(text: str) -> list[str]:
    found = []
    for raw in _NUMBER.findall(text):
        if not raw:
            continue
        try:
            value = Decimal(raw.replace(",", "").replace("−", "-"))
        except InvalidOperation:
            continue
        plain = format(value, "f")
        plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
        found.append("0" if plain in ("-0", "") else plain)
    return found
