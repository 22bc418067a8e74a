"""What an answer's text consists of: reasoning, content and calls of tools, found as the text comes."""

from __future__ import annotations

import json
import re
import secrets
import string
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias

from entropix.constraints.lazy import Triggers
from entropix.serve.tools.dialect import from_dialect
from entropix.serve.tools.formats import CallFormat

Span: TypeAlias = tuple[int, int]
"""Characters of an answer's text as it is spelled: control tokens by their names."""

OPEN, CLOSE = "<think>", "</think>"


@dataclass(slots=True)
class WrittenCall:
    """A call as far as it has been written. lead: what stands before its name; whole: the arguments are complete."""

    id: str
    name: str
    lead: Span
    name_span: Span
    start: int
    arguments: str = ""
    whole: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """The arguments as an object; empty where they were cut off."""
        try:
            found = json.loads(self.arguments)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Fragment:
    """A further bit of an answer. call: the number of the call that a name or arguments belong to."""

    kind: Literal["reasoning", "content", "call", "arguments"]
    text: str
    call: int = -1


@dataclass(frozen=True)
class Manner:
    """How an answer is to be read. form, names: calls of these tools are looked for; thinks: reasoning stands apart
    from content; thinking: the prompt has opened it already; required: the answer must be a call."""

    form: CallFormat | None = None
    names: tuple[str, ...] = ()
    thinks: bool = False
    thinking: bool = False
    required: bool = False

    @property
    def plain(self) -> bool:
        """Whether the text is content and nothing else."""
        return self.form is None and not self.thinks


PLAIN = Manner()


@dataclass
class Speech:
    """One answer, fed piece by piece. `feed` and `finish` return what has become certain."""

    manner: Manner
    content: str = ""
    reasoning: str = ""
    calls: list[WrittenCall] = field(default_factory=list)
    begin: int = 0
    """Where in the text the content begins."""

    def __post_init__(self) -> None:
        form = self.manner.form
        self._triggers = None if form is None else Triggers(form.triggers(self.manner.names))
        self._scanner: _Scanner | None = None
        self._held = ""
        self._at = 0
        """Where `_held` begins in the text."""
        self._state = "reasoning" if self.manner.thinking else "start" if self.manner.thinks else "content"

    def feed(self, text: str) -> list[Fragment]:
        self._held += text
        parts: list[Fragment] = []
        while self._step(parts):
            pass
        return parts

    def finish(self) -> list[Fragment]:
        """The text has ended: what was held back is what it looks like."""
        parts: list[Fragment] = []
        if self._scanner is not None and not self.calls:
            self._held, self._scanner = self._scanner.text, None
        if self._scanner is None and self._held:
            kind: Literal["reasoning", "content"] = "reasoning" if self._state == "reasoning" else "content"
            self._say(parts, kind, len(self._held))
        return parts

    def _step(self, parts: list[Fragment]) -> bool:
        """Read on; whether there may be more to read."""
        if self._state == "start":
            return self._starts()
        if self._state == "reasoning":
            return self._reasons(parts)
        if self._state == "content":
            return self._speaks(parts)
        assert self._scanner is not None
        parts += self._scanner.feed(self._held)
        self._at, self._held = self._at + len(self._held), ""
        return False

    def _starts(self) -> bool:
        begun = self._held.lstrip()
        if begun.startswith(OPEN):
            self._skip(len(self._held) - len(begun) + len(OPEN))
            self._state = "reasoning"
            return True
        if OPEN.startswith(begun):
            return False
        self._state = "content"
        return True

    def _reasons(self, parts: list[Fragment]) -> bool:
        if not self.reasoning:
            self._skip(len(self._held) - len(self._held.lstrip()))
        end = self._held.find(CLOSE)
        if end >= 0:
            self._say(parts, "reasoning", len(self._held[:end].rstrip()))
            self._skip(self._held.find(CLOSE) + len(CLOSE))
            self._state = "content"
            return True
        # white space before the end is not part of it, and an end that has begun is not either
        rest = next((n for n in range(len(CLOSE) - 1, 0, -1) if self._held.endswith(CLOSE[:n])), 0)
        self._say(parts, "reasoning", len(self._held[: len(self._held) - rest].rstrip()))
        return False

    def _speaks(self, parts: list[Fragment]) -> bool:
        if self.manner.thinks and not self.content:
            self._skip(len(self._held) - len(self._held.lstrip()))
        if self._triggers is None:
            self._say(parts, "content", len(self._held))
            return False
        # a trigger that only the beginning of an answer may have is looked for with the beginning's mark
        start = self._triggers.find(self._held) if not self.content.strip() else self._find_later()
        if start is None:
            certain = self._triggers.certain(self._held, fresh=not self.content.strip())
            self._say(parts, "content", len(self._held[:certain].rstrip()))  # white space may stand before a call
            return False
        self._say(parts, "content", len(self._held[:start].rstrip()))
        self._skip(len(self._held) - len(self._held.lstrip()))
        form = self.manner.form
        assert form is not None
        self._scanner = _Scanner(form, self.calls, self._at)
        self._state = "calls"
        return True

    def _find_later(self) -> int | None:
        assert self._triggers is not None
        found = self._triggers.find("." + self._held)
        return None if found is None else found - 1

    def _say(self, parts: list[Fragment], kind: Literal["reasoning", "content"], length: int) -> None:
        text = self._held[:length]
        if not text:
            return
        if kind == "content":
            if not self.content:
                self.begin = self._at
            self.content += text
        else:
            self.reasoning += text
        parts.append(Fragment(kind, text))
        self._skip(length)

    def _skip(self, length: int) -> None:
        self._at += length
        self._held = self._held[length:]


