"""Text that a grammar forces: found byte by byte within a limit, and put into the model's own tokens.

llguidance does this itself (`force_bytes`), in a loop that no limit and no signal ends: `/x+/ "x"` forces one byte for
ever. Its own forcing is therefore switched off (`NO_FORCING`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NO_FORCING = '\n%llguidance {"no_forcing": true}\n'
"""Added to a Lark grammar."""

MOST_FORCED = 16 * 1024
"""Most bytes that may be forced in a row. A grammar that forces more is taken for one that never ends."""


class Words:
    """A vocabulary as forced text needs it. pieces: every token's bytes, b"" for markup; encode: a text's tokens."""

    def __init__(self, pieces: list[bytes], ends: frozenset[int], encode: Callable[[str], list[int]]) -> None:
        self.size = len(pieces)
        self.encode = encode
        self.lengths = np.array([len(piece) for piece in pieces])
        self.of_byte = {piece[0]: token for token, piece in reversed(list(enumerate(pieces))) if len(piece) == 1}
        usable = ((token, piece) for token, piece in enumerate(pieces) if piece and token not in ends)
        self._first = np.full(self.size, -1, np.int16)
        for token, piece in usable:
            self._first[token] = piece[0]
        self._others: dict[int, np.ndarray[Any, np.dtype[np.uint8]]] = {}
        self.too_long = f"it forces more than {MOST_FORCED} bytes in a row, so its texts may never end"

    def only(self, token: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """`(vocabulary,)`: this token alone."""
        mask = np.zeros(self.size, np.bool_)
        mask[token] = True
        return mask

    def forced_byte(self, packed: np.ndarray[Any, np.dtype[np.uint8]]) -> int | None:
        """The byte that all allowed tokens begin with, None where there is a choice or the text may end. packed: the
        mask of allowed tokens, eight to a byte, the first in the lowest bit."""
        at = int((packed != 0).argmax())
        bits = int(packed[at])
        token = at * 8 + (bits & -bits).bit_length() - 1
        byte = int(self._first[token]) if bits and token < self.size else -1
        if byte < 0:
            return None
        others = self._others.get(byte)
        if others is None:
            mask = np.packbits(self._first != byte, bitorder="little")
            others = self._others[byte] = np.pad(mask, (0, max(packed.size - mask.size, 0)))
        return None if (packed & others[: packed.size]).any() else byte

    def tokens(self, text: bytes) -> list[int]:
        """The tokens of `text` as far as it is whole characters; none where it begins within one."""
        whole = text.decode("utf-8", "ignore")
        return self.encode(whole) if text.startswith(whole.encode()) else []


def forced_bytes(matcher: Any, words: Words) -> tuple[bytes | None, bool]:
    """The bytes that must come next, and whether the text is then complete; None instead of more than MOST_FORCED.
    Takes them on `matcher`."""
    text = bytearray()
    while not matcher.is_stopped():
        byte = words.forced_byte(np.frombuffer(matcher.compute_bitmask(), np.uint8))
        token = None if byte is None or matcher.is_error() else words.of_byte.get(byte)
        if byte is None or token is None or not matcher.consume_token(token):
            break
        text.append(byte)
        if len(text) > MOST_FORCED:
            return None, False
    return bytes(text), bool(matcher.is_stopped()) and not matcher.is_error()
