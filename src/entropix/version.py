"""Which version of this package is installed; nothing else is imported for it."""

from __future__ import annotations

from importlib import metadata


def entropix_version() -> str:
    """The installed version of this package."""
    try:
        return metadata.version("entropix-llm")
    except metadata.PackageNotFoundError:
        return "unknown"
