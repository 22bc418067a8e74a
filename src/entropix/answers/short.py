"""Short factual answers: a name, a date or a place, taken out of the sentence that gives it. Source: this project.

How two of them are compared is `answers.forms`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from entropix.answers.boxes import last_boxes, without_texts
from entropix.answers.forms import MONTH_IN_DATE, compared, normalised
from entropix.answers.marks import spoken

MOST_WORDS = 10
"""A longer answer is a sentence that explains rather than a short answer, and two of those are never equal."""

LONGEST_SENTENCE = 400
"""Characters of a sentence that are read."""

_MARKED = re.compile(
    r"\b(?:final\s+|short\s+|correct\s+)?(?:answer|ans)[\"'*_]{0,3}\s{0,3}(?:is|was|would be|:|="
    r"|[-–—](?=\s))\s{0,3}:?\s{0,3}"
    r"|\banswer\b[^.:=!?\n]{1,40}?\s(?:is|was)\b:?\s{1,3}|\bbut (?:it|that)(?:['’]s| is| was)(?: actually)?\s"
    r"|(?:答案|答え|正解|정답|respuesta|réponse|antwort|risposta|resposta|ответ)\s{0,3}"
    r"(?:(?:是|は|은|es|est|ist|lautet|è|é)(?!\w)|是|は|은|[:：])\s{0,3}"
    r"|\b(?:wait|actually|correction|sorry|oops|no wait)\b\W{1,3}[^.\n]{0,40}?\b(?:it|that)(?:['’]s| is| was"
    r"| should be)\s",
    re.IGNORECASE,
)
_ELEMENT = re.compile(r"<(?:final[_ -]?)?(?:answer|result|response)>\s{0,9}([^<]{1,400})", re.IGNORECASE)
_JSON = re.compile(
    r"[\"'](?:final[_ ]?)?(?:answer|result)[\"']\s{0,3}:\s{0,3}[\"']([^\"\n]{1,200})[\"']", re.IGNORECASE
)
_MARKUP = re.compile("[*_`#>]+|[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]+")
_ITEM = re.compile(r"^\s{0,8}(?:[-•]|\d{1,2}[.)])\s+(?=\S)")
_LABEL = re.compile(r"^\s{0,8}(?:A|Ans)\s?[:.]\s+")
_SENTENCE_END = re.compile(
    r"(?<=\w{3})(?<!\bJan)(?<!\bFeb)(?<!\bMar)(?<!\bApr)(?<!\bAug)(?<!\bSep)(?<!\bOct)(?<!\bNov)(?<!\bDec)[.!]+(?:\s+|$)"
    r"|\?+(?:\s+|$)|(?<=[。！？])|\n"
)
_FILLER = re.compile(
    r"\W*(?:sure|certainly|of course|absolutely|great|good|okay|ok|thank(?:s| you)|hello|hi(?: there)?"
    r"|here(?: is|['’]s)"
    r"(?: the answer)?)\b(?: (?:thing|question|one))?\W*",
    re.IGNORECASE,
)
_ASKS = re.compile(r"\s{0,8}(?:Q|Question)\s?:|[^\n]{0,400}[?？]\s{0,8}$")
_HEDGED = re.compile(
    r"\b(?:(?:not|n['’]t be) (?:\S{1,12} )?(?:sure|certain)|don['’]?t (?:really )?know)[^.!?\n]{0,60}?,? but "
    r"(?:my best guess is |(?:i|we) \w{4,8} (?:that )?)?",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i|we)\s+(?:do\s?n['’]?t|do not|can(?:not|['’]?t| not)|am\s+not|are\s+not|could\s?n['’]?t"
    r"|could not)\s+(?:\w{4,9}\s)?"
    r"(?:know|sure|certain|able|answer|find|determine|provide|have|help|verify|recall|confirm|access)\b"
    r"|\b(?:i['’]m|i am|we are|we['’]re)\s+(?:\w{2,9}\s)?(?:sorry|not sure|not certain|unable|unaware|not aware"
    r"|not able)\b"
    r"|\b(?:as|i['’]?m|i am) an ai\b|\b(?:is|are|was|were|['’]s)\s+(?:currently\s)?(?:un|not )(?:known|clear"
    r"|certain|available"
    r"|specified"
    r"|mentioned)\b|(?:\b(?:no|not enough|insufficient)|n['’]t enough)\s+(?:information|idea|record|data|context)\b"
    r"|\bno(?: ?one"
    r"|body) knows\b"
    r"|^\W*there (?:is|are|was|were) no\b|\bno answer (?:is )?(?:available|known)\b|\b(?:could you"
    r"|please)\s+(?:please\s)?(?:clarify|provide|specify)\b"
    r"|\bimpossible to (?:say|know|tell|determine)\b|\bneed (?:more|additional) (?:information|context|details)\b"
    r"|\bquestion is (?:ambiguous|unclear)\b|^\W*can['’]?(?:t|not) (?:say|tell|answer)\b"
    r"|\bi have no\b|^\W*(?:sorry|unfortunately)\b[^.]{0,60}\b(?:can['’]?t|cannot|unable|not)\b"
    r"|^\W*(?:unknown|n/?a|none|not (?:sure|applicable|specified|mentioned|stated|known|available)|unclear|idk"
    r"|it depends)\W*$"
    r"|\bunable to (?:find|answer|determine|verify|provide)\b|^\W*not (?:specified|mentioned|stated|given"
    r"|provided)\b|\bno such\b"
    r"|\b(?:does|do|did)(?: not|n['’]t) (?:say|mention|state|specify|provide)\b|n['’]t think there (?:is|are|was)\b",
    re.IGNORECASE,
)
_LEADS = re.compile(
    r"(?:(?:(?:i|we)(?:['’]d| would)? (?:believe|think|guess|suppose|say|choose|pick|select|go with)(?: that)?"
    r"|(?:it|that|this|he"
    r"|she)(?:['’]s| is| was"
    r"| has been| would be| might be| may be| could be| must be| should be)|they (?:are|were)|there (?:is|are"
    r"|was|were)"
    r"|(?:it|there) (?:has|have|had)|you(?: can)? find (?:it|them)|(?:it|they) can be (?:found|seen)|might be"
    r"|may be|could be|probably"
    r"|(?:most )?likely|perhaps"
    r"|maybe|why|c['’]est|(?:es|das|dies) (?:ist|war)|è|not [^,]{1,60}?(?:,? but(?: rather)?|,(?= it['’]s "
    r"| it is ))|so|well|yes,|here (?:is|are))[,:]?\s+)+",
    re.IGNORECASE,
)
_SETTING = re.compile(
    r"(?:according to|as of|based on|to (?:the best of )?my knowledge|at|with|in|on|by|for|from|during|since"
    r"|contrary to|despite|today|currently|officially|historically)\b"
    r"(?:[^,]|,(?=\d)){0,80},\s+(?=\S+\s+\S+\s+\S+|it )",
    re.IGNORECASE,
)
_INSERTED = re.compile(
    r",\s(?:[^,]|,(?=\d)){1,80},(?=\s(?:is|was|are|were|became|remains|has|had|wrote|won|made|\w{2,12}ed)\b)"
)
_LEFT_OUT = re.compile(r"\s(?:is|was|are|were|did|does|do|has|have)$")
_TAIL = re.compile(r",?\s(?:of course|obviously|i (?:think|believe|guess)|indeed)$", re.IGNORECASE)
_LABELLED = re.compile(r"((?:[^\W\d]{1,20} ){0,2}[^\W\d]{1,20}):\s+(?=\S)")
_LABELS = frozenset(("name", "city", "country", "place", "location", "date", "year", "person", "author", "result"))
_COPULA = re.compile(r"\s+(?:is|was|are|were|has been|have been|became|remains|est|es|ist|è|é)\s+|(?<=\w)(?:是|は)")
_DONE_BY = re.compile(
    r"(?:(?:an?|the) \w{3,14}|(?:\w{4,12}ly )?\w{2,14}(?:ed|en|wn|ng|nt|ught|ne|de|ld|t))"
    r"(?: (?:in|on) [^,]{1,24}?)? by\s+",
    re.IGNORECASE,
)
_DONE_BY_ABROAD = re.compile(
    r"[^\n]{1,120}?\s(?:(?:wurde|wird|worden) (?:[^,\n]{1,24}? )?von|(?:a été|est|fut) \w{2,14} par"
    r"|(?:fue|es|está|foi|è stato|è stata|fu) \w{3,14} (?:por|pel[oa]|dal?l?['’a]?o?))\s+"
    r"(.{1,80}?)(?:\s(?:\w{3,16}(?:t|en)|im Jahr.*|en \d.*|in \d.*|em \d.*))?$",
    re.IGNORECASE,
)
"""Who did it, in German, French, Spanish, Portuguese and Italian."""
_LEAD = re.compile(
    r"^(?:(?:in|on|at|by|from|to|of|as|called|named|known|located|situated|released|published|born|founded"
    r"|written|sung|"
    r"played|directed|created|invented|about|around|approximately|currently|simply|the year|the city of)\s+)+",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"\s*(?:[;(–—]|\s-\s|,\s+(?:followed|meaning|making|including|with|which|whose|who|where|when|a|an|the|and|but|as"
    r"|in|not|located|released|born|also|known|or)\b"
    r"|\s(?:which|who|whose|because|since|although|while|where)\s).*$",
    re.IGNORECASE | re.DOTALL,
)
_DATED = re.compile(
    rf"\s+(?:in|on|since|during|between|from|around|until|before|after)\s+(?:{MONTH_IN_DATE}|\d"
    r"|(?:the )?(?:(?:early|mid|late)[- ])?(?:the )?\d{1,2}(?:st|nd|rd|th) century).*$",
    re.DOTALL,
)
_DATE = re.compile(
    rf"(?:from |between )?\b(?:1\d{{3}}|20\d{{2}})(?:\s?[-–—]\s?| (?:to|until|through|and) )(?:1\d{{3}}|20\d{{2}})\b"
    rf"|\b(?:(?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)?\s)?{MONTH_IN_DATE}(?:\s\d{{1,2}}(?:st|nd|rd|th)?)?(?: of"
    rf"|,)?\s(?:1\d{{3}}|20\d{{2}})\b"
    r"|\b(?:1\d{3}|20\d{2})-\d\d-\d\d\b|\b\d{1,4} (?:BCE?|B\.C\.(?:E\.)?)|\b(?:AD )?\b(?:1\d{3}|20\d{2})\b",
)
_WHEN = re.compile(r"\bwhen\b|\b(?:what|which|in what)\s+(?:year|date|day)\b", re.IGNORECASE)
_WHERE = re.compile(r"\s*(?:where|in (?:what|which))\b", re.IGNORECASE)
_HOW_MANY = re.compile(r"\bhow (?:many|much)\b", re.IGNORECASE)
_AMOUNT = re.compile(
    r"(?:(?:about|around|approximately|roughly|exactly|over|only) )?(\d[\d,.]{0,30}(?: \w{1,8}illion\b)?+)(?:\s|$)",
    re.IGNORECASE,
)
_AT_PLACE = re.compile(r"\s(?:in|at|on|near)\s+(?:the\s)?(?=[A-Z])")
_CHOOSES = re.compile(r"\s*(?:is|are|was|were|does|do|did|can|could|has|have|had|will|would|should)\b", re.IGNORECASE)
_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\s\u3040-\u30ff\u4e00-\u9fff]+")
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_DENIES = re.compile(r"\b(?:not|never|no longer)\b|(?<=can)not\b|(?<=can)['’]t\b|(?<!\bca)n['’]t\b", re.IGNORECASE)
_FUNCTION_WORDS = (
    "a an the of in on at by to from for with and or is was are were be been it its this that he she they his her "
    "their as did do does has have had which who whom whose what when where why how uses used there"
)
_FUNCTION = frozenset(_FUNCTION_WORDS.split())
_AUXILIARIES = frozenset(("can", "could", "will", "would", "should", "may", "might", "must"))


def short(text: str, question: str = "") -> str | None:
    """The short answer that `text` gives, in the form of `forms.compared`; None where it gives none, refuses, or
    explains instead.

    A marked answer ("the answer is …", a box, an element) counts first, else the first sentence that is no courtesy and
    not the question again. `question` helps to take the answer out of a sentence that repeats it: of "Hamlet was
    written by William Shakespeare." what it did not say."""
    sentence = _answering(spoken(text).strip())
    if not sentence or _REFUSAL.search(sentence):
        return None
    said = _YES_NO.match(sentence) if _CHOOSES.match(question) else None
    if said:
        return said[1].lower()
    if _CHOOSES.match(question) and (repeated := _repeats(sentence, question)):
        return repeated
    answer = compared(_taken_out(sentence, _words(question), question))
    return answer if answer and len(answer.split()) <= MOST_WORDS else None


