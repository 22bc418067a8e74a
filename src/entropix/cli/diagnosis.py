"""What `entropix doctor` looks at. Needs nothing beside Python: whatever is missing or broken is what it is for."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entropix.cli.probes import probe
from entropix.machine import available_cpus, bfloat16_unit
from entropix.version import entropix_version, installed_version

OK, NOTE, MISSING, FAULT = "ok", "note", "missing", "fault"
"""States of a check: as it should be, worth knowing, not there and not needed, wrong."""

CORE = ("numpy", "array-api-compat", "rich")
EXTRAS = {
    "llama": ("xllamacpp" if os.name != "nt" else "llama-cpp-python", "jinja2", "huggingface_hub"),
    "llama-cpp-python": ("llama-cpp-python", "jinja2", "huggingface_hub"),
    "transformers": ("transformers", "torch", "gguf", "accelerate", "jinja2"),
    "mlx": ("mlx-lm", "mlx", "jinja2"),
    "constrained": ("llguidance",),
    "serve": ("fastapi", "llguidance", "uvicorn", "httptools", "prometheus-client"),
    "eval": ("scipy", "statsmodels", "matplotlib", "optuna", "jinja2"),
    "remote": ("openai",),
    "completion": ("argcomplete",),
    "lm-eval": ("lm-eval",),
    "vllm": ("vllm",),
}
"""The extras of pyproject.toml and what they install; a test compares the two."""

PURPOSE = {
    "llama": ".gguf files, nothing to compile",
    "llama-cpp-python": ".gguf files, by a llama.cpp built here",
    "transformers": "model directories and hub names, on CPU or GPU",
    "mlx": "model directories and hub names, on Apple's GPUs",
    "constrained": "--json-schema, --regex, --grammar",
    "serve": "entropix serve",
    "eval": "entropix eval, tune, replay",
    "remote": "--endpoint",
    "completion": "Tab in a shell",
    "lm-eval": "entropix in lm-eval",
    "vllm": "entropix in vLLM",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. fix: the command or the words that mend it, "" where nothing is to be done. facts:
    the same for programs."""

    section: str
    name: str
    state: str
    text: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def diagnose() -> tuple[list[Check], str]:
    """Every check, and why this installation cannot answer, "" where it can. Raises nothing."""
    checks: list[Check] = []
    found: dict[str, bool] = {}
    for section, look in SECTIONS.items():
        try:
            for check in look(found):
                checks.append(check)  # one by one, as what was seen before a failure is kept
        except Exception as error:  # a doctor who falls ill himself says so and goes on
            checks.append(Check(section, "error", FAULT, f"{type(error).__name__}: {error}"))
    if not found.get("core"):
        return checks, "packages that everything needs are missing"
    of_directories = found.get("transformers") or found.get("mlx")
    if not (found.get("llama_cpp") or of_directories):
        return checks, "no engine works"
    if not (found.get("model") or of_directories):
        return checks, "there is no model and no place for one"
    return checks, ""


def _installation(found: dict[str, bool]) -> Iterator[Check]:
    section = "installation"
    yield Check(section, "entropix", OK, entropix_version(), facts={"version": entropix_version()})
    where = f"{platform.python_version()}, {sys.executable}"
    right = sys.version_info >= (3, 11)
    yield Check(section, "Python", OK if right else FAULT, where, "" if right else "install Python 3.11 or newer")
    yield Check(section, "system", OK, f"{platform.system()} {platform.machine()} {platform.release()}")
    missing = [name for name in CORE if installed_version(name) is None or not has(module_of(name))]
    found["core"] = not missing
    if missing:
        fix = "pip install --force-reinstall entropix-llm"
        yield Check(section, "packages", FAULT, f"missing: {', '.join(missing)}", fix, {"missing": missing})
    else:
        yield Check(section, "packages", OK, ", ".join(f"{name} {installed_version(name)}" for name in CORE))


def _extras(found: dict[str, bool]) -> Iterator[Check]:
    for extra, needed in EXTRAS.items():
        versions = {name: installed_version(name) if has(module_of(name)) else None for name in needed}
        missing = [name for name, there in versions.items() if there is None]
        purpose, fix = PURPOSE[extra], f"pip install 'entropix-llm[{extra}]'"
        facts: dict[str, Any] = {"packages": versions}
        if not missing:
            text = ", ".join(f"{name} {there}" for name, there in versions.items())
            yield Check("extras", extra, OK, text, facts=facts)
        else:
            some = "" if len(missing) == len(needed) else f" (missing: {', '.join(missing)})"
            yield Check("extras", extra, MISSING, f"for {purpose}{some}", fix, facts)


