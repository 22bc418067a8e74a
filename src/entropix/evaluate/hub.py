"""Data sets of the Hugging Face hub, or what was downloaded of them before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from entropix.errors import TaskError

PATIENCE = 5.0
"""Seconds in which a hub that can be reached says something."""


def rows(name: str, path: str, config: str | None, split: str) -> Any:
    """The rows of a split, for task `name`. Raises TaskError; at once, where there is no network."""
    try:
        import datasets
        from huggingface_hub import constants
    except ImportError:
        raise TaskError(
            f"task {name!r} is on the hub and needs the package datasets: pip install datasets; or give a .jsonl file"
        ) from None
    reached = _reached(constants.ENDPOINT)
    try:
        with contextlib.nullcontext() if reached else _offline():
            return datasets.load_dataset(path, config, split=split)
    except Exception as error:
        if not reached:
            raise TaskError(
                f"task {name!r} is on the hub, {constants.ENDPOINT} cannot be reached, and {path} was not downloaded "
                "before; give the questions as a .jsonl file, or take arithmetic, logic or code, which need no network"
            ) from error
        raise TaskError(f"task {name!r} ({path}) cannot be loaded from the hub: {error}") from error


def _reached(endpoint: str) -> bool:
    """Asked once and briefly, because the hub's own client asks six times, for half a minute."""
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=PATIENCE)
    except Exception:  # of whichever HTTP library this version has; offline mode is one of them
        return False
    return True


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Let both packages look at what is on disk only; they read their environment when they are imported."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
