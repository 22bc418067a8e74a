"""The kernels through Triton's compiler: for GPUs that are not here, and on one if there is one.

In processes of their own, since Triton interprets or compiles, not both in one.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("triton") is None:
    pytest.skip("needs torch and triton", allow_module_level=True)

COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from entropix.fused import kernels as k

backend, architecture, threads, dtype, aligned = sys.argv[1:]
target = GPUTarget(backend, int(architecture) if architecture.isdigit() else architecture, int(threads))
mix = {"GOLDEN": k.GOLDEN, "ONE": k.ONE, "TWO": k.TWO}
chunk, row = {"BLOCK": k.BLOCK}, {"CHUNKS": 64}
kernels = {
    "_entropies_of_chunks": ([dtype, "*fp32", "i32", "i32"], {**chunk, "FLOOR": k.FLOOR}),
    "_entropies_of_rows": (["*fp32", "*fp32", "i32"], {**row, "FLOOR": k.FLOOR}),
    "_std_of_chunks": ([dtype, "*fp32", "i32", "i32"], chunk),
    "_std_of_rows": (["*fp32", "*fp32", "i32"], row),
    "_order": ([dtype, "*i64", dtype, "*i64", "i32"], {"K": 256, "SOME": 16}),
    "_position_keys": (["*i64", "*i64", "*i64", "i32"], {**mix, "SOME": 128}),
    "_uniform": (["*i64", "*i64", "*fp64", "i32", "i32"], {**mix, "K": 256}),
    "_force": ([dtype, "*u8", "*i64", "i32", "i32"], {"BLOCK": k.WRITTEN}),
}
for name, (types, constants) in kernels.items():
    function = getattr(k, name)
    free = [argument for argument in function.arg_names if argument not in constants]
    signature = {**dict(zip(free, types, strict=True)), **dict.fromkeys(constants, "constexpr")}
    signature = {argument: signature[argument] for argument in function.arg_names}
    sixteens = [["tt.divisibility", 16]]
    attributes = {(n,): sixteens for n, a in enumerate(function.arg_names) if a in free} if int(aligned) else {}
    compiled = triton.compile(ASTSource(function, signature, constants, attributes), target=target)
    print(name, len(compiled.asm[{"cuda": "cubin", "hip": "hsaco"}[backend]]))
"""

RUN = """
import torch
from entropix.plugins.vllm.draw import force, warm
from entropix.sampling import noise, window
from entropix.signals import logits

warm(152_064, torch.zeros(1, device="cuda"))
every = (logits._entropies, logits.logit_std, window._ordered, noise.position_keys, noise.keyed_uniform, force)
for function in every:
    print(function.kernel.name, list(function.kernel.tried.values()), function.kernel.failed)
    assert list(function.kernel.tried.values()) == [True], function.kernel.name
"""


def run(code: str, *arguments: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "ENTROPIX_FUSED")
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "aligned"), [("*fp32", "1"), ("*fp32", "0"), ("*bf16", "1")])
@pytest.mark.parametrize("target", ["cuda 80 32", "cuda 90 32", "hip gfx942 64"])
def test_the_compiler_takes_them(target: str, dtype: str, aligned: str) -> None:
    lines = run(COMPILE, *target.split(), dtype, aligned).splitlines()
    assert len(lines) == 8
    assert all(int(line.split()[1]) > 500 for line in lines)


def test_on_a_gpu_they_pass_their_trials() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    run(RUN)
