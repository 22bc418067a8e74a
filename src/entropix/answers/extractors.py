"""What a text answers, so that two phrasings of one answer are one vote."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from entropix.answers.boxes import last_boxes
from entropix.answers.chosen import chosen
from entropix.answers.latex import plain
from entropix.answers.marks import spoken, unthought
from entropix.answers.short import short
from entropix.answers.stated import stated_number
from entropix.errors import ParameterError

Extractor: TypeAlias = "Callable[[str], str | None]"

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)
_DEFINES = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)
_STARTS = re.compile(r"(?:async +)?def +\w+ *\(|class +\w+ *[(:]|import +\w|from +[\w.]+ +import\b|@\w")
_CODE_LINE = re.compile(
    r"""[ \t#)\]}@"']"""
    r"|(?:async|def|class|import|from|if|elif|else|for|while|try|except|finally|with|return|assert|raise|pass|del)\b"
    r"(?!.*[.!?]$)"  # a sentence may begin so
    r"|[A-Za-z_][\w.]*(?:\[[^\]]*\])?(?:, *\w+)*(?: *: *[\w\[\], .|]+)? *[-+*/%&|]?="
    r"|[\w.]+\("
)


def number(text: str, question: str = "") -> str | None:
    """The number a text answers, in the one form of `answers.numerals`: in the last \\boxed{}, else behind the last
    "####" or "answer is", else in its last sentence. None for none, for several ("7 or 8") and for a formula.

    An amount in two units counts in the larger one ("3 hours 20 minutes": 10/3), or in the one that `question` asks for
    ("how many minutes": 200); of "x = 15, y = 4" the variable that it asks for answers, without one none."""
    return stated_number(text, question)


def choice(text: str, question: str = "") -> str | None:
    """The letter A … J that a text chooses (`answers.chosen`); None for none. question: where it lists the options, the
    words of one are its letter."""
    return chosen(text, question)


def boxed(text: str) -> str | None:
    """What the last \\boxed{…} holds, in `latex.plain` form: \\dfrac12 and 0.5 are \\frac{1}{2}. None for none. Boxes
    that stand together ("\\boxed{3} and \\boxed{4}") are one with both."""
    return plain(", ".join(last_boxes(spoken(text)))) or None


def code(text: str) -> str | None:
    """The Python code of an answer: the last fenced block that defines a function (but for tests, where there is
    another), else the last one; without a fence the text from its first line of code on. None for none. A fence need
    not be closed, since an answer may have been cut off."""
    text = unthought(text)
    blocks = [b for b in _blocks(text) if b.strip()]
    if not blocks:
        lines = text.strip("\n").split("\n")
        if lines[0][:1] in (" ", "\t") and lines[0].strip():  # a function that was begun in the question
            return _without_prose(lines)
        start = next((n for n, line in enumerate(lines) if _STARTS.match(line)), None)
        return None if start is None else _without_prose(lines[start:])
    defining = [b for b in blocks if _DEFINES.search(b)]
    solving = [b for b in defining if not all(name.startswith("test") for name in _DEFINES.findall(b))]
    return (solving or defining or blocks)[-1].strip("\n").rstrip()


def exact(text: str) -> str | None:
    """The whole text, without space around it."""
    return text.strip() or None


EXTRACTORS: dict[str, Extractor] = {
    "number": number,
    "choice": choice,
    "boxed": boxed,
    "code": code,
    "short": short,
    "text": exact,
}
_READ_BY_QUESTION: dict[str, Callable[..., str | None]] = {"number": number, "choice": choice, "short": short}


def extractor(answer: str | Extractor | None, question: str = "") -> Extractor | None:
    """The function that `answer` names, or the function itself; None for "none". question: what the texts answer: it
    names the unit or variable of a number and lists the options of a choice, and a short answer is taken out of the
    sentence that repeats it. Raises ParameterError."""
    if answer is None or answer == "none":
        return None
    if callable(answer):
        return answer
    if answer not in EXTRACTORS:
        raise ParameterError(f"answer={answer!r} is unknown; known are none, {', '.join(EXTRACTORS)}, or a function")
    return (
        partial(_READ_BY_QUESTION[answer], question=question)
        if question and answer in _READ_BY_QUESTION
        else EXTRACTORS[answer]
    )


def _blocks(text: str) -> list[str]:
    """What stands in the fences of a text, if they hold Python or do not say what they hold; else in all of them."""
    found: list[tuple[str, str]] = []
    at, opened = 0, None
    for mark in _FENCE.finditer(text):
        indent, fence, language = mark.groups()
        if opened is None:
            before = text[at : mark.start()]
            if not found and not language.strip() and _STARTS.match(before.lstrip("\n")):
                found.append(("python", before))  # the fence was opened in the question
            else:
                opened = indent, fence, language.strip().lower()
        elif fence[0] == opened[1][0] and len(fence) >= len(opened[1]) and not language.strip():
            found.append((opened[2], _dedented(text[at : mark.start()], opened[0])))
            opened = None
        else:
            continue
        at = mark.end() + 1
    if opened is not None:
        found.append((opened[2], _dedented(text[at:], opened[0])))
    python = [block for language, block in found if language.split(" ")[0] in ("", "python", "python3", "py", "py3")]
    return python or [block for _, block in found]


def _dedented(block: str, indent: str) -> str:
    return "\n".join(line.removeprefix(indent) for line in block.split("\n"))


def _without_prose(lines: list[str]) -> str:
    """Lines of code up to the first one at the margin that cannot be code."""
    end = next((n for n, line in enumerate(lines) if line and not _CODE_LINE.match(line)), len(lines))
    return "\n".join(lines[:end]).rstrip()