def matches(answer: str | None, accepted: Iterable[str]) -> bool:
    """Whether an extracted answer is one of the accepted ones, as SQuAD's exact match has it in the form of
    `forms.compared`."""
    return answer is not None and compared(answer) in {compared(one) for one in accepted}


def _answering(text: str) -> str:
    """The sentence, or the part of it, that answers; the refusal where one comes first."""
    if boxes := last_boxes(text):
        return without_texts(", ".join(boxes))
    for pattern in (_ELEMENT, _JSON):
        if found := pattern.findall(text):
            return str(found[-1]).strip()
    text = _MARKUP.sub("", text).strip()
    if hedged := _HEDGED.search(text[:LONGEST_SENTENCE]):
        text = text[hedged.end() :]
    marks = list(_MARKED.finditer(text))
    return (_sentence(text[marks[-1].end() :]) if marks else "") or _sentence(text)


def _sentence(text: str) -> str:
    """The first sentence that is no courtesy and no question; a list of names as one."""
    lines = [line for line in text.splitlines() if line.strip()]
    if 1 < len(lines) <= 4 and all(_ITEM.match(line) and len(line.split()) <= 6 for line in lines):
        return " and ".join(_ITEM.sub("", line, count=1).strip() for line in lines)
    first, begin = "", 0
    for end in (*_SENTENCE_END.finditer(text[: 4 * LONGEST_SENTENCE]), None):
        part = text[begin : end.end() if end else len(text)][:LONGEST_SENTENCE]
        begin = end.end() if end else 0
        said = _LABEL.sub("", _ITEM.sub("", part, count=1), count=1).strip().rstrip(".!。！").strip()
        if not said.strip(" .,:;!?\"'“”"):
            continue
        if not (_FILLER.fullmatch(said) or _ASKS.match(part)):
            return said
        first = first or said
    return first


