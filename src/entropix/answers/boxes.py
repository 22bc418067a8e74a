"""What the last \\boxed{…} of a text holds, and whether that is a number or an expression."""

from __future__ import annotations

import re

from entropix.answers.numerals import IRRATIONAL, numerals

_BOX = re.compile(r"\\(?:boxed|fbox) ?(?:\{| ([^\s{}\\$]{1,80}))")
_LINE = re.compile(r"[^\n$]{0,400}")
_NEXT = re.compile(r"[\s$,;.()\\]{0,6}(?:(?:\\text\{)?\s?(?:and|or)\s?\}?)?[\s$,()\\]{0,6}(?:[A-Za-z]\s?=\s?)?")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textrm|mathrm|mathbf|operatorname)\{([^{}]{0,200})\}")
_SEVERAL = re.compile(r"\s?(?:\\left)?\s?(?:\\?\{|[(\[])[^,;]{1,80}[,;].{1,200}(?:\\?\}|[)\]])\s?", re.DOTALL)
_ALLOWED = re.compile(
    r"(?:\\circ|°)\s?[CFK](?![A-Za-z])|\\(?:circ|degree|quad|qquad|approx|displaystyle|left|right|%|\$"
    r"|[,;:! ])(?![A-Za-z])"
    r"|\0\s?[mgshlLVWNJKCFAp](?![A-Za-z])(?:\^?\{?[23²³]\}?)?"  # a unit
    r"|/\s?[A-Za-z]{1,8}(?:\s?\^?\{?-?[123²³]\}?)?|[^\W\d_]{2,}(?:-[^\W\d_]{2,})*(?:\s?\^?\{?-?[123²³]\}?)?"
)
MOST_BOXES = 8
"""That stand together."""
_ALGEBRA = re.compile(r"[A-Za-zα-ω\\_!<>≤≥≠±|+*/×÷·−–-]|\0\s?\0")


def in_box(text: str) -> str:
    """What the last \\boxed{…} (also \\fbox, and \\boxed 5) holds, with balanced braces; "" for none."""
    return _held(text, _last(text))[0]


def last_boxes(text: str) -> list[str]:
    """What the last \\boxed{…} holds, and those that stand right before it, as in "\\boxed{3} and \\boxed{4}"."""
    found: list[str] = []
    end = len(text)
    while len(found) < MOST_BOXES:
        start = _last(text[:end])
        held, after = _held(text, start)
        if not held or (found and not _NEXT.fullmatch(text, after, end)):
            break
        found.insert(0, held)
        end = start
    return found


def closed(text: str) -> str:
    """`text` with its last box closed, where its brace was forgotten at the end of the line or was cut off; without the
    box, where what it holds was cut off in the middle of a formula."""
    start = _last(text)
    opened = _BOX.match(text, start) if start >= 0 else None
    if opened is None or opened[1] or in_box(text):
        return text
    held = _LINE.match(text, opened.end())
    whole = held is not None and held[0].count("{") == held[0].count("}")
    return text[:start] + (f"\\boxed{{{held[0]}}}{text[held.end() :]}" if held and whole else "")


def without_texts(box: str) -> str:
    """`box` with what its \\text{…} hold in their places."""
    return " ".join(_TEXT.sub(r" \1 ", box).replace("~", " ").split())


def is_expression(box: str) -> bool:
    """Whether a box holds a formula, a tuple or an interval: anything but a number with its unit and words."""
    if IRRATIONAL.search(box) or _SEVERAL.fullmatch(box):
        return True
    for one in reversed(numerals(box, items=False)):
        box = f"{box[: one.start]}\0{box[one.end :]}"
    return bool(_ALGEBRA.search(_ALLOWED.sub("", box)))


def _last(text: str) -> int:
    return max(text.rfind("\\boxed"), text.rfind("\\fbox"))


def _held(text: str, start: int) -> tuple[str, int]:
    """What the box at `start` holds, and where it ends; "" for none."""
    opened = _BOX.match(text, start) if start >= 0 else None
    if opened is None:
        return "", 0
    if opened[1]:
        return opened[1].rstrip(".,;$"), opened.end()
    begin, depth = opened.end(), 1
    for at in range(begin, len(text)):
        if text[at] in "{}" and text[at - 1] != "\\":
            depth += 1 if text[at] == "{" else -1
            if not depth:
                return text[begin:at].strip(), at + 1
    return "", 0
