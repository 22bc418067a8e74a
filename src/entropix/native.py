"""Small C sources, compiled on first use with the system's compiler and kept in the user's cache directory.

Everything that is done in C here is done in NumPy, too, more slowly, where there is no compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from entropix.folders import cache_directory

HERE = Path(__file__).parent
SHARED = ("exp_negative.h", "order.h")
COMPILERS = ("cc", "gcc", "clang")
# not -ffast-math: it would switch denormals off for the whole process
RELAXED = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")
FLAGS = ("-O3", *RELAXED, "-shared", "-fPIC")


def address(array: Any) -> int:
    """Where a NumPy array's data begins; several times faster than `array.ctypes.data`."""
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


@cache
def kernel() -> ctypes.CDLL | None:
    """kernel.c: entropies, window and draw of a row, and what lies behind the window. None without a compiler."""
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
    """`source` as a loaded library, compiled now unless an earlier run left it; None where that is not possible.

    include: a directory of headers; `headers` in it are part of what the result is cached by."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None or sys.platform == "win32":
        return None
    try:
        parts = [source.read_bytes(), processor(), repr((FLAGS, compiler)).encode()]
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
            build(compiler, include, source, target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError):  # NumPy does the same without a compiler
        return None


def build(compiler: str, include: Path | None, source: Path, target: Path) -> None:
    """Compile into a temporary file beside `target` and rename it, so that no process loads half a library."""
    handle, temporary = tempfile.mkstemp(suffix=".so", dir=target.parent)
    os.close(handle)
    includes = [f"-I{folder}" for folder in (HERE, include) if folder is not None]
    try:
        for tuning in (["-march=native"], []):  # some compilers know no native target
            command = [compiler, *FLAGS, *tuning, *includes, str(source), "-o", temporary, "-lm"]
            if subprocess.run(command, capture_output=True, timeout=60, check=not tuning).returncode == 0:
                break
        os.chmod(temporary, 0o755)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def processor() -> bytes:
    """A name for the processor that -march=native compiles for, as a cache may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
        return next(line for line in lines if line.startswith((b"flags", b"Features", b"isa")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}".encode()
