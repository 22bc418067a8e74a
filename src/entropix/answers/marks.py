"""What a text says to its reader, and the words that mark its answer."""

from __future__ import annotations

import re

LONGEST = 32768
"""Characters at the end of a text that are read."""

_ABROAD = (
    r"答案|答え|正解|正答|答：|答:|答(?=\s?[是为為])|回答|结果|結果|정답|답변|답(?=은|:|\s)|respuesta|réponse|antwort|ergebnis|ответ"
    r"|lösung|\bsvar(?:et)?\b|\bhasil(?:nya)?\b|kết quả|\bwynik\b|sonuç|vastaus|απάντηση|відповідь|răspuns|eredmény"
    r"|\brezultat(?:ul)?\b|výsledek|odpověď|válasz|คำตอบ|התשובה|উত্তর|результат|الجواب|الإجابة|پاسخ|جواب"
    r"|resposta|risposta|antwoord|odpowiedź|cevap|उत्तर|đáp án|câu trả lời|jawaban"
    r"|résultat|resultado|risultato|正确(?:的是|选项)|(?:正しい|適切な)(?:選択肢|もの|の)(?=は)"
    r"|(?:옳은|맞는|올바른) (?:것|선택지)(?=[은는])"
)
_CORRECTED = (
    r"\b(?:wait|actually|oops|correction|sorry|hold on|hmm|no|my mistake|on second thought)\b[^\n.!?\d]{0,40}?"
    r"\b(?:it|that|this)"
)
_AMENDED = (
    r"(?<=[\w%)*$])\s?[,;:.…—–-]{1,4}\s{0,2}(?:no(?=\s?[,:;.!…—–-]| wait| sorry)|actually,? no|wait|sorry|oops"
    r"|i mean|i meant"
    r"|make (?:that|it)|scratch that"
    r"|or rather|correction)\b(?:[,:;.!…—– -]{1,4}(?:no|wait|sorry|i mean|i meant|make (?:that|it)|it['’]s"
    r"|actually)\b){0,3}"
    r"[,:;.!…—– -]{1,4}"
)
"""What takes back a number or a letter that stands right before it: 48, no, sorry, 46."""
_AHEAD = r"(?=[\s*(:$\\]{0,6}(?:option )?(?:[-−]?[$€£]?\d|(?-i:[A-J]\b)))"
MARK = re.compile(
    r"\bans\.(?=\s)|\b(?:answer|ans|result|solution)\b[^.\n\d:=!?]{0,60}?(?:\b(?:is|was|equals|would be"
    r"|should be|must be"
    r"|will be|(?:comes?|works|turns) (?:out )?(?:to be|to|as|at))\b|[:=→]|\s[-–—]{1,2}(?=\s))"
    r"|^[#* ]{1,8}(?:final )?(?:answer|result)[:* ]{0,4}$|<(?:final[_ -]?)?(?:answer|result|solution|output)>"
    rf"|(?:{_ABROAD})|(?:{_CORRECTED})(?:['’]s| is| should be| must be| would be)(?: actually| really"
    rf"| in fact)?{_AHEAD}"
    rf"|{_AMENDED}{_AHEAD}"
    rf"|\b(?:it|that|this) should (?:actually |really |instead )?(?:be|have been){_AHEAD}",
    re.IGNORECASE | re.MULTILINE,
)
HASHES = re.compile(
    r"^[ \t]{0,8}#### ?(?=[-−+$€£*\d.])[^\n]{0,400}$|(?<=[^#\n])#### ?(?=[-−+$€£*\d.])[^\n]{0,400}$", re.MULTILINE
)
_THOUGHT = re.compile(
    r"</(?:think|thinking|thought|thoughts|reason|reasoning|scratchpad)>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>"
    r"|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
_THINKING = re.compile(
    r"<(?:think|thinking|thought|thoughts|reason|reasoning|scratchpad)>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|channel\|>analysis<\|message\|>",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"\W*(?:sure|certainly|of course|okay|ok|alright|hello|hi|let['’]?s|let me|here (?:is|are)|here['’]s"
    r"|to (?:solve|answer|find)"
    r"|i (?:will|can)|i['’]ll|the (?:following|given)|this is)\b[^\n]{0,200}|[^\n]{0,200}:\W*|\W*",
    re.IGNORECASE,
)
"""What a text says before it repeats its own question."""
_NEXT_QUESTION = re.compile(
    r"^[*#\s]{0,6}(?:Question|Q|Problem|Human|User|问题|問題|题目|質問)(?: ?#?\d{1,4})?[*]{0,2} ?[:：]", re.MULTILINE
)


def unthought(text: str) -> str:
    """What stands behind the thinking of a text; of one that was cut off in its thinking nothing."""
    thoughts = [m.end() for m in _THOUGHT.finditer(text)]
    text = text[thoughts[-1] :] if thoughts else text
    unfinished = _THINKING.search(text)
    return text[: unfinished.start()] if unfinished else text


def spoken(text: str) -> str:
    """What a text says to its reader, at most `LONGEST` characters at its end: what stands behind its thinking, up to a
    next question that it asks itself."""
    text = unthought(text)[-LONGEST:]
    answered = MARK.search(text) or HASHES.search(text)
    for following in _NEXT_QUESTION.finditer(text):
        start = following.start()
        if (answered and answered.end() <= start) or not _COURTESY.fullmatch(text[:start][-600:]):
            return text[:start]
    return text
