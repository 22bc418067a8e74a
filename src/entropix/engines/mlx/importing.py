"""Importing mlx-lm without what else its import does."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def file_limit_kept() -> Iterator[None]:
    """mlx-lm sets the process's limit of open files to 2048 of at most 4096 when it is imported, which a server cannot
    undo; here it may not."""
    set_limit: Any = resource.setrlimit
    resource.setrlimit = lambda *_: None
    try:
        yield
    finally:
        resource.setrlimit = set_limit
