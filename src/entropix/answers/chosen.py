"""Which letter A … J a text chooses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from entropix.answers.boxes import last_boxes
from entropix.answers.latex import FULL_WIDTH
from entropix.answers.marks import MARK, spoken
from entropix.answers.short import matches, short

_OPEN = r"[\s*_:：$'\"“「『«<(\[{]{0,12}(?:\\(?:text|textbf|mathbf|mathrm)\{)?[(*]{0,3}"
# behind the article A a thing is named, behind the letter A a sentence goes on
_ARTICLE = (
    r"(?<=A) (?!(?:and|or|nor|as|because|but|by|for|from|if|in|is|it|not|of|on|over|rather|since|so|then|that"
    r"|there|this"
    r"|to|was|which|with|while|without|instead|here|after|all|we|you|they|he|she|the|also|only|too|option|choice"
    r"|ist|est|es|weil|denn|da|und|oder|porque|parce|et|ou|ya|perché|nicht|pas|no)\b)[a-z]"
)
# a small letter may be the article and a capital I the pronoun: those must stand alone
_LETTER = (
    rf"(?:([A-HJ])(?![A-Za-z0-9]|['’](?!d[iıuü]r)\w|\s?=|{_ARTICLE})"
    r"|([a-jI])(?=\s*(?:[).:,;!?*\"}$]|'(?!\w)|$)))"
)
_NAMED = re.compile(
    r"(?i:\b(?:answer|option|choice|opción|opção|opzione|optie|вариант)s?|选项|選項|選択肢|선택지|보기)"
    rf"(?i:\s(?:is|letter|option))?{_OPEN}{_LETTER}",
    re.MULTILINE,
)
_AFTER_MARK = re.compile(rf"{_OPEN}(?i:(?:option|choice|letter)\s)?{_OPEN}{_LETTER}", re.MULTILINE)
_PICKED = re.compile(
    r"(?i:\b(?:choose|pick|select|prefer|guess|say|go(?:ing)? with|settle on|opt for|vote for|(?:option|choice"
    r"|one)\s(?:is|would be"
    r"|must be))|选择?|選擇?)"
    rf"(?i:\s(?:option|choice))?{_OPEN}{_LETTER}",
    re.MULTILINE,
)
_SAID = re.compile(
    r"(?i:\b(?:(?:it|that|this|which|one|answer)(?:['’]s| is| must be| has to be| should be| would be| will be"
    r"| can only be)"
    r"|so|thus|hence|therefore|only|maybe|perhaps|probably|likely|definitely|certainly|clearly|leav(?:es"
    r"|ing)(?: us with"
    r"| only)?|going with)"
    r"(?:,? (?:[a-z]{2,12}ly|most likely|just|then|also|indeed|in fact|of course|without (?:a )?doubt|option"
    r"|answer|choice"
    r"|letter)){0,3})"
    rf"{_OPEN}([A-J])(?=[\s)*\]}}_\"'”’$]{{0,4}}(?:[.,;:!\n(]|\??$"
    r"|(?:because|since|as|then|indeed|here|remains|fits|works)\b))",
    re.MULTILINE,
)
_ELEMENT = re.compile(r"<([A-Za-z][\w-]{0,30})>\s{0,4}\(?([A-Ja-j])(?:[).:][^<\n]{0,200})?\s{0,4}</\1>")
_RIGHT = re.compile(
    r"(?<![A-Za-zÀ-ɏ0-9_'])\(?([A-J])\)?[*_]{0,3}(?:"
    r" (?:is|was|must be|should be|would be|has to be|looks|(?:seems|appears)(?: to be)?)(?: (?:probably|likely"
    r"|clearly"
    r"|definitely|certainly|most likely|indeed|by far|therefore))? (?:the )?(?:most |only )?"
    r"(?:correct|right|best|better|answer|true|plausible|appropriate|suitable|accurate|reasonable|logical"
    r"|(?:option|choice|one) (?:that|which)|(?!honest|modest)[a-z]{3,12}est)\b"
    r"| (?:fits|works|makes (?:the most )?sense|matches)\b"
    r"| as (?:the|my) (?:\w{4,8} )?(?:answer|choice)\b| it is\b"
    r"| ist (?:die )?(?:richtig|korrekt)| est (?:la )?(?:bonne|réponse|correcte|juste)"
    r"| es (?:la )?(?:\w{6,9} )?correcta| é a (?:\w{5,8} )?(?:correta|certa)"
    r"| è (?:la )?(?:\w{7,8} )?(?:corretta|giusta)| (?:верн|правильн)(?:ый|ая|о)"
    r"|(?:选项|選項)?是?(?:正确|正確)|が(?:正しい|正解)|(?:번)?[이가] (?:정답|맞|옳))"
)
_DENIED = re.compile(r"(?i:\bnot|n['’]t|\bnicht)\s{1,3}(?i:(?:option|choice)\s)?[(*]{0,3}$")
_NOT = re.compile(r"[\s:*]{0,4}(?:(?:not|nicht|no es|n['’]est pas|não é|non è)\b|不是)", re.IGNORECASE)
_BUT = re.compile(
    rf"(?i:\b(?:but|sondern|sino|mais|mas|ma)|而是|,\s?it is|,\s?rather){_OPEN}"
    rf"(?i:(?:option|choice)\s)?{_OPEN}{_LETTER}",
    re.MULTILINE,
)
_COPULA = re.compile(
    r"[^\d\n.!?:：]{0,24}?(?:是|为|為|は|은|는|\b(?:ist|lautet|es|est|é|è|jest|là|adalah|هو)\b)", re.IGNORECASE
)
_ALONE = re.compile(r"^(?:[^\w\n?]|_){0,8}([A-Ja-j])(?:[^\w\n?]|_){0,8}$", re.MULTILINE)
_ASKING = re.compile(r"\W{0,8}([A-J])\W{0,8}")
_BOLD = re.compile(r"\*\*\(?([A-J])(?:\)|[.:]|\*\*)|\[\[([A-J])\]\]")
_LISTED = re.compile(r"(?<![\w'])(?<!\d )\(?([A-J])(?:[).:]|[ \t]{0,8}$)", re.MULTILINE)
_FIRST = re.compile(
    r"^[^\w\n]{0,6}([A-J])(?:\)? (?:[-–—] |\()|,? (?:because|since) |,? (?:obviously|clearly|definitely|of course)\b"
    r"| it is[.!]?$)"
)
_ITEM = re.compile(r"\(?([a-j])\) [^\n]+")
"""All of a text: an option as it stands in a list with small letters, and what it says."""
_VERDICT = re.compile(
    r"(?<![\w'])\(?([A-J])(?:\)?[:.)?]| [-–—])\s?(?i:yes|true|correct|right)\b"
    r"|(?<![\w'])([A-J])(?:\)?[:.]?\s?|[).:][^\n✓✔✅❌✗✘]{0,120})[✓✔✅☑]"
    r"|^[ \t*-]{0,6}\(?([A-J])[).:][^\n]{1,120}?[-–—:(]\s?(?i:yes|correct|right|true)[\s).!*]{0,4}$",
    re.MULTILINE,
)
_LIST = re.compile(r"\W{0,4}A[).:][^\n]{0,300}(?:\s{1,4}[ \t*]{0,4}\(?[B-J][).:][^\n]{0,300})+")
_OTHERS = re.compile(
    r"(?i:\b(?:either|both|neither)) (?:option )?\(?[A-J]\)? (?:or|and|nor) (?:option )?\(?[A-J]\)?(?!\w)"
    r"|(?<![\w'])\(?[A-J]\)?(?:, \(?[A-J]\)?){0,8},? (?:and|or|nor|&) \(?[A-J]\)?(?![\w'])"
    r"|(?<![\w'])\(?[A-J]\)?(?:, ?\(?[A-J]\)?){1,8}[\s.*]{0,8}\Z|\([A-J](?:, ?[A-J]){2,8}\)"
    r"|(?i:\b(?:rather than|instead of|unlike|over|not)) (?i:option )?\(?[A-J]\)?(?!\w)"
    r"|(?i:\b(?:vitamins?|hepatitis|plan|grade|type|group|appendix|figure|table|team|class|section|point|train|city"
    r"|player|box|line|side|angle|set|event|machine|company|product|column|row|part|phase|stage"
    r"|scenario)s?:?) [A-J](?!\w)"
)
"""Letters that are no choice: several at once, the ones not taken, and parts of names."""
_WRONG = re.compile(
    r"(?i:\b(?:options?|choices?|antwort|opción|opção|réponse) )?(?<!\w)\(?[A-J]\)?[*_]{0,3}"
    r"(?: (?:is|was|ist|est|es|é|è) (?:[a-zß-ÿ]{2,12}ly |also )?(?:wrong|incorrect[ao]?|false|falsch|nicht"
    r"|fau(?:x|sse)|fals[ao]"
    r"|errad[ao]|sbagliat[ao]|not|ruled out|eliminated|out)\b|(?:选项|選項)?是?(?:错|錯|不正确|不对))"
)
"""A letter that is called wrong."""
_ALSO = re.compile(
    r"[)*_\]}]{0,4}(?:\s?(?:,|/|&|\+|and|or)\s?){1,2}(?:option\s)?[(*_\[]{0,4}[A-J][)*_\]}]{0,4}\s*(?:[.\n,/&]"
    r"|and|or|$)"
)
_IN_BOX = re.compile(
    r"(?:\\(?:text|textbf|mathbf|mathrm)\{)?\s?(?:(?:option|choice|answer:?)\s)?\(?([A-Ja-j])\)?\s?(?:[.:}\\)(]"
    r"|[-–] |$)",
    re.IGNORECASE,
)
_SEVERAL_IN_BOX = re.compile(r"\W{0,6}(?:[A-J]\W{0,3}(?:,|and|&|or)\W{0,3}){1,9}[A-J]\W{0,3}")
_OPTION = re.compile(r"^[ \t]{0,8}\(?([A-J])[).:][ \t]{1,8}(\S[^\n]{0,300})$", re.MULTILINE)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_ORDINAL = re.compile(
    rf"\b({'|'.join(_ORDINALS)}) (?:option|choice|answer|one)\b(?! (?:is|was) (?:not|wrong|incorrect|false))",
    re.IGNORECASE,
)


def chosen(text: str, question: str = "") -> str | None:
    """The letter in the last box, else behind the last mark, else of "X is correct", "option X", or a letter that
    stands alone, in bold or like `(B)`. question: where a text names no letter, but an option of the question's list in
    its words, that option's."""
    text = spoken(text).translate(FULL_WIDTH)
    letter = _stated(text)
    if letter is None and _LIST.fullmatch(text.strip()):
        return None  # the options again
    if letter is None and question:
        letter = _in_words(text, question)
    return (_mentioned(text) if letter is None else letter) or None


