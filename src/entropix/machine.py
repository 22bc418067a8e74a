"""The machine that this process runs on; nothing beside Python is needed."""

from __future__ import annotations

import os
from pathlib import Path


def available_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bfloat16_unit(described: Path = Path("/proc/cpuinfo")) -> str | None:
    """By what x86 processors multiply bfloat16, as Linux names it, such as "avx512_bf16"; None where they do not, or it
    is not known. described: what the kernel says of them."""
    try:
        text = described.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    flags = {flag for line in text.splitlines() if line.startswith("flags") for flag in line.partition(":")[2].split()}
    return next((name for name in ("amx_bf16", "avx512_bf16") if name in flags), None)