def _engines(found: dict[str, bool]) -> Iterator[Check]:
    from entropix.engines.kinds import FORMATS
    from entropix.models import ENGINES, NATURAL

    section = "engines"
    kinds, problems = ENGINES.usable()
    for problem in problems:
        yield Check(section, "package", FAULT, problem)
    there = {name: not kind.runtimes or any(map(has, kind.runtimes)) for name, kind in kinds.items()}
    for natural, form in NATURAL.items():
        what = FORMATS[form]
        able = [name for name, kind in kinds.items() if form in kind.formats and there[name]]
        first = natural if natural in able else able[0] if able else None
        others = ", ".join(f"--engine {name}" for name in able if name != first)
        facts = {"engine": first, "able": able}
        if first is None:
            fix = f"pip install {kinds[natural].install}"
            yield Check(section, what, MISSING, "no engine is installed", fix, facts)
        elif first != natural:
            yield Check(
                section, what, NOTE, f"with --engine {first} only", f"pip install {kinds[natural].install}", facts
            )
        else:
            yield Check(section, what, OK, first + (f"; also by {others}" if others else ""), facts=facts)
    for name, kind in kinds.items():
        if not kind.formats:
            yield Check(
                section, name, OK if there[name] else MISSING, kind.summary, "" if there[name] else kind.install
            )


def _llama_cpp(found: dict[str, bool]) -> Iterator[Check]:
    section = "llama.cpp"
    library = probe("llama_cpp")
    if "error" in library:
        state = FAULT if has("xllamacpp") or has("llama_cpp") else MISSING
        yield Check(section, "library", state, library["error"], "pip install 'entropix-llm[llama]'", library)
        return
    found["llama_cpp"] = has("jinja2")
    found["llama gpu"] = library["gpu"]
    yield Check(section, "library", OK, f"{library['name']} {library['version']}: {library['why']}", facts=library)
    yield Check(section, "file", OK, library["file"])
    if not has("jinja2"):
        yield Check(section, "chat templates", FAULT, "need jinja2", "pip install 'entropix-llm[llama]'")
    chosen = os.environ.get("ENTROPIX_LLAMA_CPP")
    if chosen:
        yield Check(section, "ENTROPIX_LLAMA_CPP", NOTE, chosen)


def _processors(found: dict[str, bool]) -> Iterator[Check]:
    section = "processors"
    usable = available_cpus()
    text = f"{usable} of {os.cpu_count()} processors (--threads)"
    yield Check(section, "threads", OK, text, facts={"threads": usable, "cpus": os.cpu_count()})
    quota = cpu_quota()
    if quota is not None and quota < usable:
        fix = f"--threads {max(int(quota), 1)}: more of them wait for each other"
        yield Check(section, "quota", NOTE, f"this container may use {quota:g} processors", fix, {"quota": quota})
    if os.environ.get("OMP_NUM_THREADS"):
        yield Check(section, "OMP_NUM_THREADS", NOTE, os.environ["OMP_NUM_THREADS"])
    facts: dict[str, Any] = {"gpus": [], "llama_cpp": found.get("llama gpu", False)}
    for engine, name, needed in (("transformers", "torch", "transformers"), ("mlx", "mlx", "mlx_lm")):
        runtime: dict[str, Any] = probe(name) if has(name) and has(needed) else {}
        if "error" in runtime:
            fix = f"pip install --force-reinstall 'entropix-llm[{engine}]'"
            yield Check(section, engine, FAULT, runtime["error"], fix, runtime)
        elif runtime:
            found[engine] = True
        facts[name] = runtime.get("gpus", [])
    gpus = facts["gpus"] = list(dict.fromkeys([*nvidia(), *facts["torch"], *facts["mlx"]]))
    if not gpus:
        yield Check(section, "GPU", OK, "none found; the processors compute", facts=facts)
        if unit := bfloat16_unit():
            text = f"{unit}: many texts at a time are faster with --engine transformers than with llama.cpp"
            there = found.get("transformers", False)
            fix = "" if there else "pip install 'entropix-llm[transformers]'"
            yield Check(section, "bfloat16", OK if there else NOTE, text, fix, {"unit": unit})
        return
    users = [name for name, of in (("llama.cpp", "llama_cpp"), ("transformers", "torch"), ("MLX", "mlx")) if facts[of]]
    if users:
        yield Check(section, "GPU", OK, f"{', '.join(gpus)}; used by {' and '.join(users)}", facts=facts)
    else:
        fix = "pip install a llama.cpp or torch built for it (docs/engines.md)"
        yield Check(section, "GPU", NOTE, f"{', '.join(gpus)}; nothing that is installed can use it", fix, facts)