def _stated(text: str) -> str | None:
    """The letter that a text says it chooses; None for none, "" for several."""
    boxes = last_boxes(text)
    if len(boxes) > 1 or (boxes and _SEVERAL_IN_BOX.fullmatch(boxes[-1][:60])):
        return ""
    if boxes and (box := _IN_BOX.match(boxes[-1][:60])):
        return box[1].upper()
    for mark in reversed(list(MARK.finditer(text))):
        if (found := _behind(text, mark.end())) is not None:
            return found
    if elements := _ELEMENT.findall(text):
        return str(elements[-1][1]).upper()
    text = _WRONG.sub("", _OTHERS.sub("", text))
    verdicts = {m[1] or m[2] or m[3] for m in _VERDICT.finditer(text)}
    if len(verdicts) == 1:
        return verdicts.pop()
    first = _FIRST.match(text.strip()) or _ITEM.fullmatch(text.strip()) or _ASKING.fullmatch(text)
    if first:
        return first[1].upper()
    return next((found for pattern in (_RIGHT, _PICKED, _SAID) if (found := _last(pattern.finditer(text), text))), None)


def _in_words(text: str, question: str) -> str | None:
    """The letter of the one option whose words are what a text, or its last line, answers."""
    lines = text.strip().splitlines()
    options = _OPTION.findall(question)
    asked = question[: listed.start()] if (listed := _OPTION.search(question)) else ""
    for said in ("" if _OPTION.match(text) else text, lines[-1] if lines else ""):  # not one of the options again
        answer = short(said, asked)
        named = [option for option, words in options if matches(answer, (words,))]
        if len(named) == 1:
            return str(named[0])
    places = {_ORDINALS.index(place.lower()) for place in _ORDINAL.findall(text)}
    return str(options[places.pop()][0]) if len(places) == 1 and max(places) < len(options) else None


