"""Which version of this package, or of another, is installed; nothing else is imported for it."""

from __future__ import annotations

from importlib import metadata


def entropix_version() -> str:
    """The installed version of this package, "unknown" where it runs from a folder that was never installed."""
    return installed_version("entropix-llm") or "unknown"


def installed_version(distribution: str) -> str | None:
    """The version of an installed package; None where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