def _repeats(sentence: str, question: str) -> str | None:
    """yes or no where a sentence says again what was asked, or that it is not so; None for any other."""
    denies = _DENIES.search(sentence)
    said = _words(_DENIES.sub(" ", sentence)) - _AUXILIARIES
    asked = _words(question) - _AUXILIARIES
    return ("no" if denies else "yes") if said and said == asked and " or " not in question else None


def _words(text: str) -> frozenset[str]:
    words = _WORD.findall(normalised(text))
    return frozenset(_stem(word) for word in words if word not in _FUNCTION)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "e"):
        if len(word) > len(ending) + 1 and word.endswith(ending):
            return word.removesuffix(ending)
    return word


def _taken_out(sentence: str, asked: frozenset[str], question: str) -> str:
    """The part of a sentence that answers."""
    if _WHEN.search(question) and (dates := [d[0] for d in _DATE.finditer(sentence) if not _is_denied(sentence, d)]):
        return dates[-1]
    sentence = _TAIL.sub("", _LEFT_OUT.sub("", _INSERTED.sub("", sentence)))
    label = _LABELLED.match(sentence)
    if label and (_words(label[1]) & asked or label[1].lower() in _LABELS):
        sentence = sentence[label.end() :]
    lead = _LEADS.match(sentence) or _SETTING.match(sentence)
    while lead:
        sentence = sentence[lead.end() :]
        lead = _LEADS.match(sentence) or _SETTING.match(sentence)
    if _WHERE.match(question) and (place := _AT_PLACE.search(sentence)) and _words(sentence[: place.start()]) & asked:
        return _CLAUSE.sub("", sentence[place.end() :])
    main = _without_asked(_CLAUSE.sub("", sentence), asked)
    if _DONE_BY.match(main):
        return _bare(main)
    if done := _DONE_BY_ABROAD.fullmatch(main):
        return done[1]
    if (amount := _AMOUNT.match(main)) and _HOW_MANY.search(question):
        return amount[1]
    if copula := _COPULA.search(main):
        left, right = main[: copula.start()], main[copula.end() :]
        return left if _words(left) and _overlap(right, asked) > _overlap(left, asked) else _bare(right)
    repeats = len(main.split()) > 2 or _HOW_MANY.search(question)
    if repeats and _words(main) & asked and not _is_name(main):
        return max(_runs(_DATED.sub("", main) or main, asked), key=len, default=main)
    return _bare(main)


