"""Where in a text its answer stands: behind a mark, in bold, or in its last sentence."""

from __future__ import annotations

import re

from entropix.search.numerals import IRRATIONAL, Numeral, numerals, readable
from entropix.search.spelled import in_words

REACH = 400
"""Characters behind a mark within which its answer stands."""

LONGEST = 32768
"""Characters at the end of a text that are read."""

_ABROAD = (
    r"答案|答え|正解|正答|答：|答:|答(?=\s?[是为為])|回答|结果|結果|정답|답변|답(?=은|:|\s)|respuesta|réponse|antwort|ergebnis|ответ"
    r"|результат|الجواب|الإجابة|پاسخ|جواب|resposta|risposta|antwoord|odpowiedź|cevap|उत्तर|đáp án|câu trả lời|jawaban"
    r"|résultat|resultado|risultato|正确(?:的是|选项)|(?:正しい|適切な)(?:選択肢|もの|の)(?=は)"
    r"|(?:옳은|맞는|올바른) (?:것|선택지)(?=[은는])"
)
MARK = re.compile(
    r"\b(?:answer|ans|result|solution)\b[^.\n\d:=!?]{0,60}?(?:\b(?:is|would be|should be|must be)\b|[:=→])"
    rf"|^[#* ]{{1,8}}(?:final )?(?:answer|result)[:* ]{{0,4}}$|<answer>|(?:{_ABROAD})",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(
    r"^[ \t]{0,8}#### ?(?=[-−+$€£*\d.])[^\n]{0,400}$|(?<=[^#\n])#### ?(?=[-−+$€£*\d.])[^\n]{0,400}$", re.MULTILINE
)
_HEADING = re.compile(r"#### ?\d{1,3}[.):](?:\s|$)|.*:\s*$")
_WEAK = re.compile(
    r"(?:\b(?:equals|is equal to|comes to|amounts to|in total|altogether|therefore|thus|hence|the total is)\b|∴"
    r"|\b(?:total|sum) ?[:=])"
    r"[,:]?\s?(?=[*$€£(\\]{0,4}\s?[-−]?[$€£]?\s?[\d.\\])",
    re.IGNORECASE,
)
_LATER = re.compile(r"\b(?:so|therefore|then|which (?:leaves|makes|gives|means)|leaving)\b", re.IGNORECASE)
_RESTATED = re.compile(r"(?<!\()\b(?:i\.\s?e\.|that is,?|namely|in other words)[,:]?\s", re.IGNORECASE)
_WORDED = re.compile(
    r"\d\W{0,3} (?:times|plus|minus|divided by|multiplied by) [^.;\n]{1,40}? (?:is|equals|makes|gives) ", re.IGNORECASE
)
_REASON = re.compile(
    r"\b(?:because|since|as (?=\S{1,20} ?[-+*/×=\d])|where|given that)|[(;≈]|[.!?。！？](?=\s|$)|。|\bnot\b|\bno\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:\bnot|\bno|n['’]t|\bnicht|\binstead of|\brather than)(?:\s(?:[$€£*(]|\\\(){0,4})?$",
    re.IGNORECASE,
)
_MINUS = re.compile(r"^[\s:=*$]{0,4}minus $", re.IGNORECASE)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_BEFORE_OPERATOR = re.compile(r"[^\d=\n]{0,12}?\s?(?:[+*/×÷·^−–-]|x(?=\s?\d))\s?[($€£\d\\]")
_AFTER_OPERATOR = re.compile(r"(?:[+*/×÷·^−–-]|\dx)\s?[($€£\\]{0,2}$")
_BOX = re.compile(r"\\(?:boxed|fbox) ?(?:\{| ([^\s{}\\$]{1,80}))")
_UNKNOWN = re.compile(
    r"\b(?:cannot|can['’]t|can not|could not|couldn['’]t|unable to|impossible to|not possible to) (?:be )?"
    r"(?:determined?|known?|computed?|calculated?|found|find|answer(?:ed)?|tell|solved?)\b"
    r"|\bnot enough information\b|\binsufficient (?:information|data)\b|\bno (?:solution|answer)\b",
    re.IGNORECASE,
)
_EQUAL = re.compile("[=≈]")
_COMPARED = re.compile(r" (?:more|fewer|less|greater|larger|smaller|older|younger|higher|lower|times)\b", re.IGNORECASE)
_ASIDE = re.compile(r",? (?:which|that) (?:is|was|are|were) $", re.IGNORECASE)
_OVERALL = re.compile(r"(?: [^\W\d]{1,20}){0,3} (?:in total|altogether|in all)\b", re.IGNORECASE)
_AMOUNT = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals|has|have|costs?|needs?|pays?|earns?|takes?|leaves|makes|gives(?: us)?)|[:：])"
    r"(?: (?:about|around|only|exactly|approximately|a total of))?[ *($€£]{0,5}$",
    re.IGNORECASE,
)
_FOR = re.compile(
    r"(?: [^\W\d]{1,20}| ?[$€£%²³°]|/[a-z]{1,6}){0,4}?"
    r" (?:for|in|after|over|with|at|on)(?: (?:the|all|a|those))?[ $€£]{1,2}"
)
"""What stands between an amount and what it is for: 30 dollars for 6 books."""
_SENTENCE = re.compile(r"(?<=[.!?])[*_)\]]{0,3}\s+(?=\S)|\n+|(?<=[。！？])")


