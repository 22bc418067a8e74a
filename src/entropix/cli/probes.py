"""What `entropix doctor` finds out by loading libraries, in a process of its own: a broken one may end it.

python -m entropix.cli.probes NAME      prints one line of JSON
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 120.0
"""torch takes its time from a cold disk."""


def probe(name: str) -> dict[str, Any]:
    """What a probe says; {"error": …} where it fails, whatever the failure is."""
    # -P: a torch.py in the working directory is not torch
    command = [sys.executable, "-P", "-m", "entropix.cli.probes", name]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, check=False, env={**os.environ, "PYTHONPATH": path}
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        found = json.loads(lines[-1])
        if isinstance(found, dict):
            return found
    except (IndexError, ValueError):
        pass
    if done.returncode < 0:
        return {"error": f"the process that loads it dies of signal {-done.returncode}"}
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return {"error": said[-1] if said else f"the process that loads it ends with {done.returncode}"}


def llama_cpp() -> dict[str, Any]:
    from entropix.engines.llama_cpp import library

    choice = library.chosen()
    llama, _ = library.load()
    build = choice.llama.build
    return {
        "name": build.name,
        "version": build.version,
        "why": choice.why,
        "file": str(build.files[0]),
        "gpu": bool(llama.llama_supports_gpu_offload()),
        "system": (llama.llama_print_system_info() or b"").decode("utf-8", "replace").strip(),
    }


def kernels() -> dict[str, Any]:
    from entropix import native

    return _compiled(native.kernel())


def attention() -> dict[str, Any]:
    from entropix.engines.llama_cpp.compiled_tap import tap_library

    return _compiled(tap_library())


def _compiled(library: Any) -> dict[str, Any]:
    """Whether there is one, its file, and whether that came with the package."""
    if library is None:
        return {"compiled": False}
    file = Path(library._name)
    return {"compiled": True, "file": str(file), "shipped": file.is_relative_to(Path(__file__).parents[1])}


def torch() -> dict[str, Any]:
    import torch as runtime
    import transformers

    gpus = [runtime.cuda.get_device_name(n) for n in range(runtime.cuda.device_count())]
    if runtime.backends.mps.is_available():
        gpus.append("Apple GPU (mps)")
    return {"torch": runtime.__version__, "transformers": transformers.__version__, "gpus": gpus}


def mlx() -> dict[str, Any]:
    importlib.import_module("entropix.engines.mlx")  # raises with what is missing of it
    import mlx.core as runtime
    import mlx_lm

    gpu = runtime.default_device() == runtime.gpu
    name = f"{runtime.device_info().get('device_name', 'GPU')} (MLX)"
    return {"mlx": runtime.__version__, "mlx-lm": mlx_lm.__version__, "gpus": [name] if gpu else []}


PROBES = {found.__name__: found for found in (llama_cpp, kernels, attention, torch, mlx)}


def main(name: str) -> None:
    from entropix.errors import EntropixError

    try:
        found = PROBES[name]()
    except EntropixError as error:
        found = {"error": str(error)}
    except Exception as error:  # of whatever is installed here
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
