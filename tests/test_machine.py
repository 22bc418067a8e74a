"""What the machine says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from entropix.machine import available_cpus, bfloat16_unit


@pytest.mark.parametrize(
    ("flags", "unit"),
    [
        ("fpu avx2 avx512f avx512_bf16 avx512_vnni", "avx512_bf16"),
        ("fpu avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("fpu avx2 f16c not_avx512_bf16", None),
        ("", None),
    ],
)
def test_processors_that_multiply_bfloat16_are_known_by_their_flags(
    tmp_path: Path, flags: str, unit: str | None
) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text(f"processor\t: 0\nbugs\t\t: amx_bf16\nflags\t\t: {flags}\n")
    assert bfloat16_unit(described) == unit


def test_a_system_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert bfloat16_unit(tmp_path / "cpuinfo") is None


def test_there_is_a_cpu() -> None:
    assert available_cpus() >= 1
