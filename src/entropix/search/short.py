"""Short factual answers: a name, a date or a place, compared as SQuAD's scorer compares them.

Source of the normalisation: Rajpurkar et al. 2016, arXiv:1606.05250, evaluation script (lower case, no punctuation, no
articles, single spaces). Reading the answer off a sentence is this project's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from entropix.search.marks import spoken

MOST_WORDS = 10
"""A longer answer is a sentence that explains rather than a short answer, and two of those are never equal."""

_MARKED = re.compile(r"\b(?:final\s+|short\s+)?answer\s*(?:is|:|=)\s*:?\s*", re.IGNORECASE)
_MARKUP = re.compile(r"[*_`#>]+|^\s*(?:[-•]|\d+[.)])\s+", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=\w{3})[.!?]+(?:\s+|$)|\n")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_COPULA = re.compile(r"\s+(?:is|was|are|were|has been|have been|became|remains)\s+", re.IGNORECASE)
_LEAD = re.compile(
    r"^(?:(?:in|on|at|by|from|to|of|as|called|named|known|located|situated|released|published|born|founded|written|sung|"
    r"played|directed|created|invented|about|around|approximately|currently|simply)\s+)+",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"\s*(?:[;(–—]|,\s+(?:which|who|where|when|a|an|the|and|but|as|in|located|released|born|also|known|or)\b"
    r"|\s(?:which|who|because|since|although|while|where)\s).*$",
    re.IGNORECASE | re.DOTALL,
)
_DATE = re.compile(
    r"(?:(?:\d{1,2}\s+)?(?:January|February|March|April|May|June|July|August|September|October|November|December)"
    r"(?:\s+\d{1,2}(?:st|nd|rd|th)?)?,?\s+)?\b(?:1\d{3}|20\d{2})\b",
)
_WHEN = re.compile(r"\bwhen\b|\b(?:what|which|in what)\s+(?:year|date|day)\b", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:i|we)\s+(?:do\s?n[o']?t|don’t|cannot|can[’']?t|am\s+not|are\s+not|could\s+not|couldn[’']t)\s+"
    r"(?:know|sure|able|answer|find|determine|provide|have)|\b(?:as an ai|i[’']m (?:sorry|not sure|unable)|unknown\b|"
    r"no (?:information|answer) (?:is )?(?:available|known)|not (?:known|available|enough information))",
    re.IGNORECASE,
)
_FUNCTION = frozenset(
    (
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "by",
        "to",
        "from",
        "for",
        "with",
        "and",
        "or",
        "is",
        "was",
        "are",
        "were",
        "be",
        "been",
        "it",
        "its",
        "this",
        "that",
        "he",
        "she",
        "they",
        "his",
        "her",
        "their",
        "as",
        "did",
        "do",
        "does",
        "has",
        "have",
        "had",
        "which",
        "who",
        "whom",
        "whose",
        "what",
        "when",
        "where",
        "why",
        "how",
    )
)


def normalised(text: str) -> str:
    """`text` as SQuAD's scorer compares it: lower case, without punctuation, articles and repeated spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = "".join(c for c in text if not unicodedata.category(c).startswith("P") and c not in "$€£^~`|+<>=")
    text = unicodedata.normalize("NFKC", text)  # what stood between a letter and its accent may be gone
    return " ".join(_ARTICLES.sub(" ", text).split())


def short(text: str, question: str = "") -> str | None:
    """The short answer that `text` gives, normalised; None where it gives none, refuses, or explains instead.

    A marked answer ("the answer is …") counts first, else the first sentence. `question` helps to take the answer out
    of a sentence that repeats it: of "Hamlet was written by William Shakespeare." what it did not say."""
    text = _MARKUP.sub("", spoken(text).strip()).strip()
    if not text or _REFUSAL.search(text[:200]):
        return None
    marks = list(_MARKED.finditer(text))
    rest = text[marks[-1].end() :] if marks else text
    sentence = _first_sentence(rest) or _first_sentence(text)
    asked = _words(question)
    answer = normalised(_taken_out(sentence, asked, bool(_WHEN.search(question))))
    return answer if answer and len(answer.split()) <= MOST_WORDS else None


def matches(answer: str | None, accepted: Iterable[str]) -> bool:
    """Whether an extracted answer is one of the accepted ones, as SQuAD's exact match has it."""
    return answer is not None and normalised(answer) in {normalised(one) for one in accepted}


def _first_sentence(text: str) -> str:
    for part in _SENTENCE_END.split(text):
        if part and part.strip(" .,:;!?\"'“”"):
            return part.strip().rstrip(".!?").strip()
    return ""


def _words(text: str) -> frozenset[str]:
    return frozenset(normalised(text).split()) - _FUNCTION


def _taken_out(sentence: str, asked: frozenset[str], wants_date: bool) -> str:
    """The part of a sentence that answers."""
    if wants_date and (dates := _DATE.findall(sentence)):
        return str(dates[-1])
    copula = _COPULA.search(sentence)
    if copula:
        left, right = sentence[: copula.start()], sentence[copula.end() :]
        if _words(left) and _overlap(right, asked) > _overlap(left, asked):
            return left
        return _CLAUSE.sub("", _LEAD.sub("", right))
    if asked and _words(sentence) & asked and len(sentence.split()) > 2:
        return max(_runs(sentence, asked), key=len, default=sentence)
    return _CLAUSE.sub("", _LEAD.sub("", sentence))


def _overlap(part: str, asked: frozenset[str]) -> float:
    words = _words(part)
    return len(words & asked) / len(words) if words else 0.0


def _runs(sentence: str, asked: frozenset[str]) -> list[str]:
    """Stretches of words that the question does not hold, without function words at their ends."""
    runs: list[list[str]] = [[]]
    for word in sentence.split():
        if normalised(word) in asked:
            runs.append([])
        else:
            runs[-1].append(word)
    trimmed = []
    for run in runs:
        while run and run[0].lower() in _FUNCTION:
            run.pop(0)
        while run and run[-1].lower() in _FUNCTION:
            run.pop()
        if run:
            trimmed.append(" ".join(run))
    return trimmed
