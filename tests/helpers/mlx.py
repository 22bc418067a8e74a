"""Skips for tests that need MLX."""

from __future__ import annotations

import pytest

from entropix.errors import ModelError


def needs_mlx() -> None:
    """Skips a test, or a module of them, where MLX or mlx-lm cannot be imported, and says why. MLX then computes on the
    processor, also where there is a GPU: the tolerances of the tests are of its rounding."""
    try:
        import entropix.engines.mlx  # noqa: F401
    except ModelError as error:
        pytest.skip(str(error), allow_module_level=True)
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