def _without_asked(text: str, asked: frozenset[str]) -> str:
    """`text` without what the question said behind its last commas: "Paris, France" of the capital of France."""
    parts = text.split(", ")
    while len(parts) > 1 and _words(parts[-1]) and _words(parts[-1]) <= asked:
        parts.pop()
    return ", ".join(parts)


def _is_denied(sentence: str, found: re.Match[str]) -> bool:
    return bool(re.search(r"\bnot (?:in |on |until )?$", sentence[max(found.start() - 12, 0) : found.start()]))


def _bare(part: str) -> str:
    """`part` without "written by" before it and "in 1965" behind it."""
    part = _CLAUSE.sub("", _LEAD.sub("", part[done.end() :] if (done := _DONE_BY.match(part)) else part))
    part = re.sub(r"(?:です|だ|である|입니다|이다)$", "", part)
    return _DATED.sub("", part) or part


def _is_name(text: str) -> bool:
    """Whether every word of a text begins with a capital or is one that stands inside names."""
    return all(not word[0].islower() or word in _FUNCTION for word in text.split())


def _overlap(part: str, asked: frozenset[str]) -> float:
    words = _words(part)
    return len(words & asked) / len(words) if words else 0.0


def _runs(sentence: str, asked: frozenset[str]) -> list[str]:
    """Stretches of words that the question does not hold, without function words at their ends."""
    runs: list[list[str]] = [[]]
    for word in sentence.split():
        if _words(word) and _words(word) <= asked:
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
