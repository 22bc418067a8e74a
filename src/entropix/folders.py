"""Where the user's files lie, also for a user without a home."""

from __future__ import annotations

import os
import re
from pathlib import Path

SPLIT = re.compile(r"-(\d{5,})-of-(\d{5,})$")
"""How llama.cpp ends the names, without .gguf, of the files of a model in several parts."""


def home() -> Path | None:
    """The user's home directory; None where there is none: no HOME, and no entry in the password file."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with its ~ resolved; as it is where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def found(folder: Path | None, pattern: str) -> list[Path]:
    """What lies in a folder, by name; nothing where there is no folder, or none that may be read."""
    try:
        return sorted(folder.glob(pattern)) if folder is not None else []
    except OSError:
        return []


def cache_directory() -> Path | None:
    """Where things are kept that can be made again: XDG_CACHE_HOME, else .cache in the home directory, if any."""
    root = os.environ.get("XDG_CACHE_HOME")
    below = home()
    return Path(root) if root else below / ".cache" if below is not None else None


def hub_directory() -> Path | None:
    """Where the Hugging Face hub keeps its snapshots: HF_HUB_CACHE, else HF_HOME, else the cache directory."""
    for name, folder in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if root := os.environ.get(name):
            return expanded(os.path.expandvars(root)) / folder
    cache = cache_directory()
    return cache / "huggingface" / "hub" if cache is not None else None
