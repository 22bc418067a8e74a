"""The machine that this process runs on; nothing beside Python is needed."""

from __future__ import annotations

import os
from pathlib import Path

from entropix.toolchain import CPUINFO, processor


def available_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bfloat16_unit(described: Path = CPUINFO) -> str | None:
    """By what x86 processors multiply bfloat16, as Linux names it, such as "avx512_bf16"; None where they do not, or it
    is not known. described: what the kernel says of them."""
    able = processor(described).split()
    return next((name for name in ("amx_bf16", "avx512_bf16") if name.encode() in able), None)
