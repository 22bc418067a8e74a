"""Versions of packages: one place that asks, and answers where a package is not installed."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

import entropix
from entropix.version import entropix_version, installed_version


def test_an_installed_package_has_the_version_it_says_itself() -> None:
    assert installed_version("numpy") == np.__version__
    assert installed_version("no-such-package-of-anyone") is None


def test_a_folder_that_was_never_installed_has_an_unknown_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(distribution: str) -> str:
        raise metadata.PackageNotFoundError(distribution)

    assert entropix.__version__ == entropix_version() == metadata.version("entropix-llm")
    monkeypatch.setattr(metadata, "version", missing)
    assert entropix.__version__ == "unknown"
