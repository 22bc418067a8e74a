"""How far a text has come in its grammar: a thin layer over llguidance's matcher, which never raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from entropix.constraints.forcing import Words, forced_bytes
from entropix.constraints.grammar import Grammar

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A grammar on one model's vocabulary: a constraint as the decoding loop takes it.

    vocabulary: how many logits the model has; notes: what the reader of an answer must know.
    """

    start: GrammarMatcher
    grammar: Grammar
    vocabulary: int
    notes: tuple[str, ...] = ()

    def begin(self) -> GrammarMatcher:
        """A matcher at the beginning of a text."""
        return self.start.copy()


class GrammarMatcher:
    """One text's place in the grammar. length: the tokens it has taken.

    Text that the grammar forces is planned here, token by token, since llguidance's own search for it has no limit.
    """

    __slots__ = ("_endless", "_matcher", "_planned", "_words", "length")

    def __init__(self, matcher: Any, words: Words, length: int = 0, planned: tuple[int, ...] = ()) -> None:
        self._matcher = matcher
        self._words = words
        self._planned = planned
        self._endless = ""
        self.length = length

    free = False
    """Whether every token is allowed, without a look at the vocabulary."""

    @property
    def complete(self) -> bool:
        """Whether the text is one that the grammar allows and nothing can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def problem(self) -> str:
        """Why it cannot go on: beyond the matcher's limits; "" while it can."""
        if self._endless:
            return self._endless
        lines = [line.strip() for line in self._matcher.get_error().splitlines() if line.strip()]
        problem = " ".join(line for n, line in enumerate(lines) if n == 0 or line.startswith("error:"))
        return "no text can satisfy it" if problem == "NoExtensionBias" else problem

    @property
    def warnings(self) -> list[str]:
        return list(self._matcher.get_grammar_warnings())

    def allowed(self) -> Mask | None:
        """`(vocabulary,)`: the tokens that may come next; None when there is a problem."""
        if self._planned:
            return self._words.only(self._planned[0])
        bits = self._matcher.compute_bitmask()
        if self._matcher.is_error():  # the mask then allows the end tokens
            return None
        packed = np.frombuffer(bits, np.uint8)
        mask = np.unpackbits(packed, count=self._words.size, bitorder="little").view(np.bool_)
        return mask if self._words.forced_byte(packed) is None else self._plan(mask)

    def _plan(self, mask: Mask) -> Mask | None:
        """`mask`, of a place where the next bytes are forced, with the model's own tokens for them only."""
        text, complete = forced_bytes(self._matcher.deep_copy(), self._words)
        if text is None:
            self._endless = self._words.too_long
            return None
        tokens = self._words.tokens(text)
        # the last token may be one that begins further text, so it is fixed only where nothing follows
        self._planned = tuple(tokens if complete else tokens[:-1])
        if self._planned:
            return self._words.only(self._planned[0])
        reaching = mask & (self._words.lengths >= len(text))
        return reaching if reaching.any() else mask

    def accept(self, token: int) -> None:
        """Take a token. One that is not allowed makes a problem."""
        self._planned = self._planned[1:] if self._planned[:1] == (token,) else ()
        if self._matcher.consume_token(token):
            self.length += 1

    def take(self, token: int, data: bytes) -> bool:
        """Take the end of a token, `data`, that is cut where the text begins; a control token as itself. Whether the
        grammar has it."""
        of_byte = self._words.of_byte
        parts = [of_byte.get(byte, -1) for byte in data] if self._words.lengths[token] else [token]
        for part in parts:
            if part < 0 or not self._matcher.consume_token(part):
                return False
            self.length += 1
        return not self._matcher.is_error()

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        if length < self.length:
            self._matcher.rollback(self.length - length)
            self.length = length
            self._planned, self._endless = (), ""

    def copy(self) -> GrammarMatcher:
        """A second matcher at the same place."""
        return GrammarMatcher(self._matcher.deep_copy(), self._words, self.length, self._planned)
