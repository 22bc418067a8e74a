"""What a question says about the number that it asks for: how it counts it, whose it is, and which numbers it gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from entropix.answers.numerals import MONTH, Numeral, numerals, readable
from entropix.answers.several import variable_asked

LONGEST = 4000
"""Characters at the end of a question that are read."""

_SENTENCE = re.compile(r"[^.?!\n？。](?:[^.?!\n？。]|\.(?=\d)){0,600}[?？]?")
_COUNTED = re.compile(
    r"\bhow (?:many|much) (?!of\b|more\b(?! [^\W\d])|in\b)(?:(?:more|additional|extra|total|whole|other|different) )?"
    r"((?:[^\W\d]{2,20} ){0,2}?[^\W\d]{2,20})(?= (?:is|are|was|were|do|does|did|can|could|will|would|should|has"
    r"|have|had|must"
    r"|may|might|in|on|at|of|to|per|left|remain|remained|there|that|for|from|with|between|below|above|fit|make"
    r"|equal)\b|[?,.]|$)",
    re.IGNORECASE,
)
_EVERY = re.compile(r"\b(?:each|every|per|apiece)\b", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:what|which) year\b", re.IGNORECASE)
_DATE = re.compile(
    rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)?(?: of)? )?{MONTH}\b\.?(?: \d{{1,2}}(?:st|nd|rd|th)?)?,? (?=(?:1\d|20)\d\d\b)"
    r"|(?<!\d)((?:1\d|20)\d\d)-\d\d-\d\d(?!\d)",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(r"=|\b(?:so|therefore|thus|hence|then|leaving|leaves|which)\b|所以", re.IGNORECASE)
_WORDS = re.compile(r"[ -]([^\W\d]{2,20})(?:[ -]([^\W\d]{2,20}))?")
_SAID_TO_BE = re.compile(r" (?:is|are|was|were) ([^\W\d]{3,20})")
_OTHER = re.compile(
    r"[-\s](?!(?:and|or|of|in|more|less|fewer|left|remain|remaining|each|per|for|to|than|total|times|is|are|was"
    r"|were|which|that"
    r"|because|since|if|from|by|at|on|with)\b)[^\W\d]{3,20}"
)
_NAME = r"(?:(?:and|while|but|whereas) )?([A-ZÀ-Þ][a-zß-ÿ]{1,20})(?:['’]s(?: [a-z]{2,14}){1,2})?"
_LINKED = r"(?:: ?| = ?|(?: [a-z]{2,12}){1,2} ?)[$€£]?"
_FIRST = re.compile(rf"\W{{0,4}}(?:[a-z]{{2,14}}, )?{_NAME}{_LINKED}", re.IGNORECASE)
_NEXT = re.compile(
    rf"(?: [a-z]{{1,20}}){{0,3}}(?:[,;] (?:(?:and|while|but|whereas) )?| (?:and|while|but|whereas) ){_NAME}{_LINKED}"
)
_LAST = re.compile(r"(?: ?[^\W\d]{1,20}){0,3}[\s.!*]{0,6}")
_COMPARES = re.compile(r"\b(?:than|because|if|when|so|therefore|thus|then|as|half|twice|not|of|total|together|each)\b")


_ALSO_SAID = re.compile(
    r"(?: [^\W\d]{1,20}| ?[°%$€£]){1,3}, or ?(?:about |around |roughly |approximately |nearly |just over )?[$€£]?"
)
"""Between an amount and the same one in another unit: 5 km, or about 3.1 miles."""
_NOTHING = re.compile(
    r"(?:so,? |then,? |therefore,? )?(?:none(?: (?:of (?:them|these|those)|are|is|remain|left|at all)){0,3}"
    r"|(?:\w{1,20} ){0,4}?(?:no|(?:not|\w{2,6}n['’]t) (?:have |own |get "
    r"|need )?any) (?:more )?([^\W\d]{2,20})(?: [a-z]{2,12}){0,3})[\s.!*]{0,4}",
    re.IGNORECASE,
)


class AskedNumber:
    """A question, read as far as the number that it asks for. Everything is empty for no question."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.variable = variable_asked(question)

    @cached_property
    def sentence(self) -> str:
        """The sentence that asks: the last one with a question mark, else the last one."""
        sentences = _SENTENCE.findall(self.question[-LONGEST:])
        asking = [one for one in sentences if one.endswith(("?", "？"))]
        return str((asking or [one for one in sentences if one.strip()] or [""])[-1])

    @cached_property
    def given(self) -> frozenset[str]:
        """The numbers that the sentence gives."""
        return frozenset(n.value for n in numerals(readable(self.sentence), items=False))

    @cached_property
    def counted(self) -> str:
        """What is counted, as its stem: apple for "how many red apples"."""
        found = _COUNTED.search(self.sentence)
        return _stem(found[1].split()[-1]) if found else ""

    @property
    def of_each(self) -> bool:
        """Whether it is the number of each of several."""
        return bool(_EVERY.search(self.sentence))

    def counts_each(self, sentence: str, found: Sequence[Numeral]) -> bool:
        """Whether a number of "5 tables with 4 people each" is asked for: of one, or of the tables."""
        return self.of_each or any(self.counts(sentence, n.end) for n in found[:-1])

    def years(self, text: str) -> str:
        """`text` with the year of every date in its place, where a year is asked for."""
        return _DATE.sub(lambda date: date[1] or "", text) if _YEAR.search(self.sentence) else text

    def preferred(self, sentence: str, found: Sequence[Numeral], answer: Numeral) -> Numeral:
        """`answer`, the number that a sentence seems to conclude with; another of `found` where that one says how many
        there are of what is counted, or where the question gives `answer` itself: 3 of "the car goes 150 miles in 3
        hours", asked how far it goes in 3 hours."""
        if len(found) < 2 or _CONCLUDES.search(sentence[: answer.start]):
            return answer
        if _ALSO_SAID.fullmatch(sentence, found[-2].end, found[-1].start):
            return (
                found[-1]
                if self._measures(sentence, found[-1]) and not self._measures(sentence, found[-2])
                else found[-2]
            )
        if (said := self._said_to_be(sentence, found)) is not None:
            return said
        counting = [n for n in found if self.counts(sentence, n.end)]
        if (
            len(counting) == 1
            and counting[0] is not answer
            and (_OTHER.match(sentence, answer.end) or ": " in sentence[counting[0].end : answer.start])
        ):
            return counting[0]
        new = [n for n in found if n.value not in self.given]
        return new[0] if answer.value in self.given and len(new) == 1 else answer

    def counts(self, text: str, end: int) -> bool:
        """Whether the number that ends there says how many there are of what is counted."""
        words = _WORDS.match(text, end) if self.counted else None
        return bool(words and self.counted in (_stem(words[1]), _stem(words[2] or "")))

    def _measures(self, sentence: str, number: Numeral) -> bool:
        """Whether the question names the unit behind a number, or what it is for: 36,000 a year."""
        words = re.findall(r"[^\W\d]{3,20}", sentence[number.end :].split(",", 1)[0])[:3]
        return any(re.search(rf"\b{_stem(word)}", self.sentence, re.IGNORECASE) for word in words)

    def _said_to_be(self, sentence: str, found: Sequence[Numeral]) -> Numeral | None:
        """12 of "12 are red and 18 are blue", asked how many are red."""
        said = {one[1].lower(): n for n in found if (one := _SAID_TO_BE.match(sentence, n.end))}
        asked = [n for word, n in said.items() if re.search(rf"\b{word}\b", self.sentence, re.IGNORECASE)]
        return asked[0] if len(said) > 1 and len(asked) == 1 else None

    def none(self, text: str) -> str | None:
        """0 where a text says that there are none of what is counted."""
        said = _NOTHING.fullmatch(text.strip()[-200:]) if self.counted else None
        return "0" if said and (not said[1] or _stem(said[1]) == self.counted) else None

    def of_names(self, sentence: str, found: Sequence[Numeral]) -> str | None:
        """The number of the one that the question names, in a sentence that says no more than what each of several has:
        12 of "Ann has 12, Bob has 9"; "" where it names none or more; None for any other sentence."""
        if len(found) < 2 or _COMPARES.search(sentence):
            return None
        parts = [_FIRST.fullmatch(sentence, 0, found[0].start)]
        parts += [_NEXT.fullmatch(sentence, one.end, other.start) for one, other in pairwise(found)]
        if not all(parts) or not _LAST.fullmatch(sentence, found[-1].end):
            return None
        values = {part[1]: n.value for part, n in zip(parts, found, strict=True) if part}
        asked = [name for name in values if re.search(rf"\b{name}\b", self.sentence)]
        return values[asked[0]] if len(asked) == 1 else ""


def _stem(word: str) -> str:
    word = word.lower()
    return word.removesuffix("es") if word.endswith(("shes", "ches", "xes", "sses")) else word.removesuffix("s")
