"""Tokens → text that may be shown: never half a character, never part of a stop string."""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import replace

from entropix.types import Step


class TextStream:
    """Collects an answer's text and gives out, chunk by chunk, what is certain.

    A chunk waits while it could still turn out to be part of a stop string, and a character's bytes wait until
    the character is whole. `step.text` is set to what the step's token finally contributed, so that the steps'
    texts join to the answer.

    A control token adds no text. A stop string may spell its name all the same, alone or beside text: it is looked
    for in the text and, where there are control tokens, in the text with their labels in it.

    before: the bytes of tokens that came before the first; only a character that they begin and do not end matters.
    """

    def __init__(self, stops: tuple[str, ...] = (), before: bytes = b"") -> None:
        self.stops = tuple(s for s in stops if s)
        self.stopped = False
        self.stopped_by = ""
        """The stop string that has ended the text."""
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._utf8.decode(before)
        self._waiting: deque[Step] = deque()
        self._names: deque[str] = deque()
        """Of each waiting step, the label if it is a control token, else ""."""
        self._certain: list[str] = []

    def copy(self) -> tuple[TextStream, list[Step]]:
        """A second stream in the same state, and its own copies of the steps that wait, oldest first."""
        twin = TextStream(self.stops)
        twin.stopped, twin.stopped_by = self.stopped, self.stopped_by
        twin._utf8.setstate(self._utf8.getstate())
        twin._certain = list(self._certain)
        twin._waiting = deque(replace(step) for step in self._waiting)
        twin._names = deque(self._names)
        return twin, list(twin._waiting)

    @property
    def waiting(self) -> int:
        """How many of the last steps have a text that is not certain yet."""
        return len(self._waiting)

    @property
    def text(self) -> str:
        """What has been released so far."""
        return "".join(self._certain)

    def push(self, step: Step, data: bytes) -> list[Step]:
        """Add a token's bytes, none for a control token; returns the steps whose text is now certain, in order.
        After a stop string nothing is added to the text."""
        step.text = "" if self.stopped else self._utf8.decode(data)
        self._waiting.append(step)
        self._names.append("" if data else step.label)
        return self._release()

    def finish(self) -> list[Step]:
        """No more tokens: release what waited. Bytes of an incomplete character become U+FFFD."""
        released: list[Step] = []
        rest = "" if self.stopped else self._utf8.decode(b"", final=True)
        if rest and self._waiting:
            self._waiting[-1].text += rest
            released = self._release()
        released += self._waiting
        self._certain += [s.text for s in self._waiting]
        self._waiting.clear()
        self._names.clear()
        return released

    def _release(self) -> list[Step]:
        spelled = "".join(name or s.text for name, s in zip(self._names, self._waiting, strict=True))
        buffer = "".join(s.text for s in self._waiting) if any(self._names) else spelled
        found = [(at, s) for s in self.stops if (at := buffer.find(s)) >= 0]
        if spelled is not buffer:
            found += [(self._shown(at), s) for s in self.stops if (at := spelled.find(s)) >= 0]
        certain, certain_spelled = len(buffer), len(spelled)
        if found:
            at, self.stopped_by = min(found)
            self._cut(at)
            self.stopped = True
        else:
            certain -= self._held_back(buffer)
            certain_spelled -= self._held_back(spelled)
        # the step that holds the first bytes of a character waits for the rest: it may have to stand for them
        incomplete = self._waiting[-1] if self._utf8.getstate()[0] and not self.stopped else None
        released: list[Step] = []
        while self._waiting and self._waiting[0] is not incomplete:
            step, name = self._waiting[0], self._names[0]
            certain, certain_spelled = certain - len(step.text), certain_spelled - len(name or step.text)
            if min(certain, certain_spelled) < 0:
                break
            self._waiting.popleft()
            self._names.popleft()
            released.append(step)
            self._certain.append(step.text)
        return released

    def _shown(self, at: int) -> int:
        """How many characters of the text stand before place `at` of the text with labels."""
        shown = 0
        for step, name in zip(self._waiting, self._names, strict=True):
            shown += 0 if name else min(len(step.text), max(at, 0))
            at -= len(name or step.text)
        return shown

    def _held_back(self, buffer: str) -> int:
        """Length of the longest end of `buffer` that a stop string begins with."""
        longest = max(map(len, self.stops), default=1) - 1
        for n in range(min(len(buffer), longest), 0, -1):
            if any(s.startswith(buffer[-n:]) for s in self.stops):
                return n
        return 0

    def _cut(self, length: int) -> None:
        """Shorten the waiting steps' texts to `length` characters in all."""
        for step in self._waiting:
            step.text = step.text[:length]
            length -= len(step.text)
