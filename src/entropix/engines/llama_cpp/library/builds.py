"""Which llama.cpp is used: the prebuilt one of xllamacpp, or that of llama-cpp-python."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from entropix.engines.llama_cpp.library.binding import Build, Llama, Unusable
from entropix.errors import ModelError
from entropix.version import installed_version

VARIABLE = "ENTROPIX_LLAMA_CPP"
XLLAMACPP, BINDING = "xllamacpp", "llama-cpp-python"
WRITTEN_FOR = "2026.10.11549"
"""The xllamacpp whose structs are declared; pyproject.toml pins it."""
GPUS = ("cuda", "hip", "vulkan", "sycl", "metal", "opencl", "musa", "cann")


@dataclass(frozen=True)
class Chosen:
    """The llama.cpp in use. why: why it and no other."""

    llama: Llama
    why: str

    @property
    def name(self) -> str:
        return f"{self.llama.build.name} {self.llama.build.version}"


def xllamacpp() -> Build | None:
    """Its extension module exports the C API, except on Windows; it is opened as a library and never imported."""
    folder = package_folder("xllamacpp")
    files = sorted(folder.glob("xllamacpp*.so")) if folder is not None else []
    return Build(XLLAMACPP, _version(XLLAMACPP), tuple(files[:1]), written_for=WRITTEN_FOR) if files else None


def llama_cpp_python() -> Build | None:
    """Built on the user's machine as a rule; its Python module declares the structs as they are in it."""
    folder = package_folder("llama_cpp")
    if folder is None:
        return None
    files = tuple(file for name in ("llama", "ggml-base", "ggml-cpu", "ggml") for file in shared(folder / "lib", name))
    return Build(BINDING, _version(BINDING), files, structs=module_structs) if files else None


INSTALLED: dict[str, Callable[[], Build | None]] = {XLLAMACPP: xllamacpp, BINDING: llama_cpp_python}
"""In the order of preference."""


@cache
def chosen() -> Chosen:
    """The llama.cpp of this process. ModelError that names each that was looked at, and why it is not used."""
    return choose(INSTALLED, os.environ.get(VARIABLE, ""))


def choose(installed: Mapping[str, Callable[[], Build | None]], wanted: str = "") -> Chosen:
    """The first that can be used; one without a GPU gives way to one with. wanted: the only one to be looked at."""
    if wanted and wanted not in installed:
        raise ModelError(f"{VARIABLE} is {wanted!r}: allowed are {' and '.join(installed)}")
    against: list[str] = []
    found: Chosen | None = None
    for name, find in installed.items():
        if wanted and name != wanted:
            continue
        build = find()
        if build is None:
            against.append(f"{name} is not installed" + (" (not for Windows)" * _never(name)))
            continue
        if found is not None and not computes_on_gpu(build):
            continue
        try:
            llama = Llama(build)
        except Unusable as reason:
            against.append(f"{name} {build.version} {reason}")
            continue
        if found is None:
            why = f"{VARIABLE} asks for it" if wanted else "; ".join(against) or "it comes ready-made"
            found = Chosen(llama, why)
        elif llama.llama_supports_gpu_offload():
            return Chosen(llama, f"it can use a GPU, which {found.name} cannot")
        if found.llama.llama_supports_gpu_offload():
            break
    if found is None:
        raise ModelError(
            f"GGUF models need llama.cpp, and there is none that can be used: {'; '.join(against)}. "
            "pip install 'entropix-llm[llama]' brings one"
        )
    return found


def package_folder(package: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _version(distribution: str) -> str:
    return installed_version(distribution) or "of unknown version"


def shared(folder: Path, name: str) -> list[Path]:
    """The shared library of that name in a folder, by the systems' ways to call it."""
    names = (f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll", f"lib{name}.dll")
    return [folder / file for file in names if (folder / file).exists()][:1]


def computes_on_gpu(build: Build) -> bool:
    """Whether a library for a GPU lies beside this build's."""
    names = [file.name for file in build.files[0].parent.iterdir()]
    return any(f"ggml-{gpu}" in name for name in names for gpu in GPUS)


def module_structs() -> tuple[Any, Any]:
    """llama-cpp-python's own `llama_model_params` and `llama_context_params`."""
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise Unusable(
            f"does not load ({error}): reinstall it with pip install --force-reinstall llama-cpp-python"
        ) from error
    return llama_cpp.llama_model_params, llama_cpp.llama_context_params


def _never(name: str) -> bool:
    return os.name == "nt" and name == XLLAMACPP