class _Scanner:
    """Calls in a text that keeps to the grammar of its format."""

    def __init__(self, form: CallFormat, calls: list[WrittenCall], at: int) -> None:
        self.form, self.calls, self.text = form, calls, ""
        self._origin = at
        self._read = 0
        """How much of the text has been read."""
        self._depth = 0
        self._quoted = False
        self._open: WrittenCall | None = None
        self._said = 0

    def feed(self, text: str) -> list[Fragment]:
        self.text += text
        parts: list[Fragment] = []
        while True:
            if self._open is None:
                match = self.form.opening.search(self.text, self._read)
                if match is None or match.end() >= len(self.text):
                    return parts
                self._begin(match, parts)
            end = self._arguments()
            call = self._open
            assert call is not None
            if end is None:
                self._grow(parts, call, len(self.text))
                return parts
            self._grow(parts, call, end)
            if self.form.dialect != "json":
                call.arguments = from_dialect(call.arguments, self.form.dialect)
                parts.append(Fragment("arguments", call.arguments, len(self.calls) - 1))
            call.whole = True
            self._open, self._read = None, end

    def _begin(self, match: re.Match[str], parts: list[Fragment]) -> None:
        name = match["name"]
        named = json.loads(f'"{name}"') if self.form.body != "plain" else name
        shift = self._origin
        self._open = WrittenCall(
            new_id(),
            named,
            (shift + self._read, shift + match.start("name")),
            (shift + match.start("name"), shift + match.end("name")),
            shift + match.end(),
        )
        self.calls.append(self._open)
        parts.append(Fragment("call", named, len(self.calls) - 1))
        self._read = self._said = match.end()
        self._depth, self._quoted = 0, False

    def _grow(self, parts: list[Fragment], call: WrittenCall, end: int) -> None:
        text = self.text[self._said : end]
        self._said = end
        call.arguments += text
        if text and self.form.dialect == "json":
            parts.append(Fragment("arguments", text, len(self.calls) - 1))

    def _arguments(self) -> int | None:
        """Where the arguments end, None while they go on. `_read` is how far they have been looked at."""
        mark, tokens = _tokens(self.form.dialect)
        while match := tokens.search(self.text, self._read):
            found = match[0]
            self._read = match.end()
            if found == mark:
                self._quoted = not self._quoted
            elif not self._quoted and found in "{[":
                self._depth += 1
            elif not self._quoted and found in "}]":
                self._depth -= 1
                if not self._depth:
                    return self._read
        return None


@cache
def _tokens(dialect: str) -> tuple[str, re.Pattern[str]]:
    """The mark around strings, and a pattern of what matters in arguments."""
    if dialect == "json":
        return '"', re.compile(r'\\.|["{}\[\]]', re.DOTALL)
    return dialect, re.compile(rf"{re.escape(dialect)}|[{{}}\[\]]")


ALPHABET = string.ascii_letters + string.digits


def new_id() -> str:
    """Of a call: nine letters and digits, which is what the templates of Mistral insist on."""
    return "".join(secrets.choice(ALPHABET) for _ in range(9))
