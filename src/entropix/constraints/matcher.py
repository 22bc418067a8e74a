"""How far a text has come in its grammar: a thin layer over llguidance's matcher, which never raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from entropix.constraints.grammar import Grammar


@dataclass(frozen=True, eq=False)
class Compiled:
    """A grammar on one model's vocabulary: a constraint as the decoding loop takes it.

    vocabulary: how many logits the model has; notes: what the reader of an answer must know.
    """

    start: Matcher
    grammar: Grammar
    vocabulary: int
    notes: tuple[str, ...] = ()

    def begin(self) -> Matcher:
        """A matcher at the beginning of a text."""
        return self.start.copy()


class Matcher:
    """One text's place in the grammar. length: the tokens it has taken."""

    __slots__ = ("_matcher", "_size", "length")

    def __init__(self, matcher: Any, size: int, length: int = 0) -> None:
        self._matcher = matcher
        self._size = size
        self.length = length

    @property
    def complete(self) -> bool:
        """Whether the text is one that the grammar allows and nothing can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def problem(self) -> str:
        """Why it cannot go on: beyond the matcher's limits; "" while it can."""
        lines = [line.strip() for line in self._matcher.get_error().splitlines() if line.strip()]
        problem = " ".join(line for n, line in enumerate(lines) if n == 0 or line.startswith("error:"))
        return "no text can satisfy it" if problem == "NoExtensionBias" else problem

    @property
    def warnings(self) -> list[str]:
        return list(self._matcher.get_grammar_warnings())

    def allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        """`(vocabulary,)`: the tokens that may come next; None when there is a problem."""
        bits = self._matcher.compute_bitmask()
        if self._matcher.is_error():  # the mask then allows the end tokens
            return None
        packed = np.frombuffer(bits, np.uint8)
        return np.unpackbits(packed, count=self._size, bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """Take a token. One that is not allowed makes a problem."""
        if self._matcher.consume_token(token):
            self.length += 1

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        if length < self.length:
            self._matcher.rollback(self.length - length)
            self.length = length

    def copy(self) -> Matcher:
        """A second matcher at the same place."""
        return Matcher(self._matcher.deep_copy(), self._size, self.length)
