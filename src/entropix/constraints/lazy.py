"""A grammar that begins in mid-text: the text is free until it comes to a trigger, and from there on it is kept to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from entropix.constraints.matcher import Compiled, GrammarMatcher, Mask

LOOKED_AT = 512
"""Bytes before the end of a text in which a trigger may begin; it is far longer than any trigger."""


@dataclass(frozen=True)
class Trigger:
    """What a text must say for its grammar to begin.

    parts: texts in this order, with any white space between two of them. first: only where nothing but white space
    stands before, or a `</think>`.
    """

    parts: tuple[str, ...]
    first: bool = False

    @property
    def pattern(self) -> str:
        inner = r"\s*".join(re.escape(part) for part in self.parts)
        return rf"(?:\A|</think>)\s*({inner})" if self.first else f"({inner})"

    @property
    def squeezed(self) -> str:
        """The trigger without its white space."""
        return "".join("".join(self.parts).split())


class Triggers:
    """Several triggers, looked for together in a text as it grows."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        source = "|".join(trigger.pattern for trigger in triggers)
        self._text, self._bytes = re.compile(source), re.compile(source.encode())
        self._anywhere = [t.squeezed for t in triggers if not t.first]
        self._first = [t.squeezed for t in triggers if t.first]

    def find(self, text: str) -> int | None:
        """Where the first trigger in `text` begins, None without one."""
        match = self._text.search(text)
        return match.start(match.lastindex or 0) if match else None

    def find_last(self, data: bytearray) -> int | None:
        """The same in bytes, looked for near their end only."""
        match = self._bytes.search(data, max(len(data) - LOOKED_AT, 0))
        return match.start(match.lastindex or 0) if match else None

    def certain(self, text: str, *, fresh: bool) -> int:
        """How many characters of `text`, which holds no trigger, can no longer become part of one. fresh: nothing but
        white space stands before it."""
        begins = {target[0] for target in self._anywhere}
        for at in range(max(len(text) - LOOKED_AT, 0), len(text)):
            if text[at] in begins and self._may_become(text[at:], self._anywhere):
                return at
        if fresh and self._first and self._may_become(text, self._first):
            return 0
        return len(text)

    @staticmethod
    def _may_become(text: str, targets: Sequence[str]) -> bool:
        squeezed = "".join(text.split())
        return any(target.startswith(squeezed) for target in targets)


@dataclass(frozen=True, eq=False)
class Lazy:
    """A constraint that holds from a trigger on.

    compiled: the grammar, of texts that begin with a trigger. spell: the bytes that a token is looked at as, of
    control tokens their names.
    """

    compiled: Compiled
    triggers: Triggers
    spell: Callable[[int], bytes]

    @property
    def vocabulary(self) -> int:
        return self.compiled.vocabulary

    @property
    def notes(self) -> tuple[str, ...]:
        return self.compiled.notes

    @cached_property
    def start(self) -> GrammarMatcher:
        return self.compiled.start

    def begin(self) -> LazyMatcher:
        return LazyMatcher(self)


class LazyMatcher:
    """One text on its way to a trigger, and from there in the grammar."""

    __slots__ = ("_begun", "_ends", "_fed", "_inner", "_lazy", "_text", "_tokens")

    def __init__(self, lazy: Lazy) -> None:
        self._lazy = lazy
        self._text = bytearray()
        self._tokens: list[int] = []
        self._ends: list[int] = []
        """Of each token, where its bytes end in the text."""
        self._inner: GrammarMatcher | None = None
        self._begun = self._fed = 0
        """Tokens of the text when the grammar began, and tokens that the matcher of the grammar had then taken."""

    @property
    def free(self) -> bool:
        """Whether every token is allowed."""
        return self._inner is None

    @property
    def complete(self) -> bool:
        return self._inner is not None and self._inner.complete

    @property
    def problem(self) -> str:
        return "" if self._inner is None else self._inner.problem

    def allowed(self) -> Mask | None:
        assert self._inner is not None, "nothing is forbidden in free text"
        return self._inner.allowed()

    def accept(self, token: int) -> None:
        self._tokens.append(token)
        if self._inner is not None:
            self._ends.append(len(self._text))
            self._inner.accept(token)
            return
        self._text += self._lazy.spell(token)
        self._ends.append(len(self._text))
        start = self._lazy.triggers.find_last(self._text)
        if start is not None:
            self._start(start)

    def rewind(self, length: int) -> None:
        if length >= len(self._tokens):
            return
        if self._inner is not None:
            if length >= self._begun:
                self._inner.rewind(self._fed + length - self._begun)
            else:
                self._inner = None
        del self._tokens[length:], self._ends[length:]
        del self._text[self._ends[-1] if self._ends else 0 :]

    def copy(self) -> LazyMatcher:
        twin = LazyMatcher(self._lazy)
        twin._text, twin._tokens, twin._ends = bytearray(self._text), list(self._tokens), list(self._ends)
        twin._inner = None if self._inner is None else self._inner.copy()
        twin._begun, twin._fed = self._begun, self._fed
        return twin

    def _start(self, start: int) -> None:
        """Begin the grammar at byte `start` of the text, unless what stands there is not of it."""
        inner, at = self._lazy.start.copy(), 0
        for token, end in zip(self._tokens, self._ends, strict=True):
            if end > start and not inner.take(token, bytes(self._text[max(at, start) : end])):
                return
            at = end
        self._inner, self._begun, self._fed = inner, len(self._tokens), inner.length
