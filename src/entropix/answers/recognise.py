"""Which kind of answer a question has, read off the question and the texts that answer it.

A vote needs to know what counts as the same answer. Where the user does not say, this decides, and `Recognised.why`
says from what. This project's own; docs/effort.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entropix.answers.extractors import EXTRACTORS, extractor
from entropix.answers.short import short

OPEN = "none"
"""The kind of a question that no vote decides."""

MOST_CHARACTERS = 280
"""A text without an answer that is marked as one, and longer than this, explains something rather than answering."""

_OPTION = re.compile(r"^\s*\(?([A-J])[).:]\s+\S", re.MULTILINE)
_INLINE_OPTION = re.compile(r"(?:^|\s)\(?([A-J])\)\s*\S")
_WITHIN = re.compile(r"(?:^|\s)([A-J])\.\s+(?![A-J]\.)\S")
"""An option within a line, unlike the initials of A. B. Paterson; the end of a sentence looks the same."""
_COUNTS = re.compile(
    r"\bhow (?:many|much|old|far|long|tall|fast|heavy|large|big|high|deep)\b|\bwhat (?:is|'s|are) (?:the )?"
    r"(?:sum|total|product|difference|average|mean|value|number|amount|price|cost|percentage|area|volume|perimeter"
    r"|probability|result|remainder)\b|\b(?:calculate|compute|evaluate|solve)\b|\d\s*[-+*/×÷^]\s*\d",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_FACT = re.compile(
    r"^\W*(?:who|whom|whose|when|where|which|what|name|in (?:what|which)|on what|is|are|was|were|does|did|do|can)\b",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"\b(?:why|explain|describe|write|story|poem|essay|summari[sz]e|translate|discuss|compare|list|suggest|tell me"
    r"|ideas?|help me|how (?:do|does|can|could|should|would|to|is|are|did))\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"\b(?:function|python|program|script|code|def|class|implement)\b", re.IGNORECASE)
_MARKED = re.compile(r"####|\banswer\s*(?:is|:|=)|(?:答案|답|ответ|réponse|respuesta|antwort)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recognised:
    """kind: a name of `EXTRACTORS`, or "none" for an open question, which one text answers. why: for the reader."""

    kind: str
    why: str


class Recogniser:
    """An extractor that finds out what it extracts. One per answer: it is settled by the texts of the first wave."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.found: Recognised | None = None

    def settle(self, texts: Sequence[str]) -> Recognised:
        """Decide by these texts, once."""
        if self.found is None:
            self.found = recognise(self.question, texts)
        return self.found

    def __call__(self, text: str) -> str | None:
        assert self.found is not None, "it is settled before it extracts"
        extract = extractor(self.found.kind, self.question)
        return None if extract is None else extract(text)


def is_open(question: str) -> bool:
    """Whether a question asks for an explanation or a piece of writing, whatever the texts may say."""
    asks_number = _COUNTS.search(question) or _options(question) or _CODE.search(question)
    return bool(_OPEN.search(question)) and not asks_number


def recognise(question: str, texts: Sequence[str]) -> Recognised:
    """The kind of answer that most of `texts` give to `question`. texts: at least one, of the same question.

    Deterministic, and does not depend on the order of the texts."""
    listed = _options(question)
    if listed or _WITHIN.findall(question)[:2] == ["A", "B"]:
        chosen = _most(texts, "choice", "the question lists options")
        if chosen or listed:
            return chosen or Recognised("none", "no text chooses an option")
    if found := _most(texts, "boxed", "the texts give \\boxed{} answers", lambda text: "\\boxed{" in text):
        return found
    if _CODE.search(question) and (
        found := _most(texts, "code", "the texts answer in code", lambda t: "```" in t or "def " in t)
    ):
        return found
    counts, is_open = _COUNTS.search(question), _OPEN.search(question)
    # a problem in words states at least two numbers, however it asks for the third
    asks_number = counts or (len(_NUMBER.findall(question)) >= 2 and not is_open)
    if asks_number and (found := _most(texts, "number", "the question asks for a number")):
        return found
    if is_open:
        return Recognised("none", "the question is open")
    marked = [text for text in texts if _MARKED.search(text)]
    if len(marked) * 2 > len(texts) and _most(marked, "number", "") and not _FACT.search(question):
        return Recognised("number", "the texts mark a number as their answer")
    brief = [t for t in texts if short(t, question) and (len(t) <= MOST_CHARACTERS or _MARKED.search(t))]
    if len(brief) * 2 > len(texts):
        return Recognised("short", "the texts are short")
    return Recognised("none", "the texts explain rather than give a short answer")


def _options(question: str) -> bool:
    """Whether a question lists at least the options A and B."""
    for pattern in (_OPTION, _INLINE_OPTION):
        letters = pattern.findall(question)
        if letters[:2] == ["A", "B"]:
            return True
    return False


def _most(
    texts: Sequence[str], kind: str, why: str, looks: Callable[[str], bool] = lambda text: True
) -> Recognised | None:
    """`kind` if more than half of the texts look like it and give an answer of it."""
    extract = EXTRACTORS[kind]
    giving = sum(bool(looks(text) and extract(text)) for text in texts)
    return Recognised(kind, why) if giving * 2 > len(texts) else None