def _kernels(found: dict[str, bool]) -> Iterator[Check]:
    from entropix import toolchain

    section = "kernels"
    compiler = toolchain.compiler()
    for name, what in (("kernels", "sampling"), ("attention", "attention")):
        if name == "attention" and not found.get("llama_cpp"):
            continue
        built = probe(name)
        if built.get("compiled"):
            whence = "came with the package" if built["shipped"] else "compiled for this processor"
            yield Check(section, what, OK, f"C, {whence}", facts=built)
            continue
        why = built.get("error") or ("no C compiler" if compiler is None else f"{compiler} does not compile it")
        fix = "install a C compiler, such as gcc" if compiler is None else ""
        yield Check(section, what, NOTE, f"NumPy, which is slower and says the same ({why})", fix, built)


def _places(found: dict[str, bool]) -> Iterator[Check]:
    from entropix.folders import cache_directory, home, hub_directory
    from entropix.models import embedded

    section = "places"
    cache, below = cache_directory(), home()
    folders: dict[str, Path | None] = {"models": next(iter(embedded.folders()), None), "hub": hub_directory()}
    folders["compiled"] = cache / "entropix" if cache is not None else None
    folders["profiles"] = below / ".config" / "entropix" / "profiles" if below is not None else None
    for name, folder in folders.items():
        if folder is None:
            yield Check(
                section,
                name,
                NOTE,
                "no place, as there is no home directory",
                "set HOME, or ENTROPIX_MODELS and HF_HOME",
            )
            continue
        size, free, writable = held(folder), room(folder), may_write(folder)
        facts = {"path": str(folder), "bytes": size, "free": free, "writable": writable}
        text = f"{folder}: {size / 1e6:,.0f} MB" + ("" if free is None else f", {free / 1e9:,.1f} GB free")
        yield Check(
            section, name, OK if writable else NOTE, text + ("" if writable else "; cannot be written"), facts=facts
        )
    own = embedded.find()
    needed = embedded.WHEEL_SIZE + embedded.SIZE
    target = folders["models"]
    free = room(target) if target is not None else None
    if own is not None:
        found["model"] = True
        yield Check(section, "smollm2", OK, str(own), facts={"path": str(own)})
    elif target is not None and may_write(target) and (free is None or free > needed):
        found["model"] = True
        yield Check(
            section, "smollm2", NOTE, f"not here yet: the first answer downloads {embedded.WHEEL_SIZE / 1e6:,.0f} MB"
        )
    else:
        fix = "set ENTROPIX_MODELS to a folder that can be written, or give -m FILE.gguf"
        yield Check(section, "smollm2", FAULT, "not here, and no room to download it to", fix)


SECTIONS: dict[str, Callable[[dict[str, bool]], Iterator[Check]]] = {
    "installation": _installation,
    "extras": _extras,
    "engines": _engines,
    "llama.cpp": _llama_cpp,
    "processors": _processors,
    "kernels": _kernels,
    "places": _places,
}


def module_of(distribution: str) -> str:
    """The module that a package brings."""
    return "llama_cpp" if distribution == "llama-cpp-python" else distribution.replace("-", "_")


def has(module: str) -> bool:
    """Whether a module could be imported, as far as can be seen without doing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def nvidia() -> list[str]:
    """The GPUs that NVIDIA's driver names."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]


def cpu_quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """How many processors the control group may keep busy; None without a limit."""
    try:
        most, period = file.read_text().split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def held(folder: Path) -> int:
    """Bytes of the files in a folder; those that links lead to are counted once, where they lie."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))


def room(folder: Path) -> int | None:
    """Free bytes of the disk on which a folder is, or would be."""
    try:
        return shutil.disk_usage(nearest(folder)).free
    except OSError:
        return None


def may_write(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    place = nearest(folder)
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
