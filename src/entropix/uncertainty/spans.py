"""Where in a text to distrust it: its numbers, dates, names, quoted strings, identifiers and JSON values, each with the
probability of its tokens."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple, overload

from entropix.answers.forms import MONTH_IN_DATE
from entropix.answers.numerals import numerals
from entropix.types import Step
from entropix.uncertainty.claims import FUNCTION_WORDS
from entropix.uncertainty.values import blocks, scan

KINDS = ("number", "date", "name", "quote", "identifier", "value")
DOUBTFUL = 0.9
"""Spans of at least this probability are not shown as doubtful."""
ALTERNATIVES = 4

_ADDRESS = r"[A-Za-z0-9/%\#?=&.,:;~+@!$()*_-]{1,400}(?<![.,:;!?)*])"
_FOUND = re.compile(
    rf"""
    (?P<date>
        (?<![\d/.-])\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?![\d])(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}})?)?
      | (?<![\d/.-])\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})(?![\d/-]|\.\d)
      | \b{MONTH_IN_DATE}\ \d{{1,2}}(?:st|nd|rd|th)?(?:,?\ \d{{4}})?(?!\d)
      | \b\d{{1,2}}(?:st|nd|rd|th)?\ (?:of\ )?{MONTH_IN_DATE}(?:,?\ \d{{4}})?(?!\d)
      | \b{MONTH_IN_DATE}\ \d{{4}}\b
      | \d{{4}}年(?:\d{{1,2}}月(?:\d{{1,2}}日)?)?
    )
  | (?P<identifier>
        `[^`\n]{{1,200}}`
      | \bhttps?://{_ADDRESS} | \bwww\.{_ADDRESS}
      | \b[\w.+-]{{1,64}}@\w[\w-]{{0,62}}(?:\.\w[\w-]{{0,62}}){{1,5}}
      | (?<![\w./~])(?:~|\.{{1,2}})?(?:/[\w.-]{{0,80}}\w){{2,20}} | \b[A-Z]:\\[\w.\\-]{{0,200}}\w
      | \b[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}\b | \b0x[0-9a-fA-F]{{1,32}}\b
      | (?<![\w.])\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?![\d.]*\d) | \bv\d{{1,4}}(?:\.\d{{1,6}}){{1,3}}\b
      | \b[A-Za-z_]\w{{0,80}}(?:\.[A-Za-z_]\w{{0,80}}){{0,8}}\(\)?
      | \b[A-Za-z]\w{{0,80}}_\w{{1,80}}\b
      | \b[a-z_]\w{{1,80}}(?:\.[a-z_]\w{{0,80}}){{1,8}}(?:\.[A-Z]\w{{0,80}})?\b
      | \b[a-z]{{1,40}}[A-Z]\w{{0,80}}\b
    )
  | (?P<quote> “[^”\n]{{1,300}}” | «[^»\n]{{1,300}}» | „[^“”\n]{{1,300}}[“”] | 「[^」\n]{{1,300}}」
      | 『[^』\n]{{1,300}}』 | 《[^》\n]{{1,300}}》 | (?<!\w)‘[^‘’\n]{{2,200}}’(?!\w)
      | (?<![\w"])"[^"\n]{{1,300}}"(?!\w) | (?<![\w'’])'[^'\n]{{2,200}}'(?![\w]) )
  | (?P<number> (?<![\w.,])\d{{1,3}}(?:\.\d{{3}}){{1,5}},\d{{1,3}}(?![\d.,]*\d) )
    """,
    re.VERBOSE,
)
_DIGITS = re.compile(r"(?<![\w.,])\d+(?:[.,:/–-]\d+)*")
"""Numbers that are no answer's, and so are not read as one: of a telephone or a book, times, spans, the 2 of 2nd."""
_WORD = re.compile(r"[^\W\d_](?:[\w'’&-]{0,60}\w)?\.?")
_BETWEEN = frozenset(
    [
        "of",
        "de",
        "del",
        "della",
        "van",
        "von",
        "der",
        "den",
        "the",
        "la",
        "le",
        "du",
        "da",
        "di",
        "al",
        "bin",
        "ibn",
        "y",
        "e",
    ]
)
_STARTERS = (
    "yes no here let let's first second next then finally therefore thus hence however although first now today to"
)
_NO_NAME = FUNCTION_WORDS | frozenset(_STARTERS.split())
_SENTENCE_END = re.compile(
    r"(?:[.!?:;…。！？]['\"”’)\]*_]{0,3}|[\n\r*#>|•\u2190-\u2bff\ufe0f\U0001f000-\U0001faff-])\s*[\"“'‘(\[*_]{0,3}\Z"
)
_UNIT_BEHIND = re.compile(r"(?:\d[ \u00a0\u202f]?°?|°)\Z")
_MEASURES = "C F K V A W N J T Hz Pa kB KB MB GB TB kHz MHz GHz kW MW GW Mbps Gbps"
_UNITS = frozenset(_MEASURES.split())
"""What behind a number is no name."""
_NEAR = 12
"""Characters before a word that say whether it begins a sentence."""
_FEW = 25
"""A text of so few words is an answer, and a word that begins a sentence may be a name."""


class SpanPlace(NamedTuple):
    """Something in a text that can be wrong: its kind, and its characters."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A place in an answer's text with what the model gave it.

    start, end: characters of the text; first, last: the steps that hold them, `last` included. probability: Π p of the
    model's own tokens among them, before temperature, which grows smaller with their number; None where there is none,
    as in injected text. least: the label of the least likely token, its p, and the other tokens that were likely there
    with theirs, as (label, p)."""

    kind: str
    start: int
    end: int
    text: str
    first: int
    last: int
    probability: float | None
    least: str
    least_probability: float | None
    alternatives: tuple[tuple[str, float], ...] = ()

    def moved(self, characters: int, steps: int) -> TextSpan:
        """The same in an answer that has so many more characters and steps before this one."""
        start, end = self.start + characters, self.end + characters
        return replace(self, start=start, end=end, first=self.first + steps, last=self.last + steps)

    @property
    def uncertainty(self) -> float:
        """1 − probability; 0 where no token was the model's own."""
        return 0.0 if self.probability is None else 1 - self.probability

    @property
    def doubtful(self) -> bool:
        return self.probability is not None and self.probability < DOUBTFUL


def places(text: str) -> list[SpanPlace]:
    """The places in a text that can be wrong, in order and without overlap, in time linear in the text. Of what is JSON
    in it, all of it or what stands in a fence, they are its values; strings without their quotes."""
    read = [(place, found) for place in blocks(text) if (found := scan(text, *place)) is not None]
    values = [SpanPlace("value", v.start, v.end) for _, found in read for v in found if not v.is_empty]
    if any(place == (0, len(text)) for place, _ in read):
        return values
    taken = [SpanPlace(str(m.lastgroup), m.start(), m.end()) for m in _FOUND.finditer(text)]
    taken = merged(taken, (_trimmed("number", n.start, n.end, text) for n in numerals(text)))
    taken = merged(taken, (SpanPlace("number", m.start(), m.end()) for m in _DIGITS.finditer(text)))
    taken = merged(taken, names(text))
    json = [SpanPlace("", *place) for place, _ in read]
    return sorted([*values, *(p for p in merged(json, iter(taken)) if p.kind)], key=lambda p: p.start)


def _trimmed(kind: str, start: int, end: int, text: str) -> SpanPlace:
    """A place without the white space around it."""
    said = text[start:end]
    return SpanPlace(kind, end - len(said.lstrip()), start + len(said.rstrip()))


def merged(first: Sequence[SpanPlace], others: Iterator[SpanPlace]) -> list[SpanPlace]:
    """Both in order, of two that overlap the one of `first`. Each is in order and without overlap itself."""
    starts, ends = [p.start for p in first], [p.end for p in first]
    free = [p for p in others if bisect_right(ends, p.start) == bisect_left(starts, p.end)]
    return sorted([*first, *free], key=lambda p: p.start)


def names(text: str) -> Iterator[SpanPlace]:
    """Runs of capitalised words. A single one that begins a sentence is a name where the text is no more than a few
    sentences, or where it is capitalised within a sentence as well."""
    words = list(_WORD.finditer(text))
    capital = [m[0][0].isupper() and m[0] not in ("I", "I'm", "I’m") for m in words]
    begins = [bool(_SENTENCE_END.search(text[max(m.start() - _NEAR, 0) : m.start()])) for m in words]
    begins[:1] = [b or not any(map(str.isalnum, text[: m.start()])) for b, m in zip(begins[:1], words, strict=False)]
    for k in range(1, len(words)):  # the point of an initial, as in J. S. Bach, ends no sentence
        begins[k] &= not (
            capital[k - 1] and re.fullmatch(r"\w\.", words[k - 1][0]) and words[k].start() - words[k - 1].end() == 1
        )
    within = {m[0].rstrip(".") for m, c, b in zip(words, capital, begins, strict=True) if c and not b}
    n = 0
    while n < len(words):
        if not capital[n] or (begins[n] and _no_name(words[n][0])) or _is_unit(words[n], text):
            n += 1
            continue
        last = n
        for k in range(n + 1, min(n + 8, len(words))):
            if text[words[k - 1].end() : words[k].start()] != " " or begins[k]:
                break
            if capital[k]:
                last = k
            elif words[k][0] not in _BETWEEN:
                break
        word = words[n][0].rstrip(".")
        if last > n or not begins[n] or word in within or len(words) <= _FEW:
            end = words[last].end()
            # a point ends the sentence but for initials, as in J. S. Bach
            yield SpanPlace(
                "name", words[n].start(), end - 1 if text[end - 1] == "." and len(words[last][0]) > 2 else end
            )
        n = last + 1


def _is_unit(word: re.Match[str], text: str) -> bool:
    """Whether a word is the unit of the number before it."""
    return word[0].rstrip(".") in _UNITS and bool(
        _UNIT_BEHIND.search(text[max(word.start() - _NEAR, 0) : word.start()])
    )


def _no_name(word: str) -> bool:
    """Whether a word has its capital from the sentence that it begins."""
    word = re.split(r"['’.]", word.casefold())[0]
    return word in _NO_NAME


def spans_of(text: str, steps: Sequence[Step], found: Sequence[SpanPlace] | None = None) -> list[TextSpan]:
    """The places of an answer's text, or those of `found`, with what its steps gave them. text: what the steps' texts
    join to. Time is linear in the text and the steps."""
    found = places(text) if found is None else found
    ends = list(accumulate(len(step.text) for step in steps))
    made = []
    for place in found:
        if not ends or place.end > ends[-1]:
            continue  # the text has more than the steps, as one that was read from a damaged trace may
        made.append(_span(place, text, steps, first_step(steps, ends, place.start), bisect_left(ends, place.end)))
    return made


def first_step(steps: Sequence[Step], ends: Sequence[int], start: int) -> int:
    """The step that begins what stands at the character `start`. ends: up to which character each step's text goes."""
    first = bisect_right(ends, start)
    while first and not steps[first - 1].text and steps[first - 1].logprob is not None:
        first -= 1  # the first bytes of a character
    return first


def _span(place: SpanPlace, text: str, steps: Sequence[Step], first: int, last: int) -> TextSpan:
    own = [s for s in steps[first : last + 1] if s.logprob is not None]
    said = text[place.start : place.end]
    if not own:
        return TextSpan(place.kind, place.start, place.end, said, first, last, None, "", None)
    least = min(own, key=lambda s: s.logprob if s.logprob is not None else 0.0)
    probability = math.exp(min(math.fsum(s.logprob for s in own if s.logprob is not None), 0.0))
    others = tuple((c.label, c.before) for c in least.leading if c.token != least.token)[:ALTERNATIVES]
    return TextSpan(
        place.kind, place.start, place.end, said, first, last, probability,
        least.label, math.exp(min(least.logprob or 0.0, 0.0)), others,
    )  # fmt: skip


class Spans(Sequence[TextSpan]):
    """An answer's spans in the order of the text, found when they are first asked for."""

    def __init__(self, make: Callable[[], Sequence[TextSpan]]) -> None:
        self._make = make
        self._made: Sequence[TextSpan] | None = None

    @property
    def _spans(self) -> Sequence[TextSpan]:
        if self._made is None:
            self._made = self._make()
        return self._made

    @overload
    def __getitem__(self, index: int) -> TextSpan: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TextSpan]: ...
    def __getitem__(self, index: int | slice) -> TextSpan | Sequence[TextSpan]:
        return self._spans[index]

    def __len__(self) -> int:
        return len(self._spans)

    def __repr__(self) -> str:
        return repr(list(self._spans))

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self._spans),)


def doubtful(spans: Sequence[Any]) -> list[Any]:
    """Those to distrust, the least sure first."""
    return sorted((s for s in spans if s.doubtful), key=lambda s: (s.probability, s.start))