def _mentioned(text: str) -> str | None:
    """The letter that stands out in a text which does not say that it chooses it."""
    text = _WRONG.sub("", _OTHERS.sub("", text))
    if alone := _only(text) or _last(_BOLD.finditer(text), text) or _last(_NAMED.finditer(text), text):
        return alone
    listed = _LISTED.findall(text)
    if not listed:
        return None
    begins = _LISTED.match(text.lstrip(" \t\n*"))
    # a list of options begins with A; a text that begins with another letter answers with it
    return str(begins[1] if begins and begins[1] != "A" else listed[-1])


def _behind(text: str, end: int) -> str | None:
    """The letter right behind a mark; behind "not A but", the other; "" where there are several."""
    clause = text[end : end + 200]
    if _NOT.match(clause):
        other = _BUT.search(clause)
        return (other[1] or other[2]).upper() if other else None
    copula = _COPULA.match(clause)
    letter = (copula and _AFTER_MARK.match(clause, copula.end())) or _AFTER_MARK.match(clause)
    if not letter:
        return None
    return "" if _ALSO.match(clause, letter.end()) else (letter[1] or letter[2]).upper()


def _only(text: str) -> str | None:
    """The letter of the last line that is nothing else; a small one only where it is the whole text or in brackets."""
    lines = [m for m in _ALONE.finditer(text) if m[1].isupper() or "(" in m[0] or ")" in m[0] or m[0] == text]
    return lines[-1][1].upper() if lines else None


def _last(found: Iterable[re.Match[str]], text: str) -> str | None:
    """The last letter that is not denied."""
    letter = None
    for match in found:
        groups = [n for n in range(1, (match.re.groups or 0) + 1) if match[n]]
        if groups and not _DENIED.search(text[max(match.start(groups[0]) - 24, 0) : match.start(groups[0])]):
            letter = match[groups[0]].upper()
    return letter
