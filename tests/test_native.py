"""C kernels: those of a wheel come first, then what is compiled here, then NumPy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from entropix import native, toolchain
from entropix.native import address

needs_compiler = pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """kernel.c as in a checkout: without libraries."""
    for name in ("kernel.c", *native.SHARED):
        shutil.copy(native.HERE / name, tmp_path / name)
    return tmp_path / "kernel.c"


def put(source: Path, variant: str) -> Path:
    """A variant, as a wheel has it."""
    command, target = toolchain.compiler(), toolchain.library(source, variant)
    assert command is not None
    toolchain.build(command, source, target, [source.parent], toolchain.variants()[variant])
    return target


@needs_compiler
@pytest.mark.parametrize("variant", toolchain.variants())
def test_every_library_of_a_wheel_measures_as_numpy_does(source: Path, variant: str) -> None:
    if not toolchain.runs(variant):
        pytest.skip(f"this processor does not run {variant}")
    put(source, variant)
    library = native.shipped(source)
    assert library is not None
    logits = np.random.default_rng(0).normal(0, 3, 49_152).astype(np.float32)
    found = np.zeros(3)
    library.entropix_entropies(native.ctypes.c_void_p(address(logits)), native.ctypes.c_int64(len(logits)),
                               native.ctypes.c_void_p(address(found)))  # fmt: skip
    z = logits.astype(np.float64)
    log_p = z - z.max() - np.log(np.exp(z - z.max()).sum())
    entropy = -(np.exp(log_p) * log_p).sum()
    varentropy = (np.exp(log_p) * (log_p + entropy) ** 2).sum()
    np.testing.assert_allclose(found, [entropy, varentropy, (z - log_p)[0]], rtol=1e-5)


@needs_compiler
def test_a_processor_without_the_faster_ones_instructions_gets_the_one_for_all(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {variant: put(source, variant) for variant in toolchain.variants()}
    best = next(variant for variant in every if toolchain.runs(variant))
    chosen = native.shipped(source)
    assert chosen is not None
    assert chosen._name == str(every[best])
    monkeypatch.setattr(toolchain, "processor", lambda: b"flags : fpu sse2")
    plain = native.shipped(source)
    assert plain is not None
    assert plain._name == str(every["any"])


@needs_compiler
def test_a_library_of_another_system_is_passed_over_and_one_is_compiled_here(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variant in toolchain.variants():
        toolchain.library(source, variant).write_bytes(b"of another system")
    assert native.shipped(source) is None
    found = native.compiled(source)
    assert found is not None
    assert found._name.startswith(str(tmp_path / "cache"))


def test_without_libraries_and_compiler_there_is_none(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda _: None)
    assert native.compiled(source) is None


@needs_compiler
def test_a_source_that_does_not_compile_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    source.write_text("int broken(")
    before = set(tmp_path.iterdir())
    with pytest.raises(native.subprocess.CalledProcessError):
        put(source, "any")
    assert set(tmp_path.iterdir()) == before
