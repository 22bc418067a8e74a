"""C files → libraries: at first use (native.py), and beforehand where a wheel is built (hatch_build.py), with what that
machine's compiler can do. Imports nothing of Entropix: where a wheel is built nothing is installed."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = ("kernel.c", "plugins/vllm/attention/paged.c", "engines/llama_cpp/tap.c")
"""What a wheel holds compiled, below src/entropix. Headers lie beside the file, or there."""
COMPILERS = ("cc", "gcc", "clang")
SUFFIX = ".dll" if sys.platform == "win32" else ".so"
# not -ffast-math: it would switch denormals off for the whole process
RELAXED = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")
FLAGS = ("-O3", *RELAXED, "-shared", "-static-libgcc" if sys.platform == "win32" else "-fPIC")
NATIVE = ("-march=native",)
AVX2 = ("-mavx2", "-mfma", "-mf16c")
CPUINFO = Path("/proc/cpuinfo")
LIMIT = 60.0
"""Seconds that a compiler may take."""


def compiler() -> str | None:
    """The system's C compiler."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def build(command: str, source: Path, target: Path, includes: Sequence[Path], tuning: Sequence[str] = ()) -> None:
    """Compile into a temporary file beside `target` and rename it, so that no process loads half a library.

    Raises OSError, subprocess.SubprocessError."""
    handle, temporary = tempfile.mkstemp(suffix=SUFFIX, dir=target.parent)
    os.close(handle)
    folders = [f"-I{folder}" for folder in includes]
    # ARCHFLAGS: what a build for macOS is for
    flags = [*FLAGS, *tuning, *shlex.split(os.environ.get("ARCHFLAGS", "")), *folders]
    try:
        done = [command, *flags, str(source), "-o", temporary, "-lm"]
        subprocess.run(done, capture_output=True, timeout=LIMIT, check=True)
        os.chmod(temporary, 0o755)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def variants() -> dict[str, tuple[str, ...]]:
    """The libraries that a wheel has of each file, the best first, and their flags: one for every processor, and on
    Linux, where `processor` is known, one for those that have what nearly every x86-64 has."""
    faster = {"avx2": AVX2} if sys.platform == "linux" and platform.machine() == "x86_64" else {}
    return {**faster, "any": ()}


def library(source: Path, variant: str) -> Path:
    """Where a variant lies in a wheel: beside the file."""
    return source.with_name(f"{source.stem}-{variant}{SUFFIX}")


def runs(variant: str) -> bool:
    """Whether this processor has what a variant needs."""
    return variant == "any" or {b"avx2", b"fma", b"f16c"} <= set(processor().split())


def processor(described: Path = CPUINFO) -> bytes:
    """What this processor can do, as a line of words; where that cannot be read, its name. described: what the kernel
    says of it."""
    try:
        lines = described.read_bytes().splitlines()
        return next(line for line in lines if line.startswith((b"flags", b"Features", b"isa")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}".encode()
