"""Skips for tests that need llama.cpp or the embedded model."""

from __future__ import annotations

from pathlib import Path

import pytest

from entropix.engines.llama_cpp.library import chosen
from entropix.errors import ModelError
from entropix.models import embedded


def needs_llama_cpp() -> None:
    """Skips a test, or a module of them, where no llama.cpp can be used, and says why."""
    try:
        chosen()
    except ModelError as error:
        pytest.skip(str(error), allow_module_level=True)


def embedded_model() -> Path:
    """The file of SmolLM2-135M-Instruct; skips where it has not been downloaded."""
    path = embedded.find()
    if path is None:
        pytest.skip("the embedded model is not here yet: make demo brings it", allow_module_level=True)
    return path
