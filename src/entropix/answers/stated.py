"""Where in a text its answer stands: behind a mark, in bold, or in its last sentence."""

from __future__ import annotations

import re

from entropix.answers.asked import AskedNumber
from entropix.answers.boxes import closed, is_expression, last_boxes, without_texts
from entropix.answers.marks import HASHES, MARK, spoken
from entropix.answers.numerals import Numeral, numerals, readable
from entropix.answers.several import in_expression, settled, variables
from entropix.answers.spelled import concluded_in_words, in_words
from entropix.answers.units import merged

_HEADING = re.compile(r"#### ?\d{1,3}[.):](?:\s|$)|.*:\s*$")
REACH = 400
"""Characters behind a mark within which its answer stands."""

_WEAK = re.compile(
    r"(?:\b(?:equals|is equal to|comes to|amounts to|in total|altogether|therefore|thus|hence|the total is"
    r"|(?:for|making|makes|giving|gives|with) a (?:grand |combined )?total of)\b|∴"
    r"|\b(?:total|sum) ?[:=])"
    r"[,:]?\s?(?=[*$€£(\\]{0,4}\s?[-−]?[$€£]?\s?[\d.\\])",
    re.IGNORECASE,
)
_LATER = re.compile(r"\b(?:so|therefore|then|which (?:leaves|makes|gives|means)|leaving)\b", re.IGNORECASE)
_RESTATED = re.compile(r"(?<!\()\b(?:i\.\s?e\.|that is,?|namely|in other words)[,:]?\s", re.IGNORECASE)
_WORDED = re.compile(
    r"\d(?:\W{0,3} (?:times|plus|minus|divided by|multiplied by)| ?(?:%|percent) of) [^.;\n]{1,40}? (?:is"
    r"|equals|makes|gives) ",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\b(?:because|since|as (?=\S{1,20} ?[-+*/×=\d])|where|given that)|[;≈]|(?<![A-Za-z\d])\(|[.!?。！？](?=\s|$)|。"
    r"|\bnot\b|\bno\b|\b(?:of (?:which|whom|them)|including|from [$€£]?\d\S{0,12} (?:to|until))\b|其中"
    r"|:\s\d{1,9} \w{1,20}(?:,| and| \+)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:\bnot|\bno|\bno longer|n['’]t|\bnicht|\binstead of|\brather than)(?:\s(?:[$€£*(]|\\\(){0,4})?$",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?:^[\s:=*$]{0,4}|\b(?:is|was|be|of|at|to|equals) |[:=(*]\s?)minus $", re.IGNORECASE)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_BEFORE_OPERATOR = re.compile(r"[^\d=\n]{0,12}?\s?(?:[+*/×÷·^−–-]|x(?=\s?\d))\s?[($€£\d\\]")
_UNDONE = re.compile(r"\s?(?:[+*/×÷·−–-]|x(?=\s?\d))\s?[$€£]?\d")
_AFTER_OPERATOR = re.compile(r"(?:[+*/×÷·^−–-]|\dx)\s?[($€£\\]{0,2}$")
_UNKNOWN = re.compile(
    r"\b(?:cannot|can['’]t|can not|could not|couldn['’]t|unable to|impossible to|not possible to) (?:be )?"
    r"(?:determined?|known?|computed?|calculated?|found|find|answer(?:ed)?|tell|solved?)\b"
    r"|\bnot enough information\b|\binsufficient (?:information|data)\b|\bno (?:solution|answer)\b",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\W*(?:(?:i['’]m |i am )?sorry,? (?:but )?)?i (?:can(?:not|['’]t)|am unable to|won['’]t) (?:help|assist"
    r"|comply|do that)\b",
    re.IGNORECASE,
)
_EQUAL = re.compile("[=≈]")
_COMPARED = re.compile(r" (?:more|fewer|less|greater|larger|smaller|older|younger|higher|lower|times)\b", re.IGNORECASE)
_ASIDE = re.compile(r",? (?:which|that) (?:is|was|are|were) $", re.IGNORECASE)
_LARGER = re.compile(
    r" (?:is|are) (?:[a-z]{1,12} ){0,2}?(?:\w{3,12}er|more|less)(?: [a-z]{2,12})? than[ $€£(*]{1,4}", re.IGNORECASE
)
_CHANGES = re.compile(
    r"\b(?:drop|fall|rise|grow|go|increase|decrease|decline|reduce|shrink|climb|change|come)(?:s|d|es|ped)?"
    r"(?: (?:up|down))? $",
    re.IGNORECASE,
)
"""Before "from 40 to 30": what is 30 now."""
_OVERALL = re.compile(r"(?: [^\W\d]{1,20}){0,3} (?:in total|altogether|in all)\b", re.IGNORECASE)
_AMOUNT = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals|has|have|had|gets?|got|receives?|costs?|needs?|pays?|earns?|takes?"
    r"|leaves|makes|gives(?: us)?)(?: (?:him|her|them|me|you|us|it))?|[:：])"
    r"(?: (?:about|around|only|exactly|approximately|a total of))?[ *($€£]{0,5}$",
    re.IGNORECASE,
)
_AT_RATE = re.compile(r"\b(?:at(?: a \w{2,12} of)?|по)\s?$", re.IGNORECASE)
_EXACT = re.compile(r"π|√|\\pi(?![A-Za-z])|\\sqrt")
_GROUPS = re.compile(
    r"(?: [^\W\d]{2,20}){1,2},? (?:of|with|containing|holding|having|(?:that|which) (?:have|hold|contain)|for"
    r"|at) [$€£]?"
)
_OF_EACH = re.compile(r"(?: [^\W\d]{2,20}){0,2} (?:each|apiece)\b\W{0,4}$")
_ROW = re.compile(r"\s*\|[^\n|]{1,80}(?:\|[^\n|*]{1,80}){1,30}\|?\s*")
"""Of a table, without a bold cell."""
_OUT_OF = re.compile(r"(?: [^\W\d]{1,20}){0,2} out of (?:the |every |all )?")
_FOR = re.compile(
    r"(?: [^\W\d]{1,20}| ?[$€£%²³°]|/[a-z]{1,6}){0,4}?,?"
    r" (?:for|in|after|over|with|at|on|before|by|to|from|(?:out )?of)"
    r"(?: (?!(?:and|or|so|but|which|then|he|she|they|it|is|are|was|has|have|had|leaves?|makes?|gives?|equals?)\b)"
    r"[^\W\d]{1,15}){0,3}[ $€£]{0,2}"
)
"""What stands between an amount and what it is for: 30 dollars for 6 books."""
_LABEL = re.compile(
    r"\W{0,6}[^\W\d_]{1,20}(?: [^\W\d_]{1,20}){0,3}\W{0,3}[:：]\s?(?=[*$€£(\\]{0,4}\s?[-−]?[$€£]?\s?[\d.\\])"
)
_BESIDE = re.compile(
    r"[\W_]{0,8}(?:(?:let me know|feel free|if you (?:have|need|want|would|like)|(?:i )?hope|confidence|would you"
    r"|do you|please|explanation|check|verification|verify(?:ing)?|source|disclaimer)\b|note\W{0,3}:|note that"
    r"|p\.?s\.)",
    re.IGNORECASE,
)
MOST_ASIDES = 12
"""Sentences at the end of a text of which the last one that answers is looked for."""
_BEGINS = re.compile(
    r"(?:[^\w\n]|_){0,8}(?:[A-Za-z]\s?[=≈]|(?:about|approximately|around|roughly|exactly"
    r"|only|minus|negative|not"
    r"|a total of|(?:there|it|they) (?:is|are)|it['’]s)\b|\\[a-z]{2,12}\{?)?[\W_]{0,8}\d",
    re.IGNORECASE,
)
_STEP = re.compile(r"\d{1,2}[.)]\s+\S")
_WORKING = re.compile(r"\bsolution\W{0,8}$", re.IGNORECASE)
_HOUR = re.compile(r" ?(?:[ap]\.?m\b|o['’]clock)", re.IGNORECASE)
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")
_SINCE = re.compile(r"\b(?:in|since|until|during|year)\s$", re.IGNORECASE)
_MEASURED = re.compile(r"\s?[A-Za-z$€£%]")
_LETTER = re.compile(r"\W*[A-J]\W*")
_SENTENCE = re.compile(r"(?<=[.!?])[*_)\]]{0,3}\s+(?=\S)|\n+|(?<=[。！？])")


def stated_number(text: str, question: str = "") -> str | None:
    """The number that a text answers: in its last box, else behind its last mark, else in its last sentence. question:
    the unit or the variable that is asked for, where a text gives several."""
    asked = AskedNumber(question)
    if _REFUSES.match(text):
        return None
    text = merged(readable(asked.years(closed(spoken(text)))), question)
    boxes = last_boxes(text)
    if boxes and not _LETTER.fullmatch(boxes[-1]):
        return _of_box(boxes, asked) or None
    marks = [m.end() for m in MARK.finditer(text)]
    marks += [m.start() + 4 for m in HASHES.finditer(text) if not _HEADING.match(m.group())]
    for end in sorted(marks, reverse=True):
        if (found := _of_mark(text, end, asked)) is not None:
            return found or None
    if (in_the_end := concluded_in_words(text)) is not None:
        return in_the_end
    found = _of_last_sentence(text, asked)
    if found is None:
        found = in_words(text, marks, asked.counts) or asked.none(text)
    return found or None


def _of_box(boxes: list[str], asked: AskedNumber) -> str | None:
    box = merged(without_texts(", ".join(boxes)), asked.question)[:REACH]
    if not _EQUAL.search(box) and is_expression(box):
        return None
    return in_words(box, [0]) if (found := _of_clause(box, asked)) is None else found


def _behind(text: str, start: int) -> tuple[str, str]:
    """The line behind a mark, or the next one that is not empty, and all of its paragraph."""
    rest = text[start : start + REACH].lstrip(" \t:*_\n：")
    return rest.split("\n", 1)[0], rest.split("\n\n", 1)[0]


def _of_mark(text: str, mark: int, asked: AskedNumber) -> str | None:
    """The number stated behind a mark: of its line, or of the last sentence of what is worked out there."""
    line, paragraph = _behind(text, mark)
    is_heading = "\n" in text[mark : mark + 8]
    begins = _BEGINS.match(line) and not (is_heading and _STEP.match(line))
    if is_heading and not begins and _WORKING.search(text[max(mark - 16, 0) : mark]):
        return None
    if begins or not (_SENTENCE.search(paragraph) or _LATER.search(line) or "=" in line):
        return _of_clause(line, asked)
    return _of_last_sentence(paragraph, asked)


def _of_clause(clause: str, asked: AskedNumber) -> str | None:
    """The number that the words behind a mark state; "" where they state several, or an expression."""
    if given := variables(clause):
        return given.get(asked.variable, "")
    found = _undenied(clause, numerals(clause, items=False))
    again = _RESTATED.search(clause) or _WORDED.search(clause)
    if again and (later := [n for n in found if n.start >= again.end()]):
        found = later
    if not found:
        return None
    stop = next((m.start() for m in _REASON.finditer(clause) if m.start() >= found[0].end), len(clause))
    found = [n for n in found if n.start < stop]
    answer = _of_equation(clause, found, stop) or found[0]
    if not _EQUAL.search(clause) and _UNDONE.match(clause[: min(answer.end + 24, stop)], answer.end):
        return ""  # 5 + 3, which nobody has added
    return _written(clause, found, answer)


def _written(clause: str, found: list[Numeral], answer: Numeral) -> str:
    """The value of an answer, "" where it is one of several or part of a formula."""
    one = settled(clause, found, answer)
    if one is None or in_expression(clause, answer):
        return ""
    minus = _MINUS.search(clause[max(one.start - 20, 0) : one.start])
    return f"-{one.value}" if minus and one.value[0] not in "-0" else one.value


def _undenied(text: str, found: list[Numeral]) -> list[Numeral]:
    return [n for n in found if not _DENIED.search(text[max(n.start - 16, 0) : n.start])]


def _of_equation(clause: str, found: list[Numeral], stop: int) -> Numeral | None:
    """The side of an equation that is one number: 18 of "18 = 9*2" and 11 of "5 + 6 = 11"."""
    last, first = clause.rfind("=", 0, stop), clause.find("=", 0, stop)
    if last < 0:
        return None
    behind = next((n for n in found if n.start > last), None)
    if behind and not _BEFORE_OPERATOR.match(clause[behind.end : min(behind.end + 24, stop)]):
        return behind
    ahead = [n for n in found if n.end <= first]
    if ahead and not _AFTER_OPERATOR.search(clause[: ahead[-1].start].rstrip()):
        return ahead[-1]
    return found[-1]


def _of_last_sentence(text: str, asked: AskedNumber) -> str | None:
    """The number that the last sentence with one states; "" where it states several, or an expression."""
    if given := variables(text.strip()[:REACH], lines=True):
        return given.get(asked.variable, "")
    found = numerals(text)
    if not found:
        return None
    starts = [0, *(m.end() for m in _SENTENCE.finditer(text, 0, found[-1].start))]
    begin, end = _telling(text, found, starts)
    sentence = text[begin:end]
    found = [Numeral(n.value, n.start - begin, n.end - begin) for n in found if begin <= n.start < end]
    return _of_sentence(sentence, found, asked)


def _of_sentence(sentence: str, found: list[Numeral], asked: AskedNumber) -> str | None:
    """The number of `found`, those of a sentence without a mark, that it concludes with."""
    if _UNKNOWN.search(sentence):
        return None
    if given := variables(sentence[:REACH]):
        return given.get(asked.variable, "")
    if not (found := _undenied(sentence, found)):
        return ""
    if (named := asked.of_names(sentence, found)) is not None:
        return named
    bold = [n for m in _BOLD.finditer(sentence) for n in found if m.start() <= n.start and n.end <= m.end()]
    if bold:
        return _written(sentence, bold, bold[-1])
    again = list(_RESTATED.finditer(sentence))
    if again and (value := _of_clause(sentence[again[-1].end() :][:REACH], asked)):
        return value
    if (_is_unmultiplied(sentence, found) and not asked.counts_each(sentence, found)) or _ROW.fullmatch(sentence):
        return ""
    if overall := [n for n in found if _OVERALL.match(sentence, n.end)]:
        return overall[-1].value
    for clause in _introduced(sentence):
        if (value := _of_clause(clause, asked)) is not None:
            return value
    return _written(sentence, found, asked.preferred(sentence, found, _concluded(sentence, found)))


def _introduced(sentence: str) -> list[str]:
    """What stands behind a label ("Left: 12") and behind the last of the words that conclude ("in total 12"), unless
    more is concluded from it."""
    ends = [m.end() for m in [*_WEAK.finditer(sentence)][-1:]]
    if (label := _LABEL.match(sentence)) and ":" not in sentence[label.end() :]:
        ends.insert(0, label.end())
    return [sentence[end:][:REACH] for end in ends if not _LATER.search(sentence, end)]


def _telling(text: str, found: list[Numeral], starts: list[int]) -> tuple[int, int]:
    """Where the last sentence with a number stands that does not only speak about the answer, as a note does."""
    spans: list[tuple[int, int]] = []
    limit = len(text)
    for begin in reversed(starts[-MOST_ASIDES:]):
        inside = [n for n in found if begin <= n.start < limit]
        if inside:
            following = _SENTENCE.search(text, inside[-1].end)
            spans.append((begin, following.start() if following else len(text)))
            if not _BESIDE.match(text, begin):
                return spans[-1]
        limit = begin
    return spans[0]


def _concluded(sentence: str, found: list[Numeral]) -> Numeral:
    """The last number of a sentence that is no reason, comparison, date or number of others."""
    stop = next(
        (m.start() for m in _REASON.finditer(sentence, found[0].end) if not _goes_on(sentence, m)), len(sentence)
    )
    kept = [n for n in found if n.start < stop] or found
    if len(kept) > 1 and _COMPARED.match(sentence, kept[-1].end) and _ASIDE.search(sentence[: kept[-1].start]):
        kept.pop()  # 12, which is 3 more than …
    if len(kept) == 2 and _LARGER.fullmatch(sentence, kept[0].end, kept[1].start):
        kept.pop()  # 9.9, which is larger than 9.11
    if len(kept) > 1 and _is_when(sentence, kept[-1]):
        kept.pop()
    if len(kept) > 1 and _AT_RATE.search(sentence[max(kept[-1].start - 12, 0) : kept[-1].start]):
        kept.pop()
    if len(kept) > 1 and _OUT_OF.fullmatch(sentence, kept[-2].end, kept[-1].start):
        kept.pop()
    if (
        len(kept) > 1
        and _AMOUNT.search(sentence[: kept[-2].start])
        and _FOR.fullmatch(sentence[kept[-2].end : kept[-1].start])
    ):
        kept.pop()
    at = kept[-1]
    if _AFTER_OPERATOR.search(sentence[max(at.start - 8, 0) : at.start].rstrip()):
        return _of_equation(sentence, kept, stop) or at
    return at


def _is_unmultiplied(sentence: str, found: list[Numeral]) -> bool:
    """Whether a sentence ends with how many there are of how much each: 3 boxes of 12 eggs each."""
    return bool(
        len(found) > 1
        and _OF_EACH.match(sentence, found[-1].end)
        and _GROUPS.fullmatch(sentence, found[-2].end, found[-1].start)
    )


def _goes_on(sentence: str, reason: re.Match[str]) -> bool:
    """Whether a reason is none: it rises "from 30 to 40", and what follows π "≈" is its value."""
    before = sentence[max(reason.start() - 40, 0) : reason.start()]
    return bool(_EXACT.search(before) if reason[0] == "≈" else _CHANGES.search(before))


def _is_when(sentence: str, number: Numeral) -> bool:
    """Whether a number is a year or a time of day: 12 boxes in 2004, 3 apples at 5 pm."""
    before = sentence[max(number.start - 12, 0) : number.start]
    year = _YEAR.fullmatch(number.value) and _SINCE.search(before) and not _MEASURED.match(sentence, number.end)
    return bool(year or _HOUR.match(sentence, number.end))