def in_box(text: str) -> str:
    """What the last \\boxed{…} (also \\fbox, and \\boxed 5) holds, with balanced braces; "" for none."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    opened = _BOX.match(text, start) if start >= 0 else None
    if opened is None:
        return ""
    if opened[1]:
        return opened[1].rstrip(".,;$")
    begin, depth = opened.end(), 1
    for at in range(begin, len(text)):
        if text[at] in "{}" and text[at - 1] != "\\":
            depth += 1 if text[at] == "{" else -1
            if not depth:
                return text[begin:at].strip()
    return ""


def stated_number(text: str) -> str | None:
    """The number that a text answers: in its last box with digits, else behind its last mark, else in its last
    sentence."""
    text = readable(text[-LONGEST:])
    box = in_box(text)[:REACH]
    if any(sign.isnumeric() for sign in box):
        return None if IRRATIONAL.search(box) and not _EQUAL.search(box) else _of_clause(box)
    marks = [m.end() for m in MARK.finditer(text)]
    marks += [m.start() + 4 for m in _HASHES.finditer(text) if not _HEADING.match(m.group())]
    for end in sorted(marks, reverse=True):
        if found := _of_clause(_behind(text, end)):
            return found
    return _of_last_sentence(text) or in_words(text, marks)


def _behind(text: str, start: int) -> str:
    """The line behind a mark, or the next one that is not empty."""
    rest = text[start : start + REACH].lstrip(" \t:*_\n：")
    return rest.split("\n", 1)[0]


def _of_clause(clause: str) -> str | None:
    """The number that the words behind a mark state."""
    found = _undenied(clause, numerals(clause, items=False))
    again = _RESTATED.search(clause) or _WORDED.search(clause)
    if again and (later := [n for n in found if n.start >= again.end()]):
        found = later
    if not found:
        return None
    stop = next((m.start() for m in _REASON.finditer(clause) if m.start() >= found[0].end), len(clause))
    found = [n for n in found if n.start < stop]
    value = _of_equation(clause, found, stop) or found[0].value
    minus = _MINUS.match(clause[: found[0].start])
    return f"-{value}" if minus and value[0] not in "-0" else value


def _undenied(text: str, found: list[Numeral]) -> list[Numeral]:
    return [n for n in found if not _DENIED.search(text[max(n.start - 16, 0) : n.start])]


def _of_equation(clause: str, found: list[Numeral], stop: int) -> str | None:
    """The side of an equation that is one number: 18 of "18 = 9*2" and 11 of "5 + 6 = 11"."""
    last, first = clause.rfind("=", 0, stop), clause.find("=", 0, stop)
    if last < 0:
        return None
    behind = next((n for n in found if n.start > last), None)
    if behind and not _BEFORE_OPERATOR.match(clause[behind.end : min(behind.end + 24, stop)]):
        return behind.value
    ahead = [n for n in found if n.end <= first]
    if ahead and not _AFTER_OPERATOR.search(clause[: ahead[-1].start].rstrip()):
        return ahead[-1].value
    return found[-1].value


def _of_last_sentence(text: str) -> str | None:
    found = numerals(text)
    if not found:
        return None
    last = found[-1].start
    starts = [0, *(m.end() for m in _SENTENCE.finditer(text, 0, last))]
    begin = starts[-1]
    following = _SENTENCE.search(text, found[-1].end)
    sentence = text[begin : following.start() if following else len(text)]
    found = [Numeral(n.value, n.start - begin, n.end - begin) for n in found if n.start >= begin]
    if _UNKNOWN.search(sentence):
        return None
    found = _undenied(sentence, found) or found
    bold = [n for m in _BOLD.finditer(sentence) for n in found if m.start() <= n.start and n.end <= m.end()]
    if bold:
        return bold[-1].value
    if (again := list(_RESTATED.finditer(sentence))) and (value := _of_clause(sentence[again[-1].end() :][:REACH])):
        return value
    if overall := [n for n in found if _OVERALL.match(sentence, n.end)]:
        return overall[-1].value
    if weak := list(_WEAK.finditer(sentence)):
        clause = sentence[weak[-1].end() :][:REACH]
        if not _LATER.search(clause) and (value := _of_clause(clause)):
            return value
    stop = next((m.start() for m in _REASON.finditer(sentence) if m.start() >= found[0].end), len(sentence))
    kept = [n for n in found if n.start < stop] or found
    if len(kept) > 1 and _COMPARED.match(sentence, kept[-1].end) and _ASIDE.search(sentence[: kept[-1].start]):
        kept.pop()  # 12, which is 3 more than …
    if (
        len(kept) > 1
        and _AMOUNT.search(sentence[: kept[-2].start])
        and _FOR.fullmatch(sentence[kept[-2].end : kept[-1].start])
    ):
        kept.pop()
    at = kept[-1]
    if _AFTER_OPERATOR.search(sentence[max(at.start - 8, 0) : at.start].rstrip()):
        return _of_equation(sentence, kept, stop) or at.value
    return at.value
