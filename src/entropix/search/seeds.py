"""Seeds of branches: a function of where a branch was opened, never of the order in which branches run."""

from __future__ import annotations

import hashlib


def derived(seed: int, *place: int) -> int:
    """A seed for a branch of a text with `seed`, 0 … 2⁶²−1."""
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2
