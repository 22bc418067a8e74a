"""Small C sources as loaded libraries: those that came with the wheel, else compiled on first use with the system's
compiler and kept in the user's cache directory.

Everything that is done in C here is done in NumPy, too, more slowly, where there is neither.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from entropix import toolchain
from entropix.folders import cache_directory

HERE = Path(__file__).parent
SHARED = ("exp_negative.h", "order.h")


def address(array: Any) -> int:
    """Where a NumPy array's data begins; several times faster than `array.ctypes.data`."""
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


@cache
def kernel() -> ctypes.CDLL | None:
    """kernel.c: entropies, window and draw of a row, and what lies behind the window. None where there is none."""
    library = compiled(HERE / "kernel.c")
    if library is not None:
        pointer, whole = ctypes.c_void_p, ctypes.c_int64
        library.entropix_entropies.argtypes = (pointer, whole, pointer)
        library.entropix_entropies.restype = None
        library.entropix_window.argtypes = (pointer, whole, whole, pointer, pointer)
        library.entropix_window.restype = ctypes.c_int
        real = ctypes.c_double
        numbers = (real, whole, real, real, whole, whole, whole)
        library.entropix_draw.argtypes = (pointer, pointer, whole, *numbers, whole, real, real, pointer, pointer)
        library.entropix_draw.restype = whole
        filters = (real, whole, real, real, whole, whole)
        library.entropix_behind.argtypes = (
            pointer,
            whole,
            whole,
            pointer,
            pointer,
            *filters,
            pointer,
            pointer,
            pointer,
        )
        library.entropix_behind.restype = ctypes.c_int
    return library


def compiled(source: Path, include: Path | None = None, headers: Sequence[str] = ()) -> ctypes.CDLL | None:
    """`source` as a loaded library: of the wheel, or compiled here; None where neither is possible.

    include: a directory of headers; `headers` in it are part of what a library compiled here is kept by."""
    return shipped(source) or compiled_here(source, include, headers)


def shipped(source: Path) -> ctypes.CDLL | None:
    """The best library of `source` that came with the package and runs on this processor; None in a checkout."""
    for variant in toolchain.variants():
        file = toolchain.library(source, variant)
        if file.exists() and toolchain.runs(variant):
            try:
                return ctypes.CDLL(str(file))
            except OSError:  # of another system, whose C library is older
                continue
    return None


def compiled_here(source: Path, include: Path | None = None, headers: Sequence[str] = ()) -> ctypes.CDLL | None:
    """`source` as a library for this very processor, compiled now unless an earlier run left it."""
    compiler = toolchain.compiler()
    if compiler is None or sys.platform == "win32":
        return None
    try:
        parts = [source.read_bytes(), toolchain.processor(), repr((toolchain.FLAGS, compiler)).encode()]
        parts += [(HERE / header).read_bytes() for header in SHARED]
        parts += [(include / header).read_bytes() for header in headers if include is not None]
        name = f"{source.stem}-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.so"
        directory = cache_directory()
        if directory is None:
            return None
        directory /= "entropix"
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / name
        if not target.exists():
            includes = [HERE] if include is None else [HERE, include]
            try:
                toolchain.build(compiler, source, target, includes, toolchain.NATIVE)
            except subprocess.CalledProcessError:  # some compilers know no native target
                toolchain.build(compiler, source, target, includes)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError):  # NumPy does the same without a compiler
        return None
