"""Answers that a later request may continue: kept in memory, within limits, each for the client that got it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from entropix.serve.errors import ApiError

MOST_KEPT = 1024
"""Answers."""
MOST_CHARACTERS = 64 * 1024 * 1024
"""Of all conversations that are kept, together."""


@dataclass(frozen=True)
class Kept:
    """client: whose it is. messages: the conversation with the answer, without instructions. record: the answer as it
    was sent."""

    client: str
    messages: list[dict[str, Any]]
    record: dict[str, Any]
    size: int


class Memory:
    """The newest answers by their ids. Any thread may use it."""

    def __init__(self, most: int = MOST_KEPT, characters: int = MOST_CHARACTERS) -> None:
        self.most, self.characters = most, characters
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, name: str, client: str, messages: list[dict[str, Any]], record: dict[str, Any]) -> None:
        """Remember an answer, and forget the oldest where that is too much."""
        size = len(str(messages)) + len(str(record))
        with self._lock:
            self._kept[name] = Kept(client, messages, record, size)
            self._size += size
            while self._kept and (len(self._kept) > self.most or self._size > self.characters):
                _, gone = self._kept.popitem(last=False)
                self._size -= gone.size

    def get(self, name: str, client: str, param: str | None = None) -> Kept:
        """Raises ApiError for what is not remembered, or is another client's."""
        with self._lock:
            found = self._kept.get(name)
            if found is None or found.client != client:
                raise ApiError(
                    404,
                    f"there is no response {name[:80]!r}: answers are remembered in memory, the newest "
                    f"{self.most} of them, until the server stops; send the whole conversation as input",
                    param=param,
                    code="response_not_found",
                )
            return found

    def forget(self, name: str, client: str) -> None:
        """Raises ApiError as `get` does."""
        self.get(name, client)
        with self._lock:
            gone = self._kept.pop(name, None)
            self._size -= gone.size if gone else 0
