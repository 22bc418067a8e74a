"""Which letter A … J a text chooses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from entropix.search.latex import FULL_WIDTH
from entropix.search.stated import LONGEST, MARK, in_box

_OPEN = r"[\s*_:：$'\"“(\[{]{0,12}(?:\\(?:text|textbf|mathbf|mathrm)\{)?[(*]{0,3}"
# a small letter may be the article and a capital I the pronoun: those must stand alone
_LETTER = r"(?:([A-HJ])(?![A-Za-z0-9]|['’]\w)|([a-jI])(?=\s*(?:[).:,;!?*\"}$]|'(?!\w)|$)))"
_NAMED = re.compile(
    r"(?i:\b(?:answer|option|choice|opción|opção|opzione|optie|вариант)s?|选项|選項|選択肢|선택지|보기)"
    rf"(?i:\s(?:is|letter|option))?{_OPEN}{_LETTER}",
    re.MULTILINE,
)
_AFTER_MARK = re.compile(rf"{_OPEN}(?i:(?:option|choice|letter)\s)?{_OPEN}{_LETTER}", re.MULTILINE)
_PICKED = re.compile(
    r"(?i:\b(?:choose|pick|select|go with|opt for|(?:option|choice|one)\s(?:is|would be|must be))|选择?|選擇?)"
    rf"(?i:\s(?:option|choice))?{_OPEN}{_LETTER}",
    re.MULTILINE,
)
_RIGHT = re.compile(
    r"(?<![A-Za-zÀ-ɏ0-9_'])\(?([A-J])\)?[*_]{0,3}(?:"
    r" (?:is|was|must be|should be|would be|has to be|looks|(?:seems|appears)(?: to be)?) (?:the )?(?:most |only )?"
    r"(?:correct|right|best|better|answer|true)\b"
    r"| ist (?:die )?(?:richtig|korrekt)| est (?:la )?(?:bonne|réponse|correcte|juste)"
    r"| es (?:la )?(?:\w{6,9} )?correcta| é a (?:\w{5,8} )?(?:correta|certa)"
    r"| è (?:la )?(?:\w{7,8} )?(?:corretta|giusta)| (?:верн|правильн)(?:ый|ая|о)"
    r"|(?:选项|選項)?是?(?:正确|正確)|が(?:正しい|正解)|(?:번)?[이가] (?:정답|맞|옳))"
)
_DENIED = re.compile(r"(?i:\bnot|n['’]t|\bnicht)\s{1,3}(?i:(?:option|choice)\s)?[(*]{0,3}$")
_BUT = re.compile(rf"(?i:\bbut|,\s?it is|,\s?rather){_OPEN}(?i:(?:option|choice)\s)?{_OPEN}{_LETTER}", re.MULTILINE)
_COPULA = re.compile(
    r"[^\d\n.!?:：]{0,24}?(?:是|为|為|は|은|는|\b(?:ist|lautet|es|est|é|è|jest|là|adalah|هو)\b)", re.IGNORECASE
)
_ALONE = re.compile(r"^[^\w\n?]{0,8}([A-Ja-j])[^\w\n?]{0,8}$", re.MULTILINE)
_BOLD = re.compile(r"\*\*\(?([A-J])(?:\)|[.:]|\*\*)|\[\[([A-J])\]\]")
_LISTED = re.compile(r"(?<![\w'])\(?([A-J])(?:[).:]|[ \t]{0,8}$)", re.MULTILINE)
_FIRST = re.compile(r"^[^\w\n]{0,6}([A-J])(?:\)? [-–—] |,? (?:because|since) | it is[.!]?$)")
_ITEM = re.compile(r"\(?([a-j])\) [^\n]+")
"""All of a text: an option as it stands in a list with small letters, and what it says."""
_VERDICT = re.compile(
    r"(?<![\w'])\(?([A-J])\)?[:.)]\s?(?i:yes|true|correct|right)\b|(?<![\w'])([A-J])\)?[:.]?\s?[✓✔✅]"
)
_OTHERS = re.compile(
    r"(?i:\b(?:either|both|neither)) (?:option )?\(?[A-J]\)? (?:or|and|nor) (?:option )?\(?[A-J]\)?(?!\w)"
    r"|(?<![\w'])\(?[A-J]\)?(?:, \(?[A-J]\)?){0,8},? (?:and|or|nor|&) \(?[A-J]\)?(?![\w'])"
    r"|(?i:\b(?:rather than|instead of|unlike)) (?i:option )?\(?[A-J]\)?(?!\w)"
    r"|(?i:\b(?:vitamins?|hepatitis|plan|grade|type|group|appendix|figure|table)) [A-J](?!\w)"
)
"""Letters that are no choice: several at once, the ones not taken, and parts of names."""
_ALSO = re.compile(
    r"[)*_\]}]{0,4}(?:\s?(?:,|/|&|and|or)\s?){1,2}(?:option\s)?[(*_\[]{0,4}[A-J][)*_\]}]{0,4}\s*(?:[.\n,/&]|and|or|$)"
)
_IN_BOX = re.compile(r"(?:\\(?:text|textbf|mathbf|mathrm)\{)?\s?\(?([A-Ja-j])\)?(?![A-Za-z])")


def chosen(text: str) -> str | None:
    """The letter in the last box, else behind the last mark, else of "X is correct", "option X", or a letter that
    stands alone, in bold or like `(B)`."""
    text = text[-LONGEST:].translate(FULL_WIDTH)
    box = _IN_BOX.match(in_box(text)[:60])
    if box:
        return box[1].upper()
    for mark in reversed(list(MARK.finditer(text))):
        if (found := _behind(text, mark.end())) is not None:
            return found or None
    text = _OTHERS.sub("", text)
    if first := _FIRST.match(text.strip()) or _ITEM.fullmatch(text.strip()):
        return first[1].upper()
    for pattern in (_RIGHT, _PICKED):
        if found := _last(pattern.finditer(text), text):
            return found
    verdicts = {m[1] or m[2] for m in _VERDICT.finditer(text)}
    if len(verdicts) == 1:
        return verdicts.pop()
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
    if re.match(r"[\s:*]{0,4}(?:not|nicht)\b", clause, re.IGNORECASE):
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
