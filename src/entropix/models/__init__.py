"""Names of models → engines. Knows where models lie; imports a runtime only when a model is loaded."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from entropix.closest import closest, did_you_mean
from entropix.engines import Engine, EngineKind
from entropix.engines.kinds import FORMATS
from entropix.errors import ModelError, ParameterError
from entropix.folders import SPLIT, expanded, found, hub_directory
from entropix.models import embedded, hub, stores
from entropix.registry import Registry

DEFAULT = embedded.NAME
ENGINES: Registry[EngineKind] = Registry("entropix.engines", "engine", EngineKind)
NATURAL = {"llama_cpp": "gguf", "transformers": "transformers", "mlx": "mlx"}
"""By the engine that is natural for it, the format of a model; keys of `engines.kinds.FORMATS`."""


OTHERWISE = {
    **dict.fromkeys(("n_ctx", "ctx_size", "num_ctx", "max_model_len", "context_length", "max_context"), "context"),
    **dict.fromkeys(("n_seq_max", "max_num_seqs", "n_parallel"), "sequences"),
    **dict.fromkeys(("type_k", "type_v", "cache_type_k", "cache_type_v", "kv_cache_dtype"), "kv_type"),
    **dict.fromkeys(("ngl", "num_gpu"), "gpu_layers"),
}
"""What others call options of the engines, where nothing else would find them."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that could be loaded: state is "cached", "Ollama" or "LM Studio" for what these keep, or "to download"
    for the embedded one before its first use."""

    name: str
    engine: str
    path: str
    state: str
    size: int


def cache_directories() -> list[Path]:
    """Where model files are looked for by name."""
    return embedded.folders()


def available() -> list[ModelEntry]:
    """The models that can be loaded by name: those that are here, and the embedded one."""
    own = embedded.find()
    entries = [ModelEntry(DEFAULT, "llama_cpp", str(own or ""), "cached" if own else "to download", embedded.SIZE)]
    for folder in cache_directories():
        for path, parts in gguf_models(folder):
            if path == own:
                continue
            size = sum(part.stat().st_size for part in parts)
            entries.append(ModelEntry(SPLIT.sub("", path.stem), "llama_cpp", str(path), "cached", size))
    entries += [
        ModelEntry(name, "llama_cpp", str(p), "cached", size) for name, p, size in hub.in_cache(hub_directory())
    ]
    entries += [ModelEntry(name, "llama_cpp", str(path), "Ollama", size) for name, path, size in stores.ollama()]
    for name, files in stores.lm_studio():
        size = sum(file.stat().st_size for file in files)
        entries.append(ModelEntry(name, "llama_cpp", str(files[0]), "LM Studio", size))
    for folder in found(hub_directory(), "models--*"):
        for snapshot in found(folder, "snapshots/*/config.json")[:1]:
            name = folder.name.removeprefix("models--").replace("--", "/", 1)
            size = sum(f.stat().st_size for f in (folder / "blobs").glob("*") if f.is_file())
            entries.append(ModelEntry(name, natural_engine(snapshot.parent), str(snapshot.parent), "cached", size))
    return entries


def resolve(name: str | Path) -> tuple[str, str]:
    """(engine, path or hub name) of a model; the embedded one is downloaded at its first use. Raises ModelError that
    says what can be given."""
    text = str(name)
    if not isinstance(name, (str, Path)) or not text:
        raise ModelError(f"{name!r} names no model; give a name, a .gguf file, a directory or organisation/model")
    if text == DEFAULT:
        return "llama_cpp", str(embedded.get())
    path = expanded(text)
    if os.path.isdir(path):
        if (path / "config.json").exists():
            return natural_engine(path), str(path)
        inside = gguf_models(path)
        if len(inside) == 1:
            return "llama_cpp", str(whole(inside[0][0]))
        several = f" and with several models ({', '.join(first.name for first, _ in inside)})" if inside else ""
        raise ModelError(
            f"{path} is a directory without config.json{several}; give a transformers model directory or one .gguf file"
        )
    if os.path.exists(path):
        return "llama_cpp", str(whole(path))
    known = available()
    for entry in known:
        if entry.name.lower() in (text.lower(), f"{text.lower()}:latest"):
            return entry.engine, str(whole(Path(entry.path)))
    on_hub = hub.parse(text)
    if on_hub is not None:
        return "llama_cpp", str(hub.get(on_hub))
    if path.suffix == ".gguf" or text.count("/") != 1 or text.startswith((".", "/", "~")):
        names = [entry.name for entry in known]
        raise ModelError(
            f"there is no model {text!r}: not a file, not a directory, not one of the names known here "
            f"({', '.join(names)}); a hub name looks like organisation/model, or organisation/model:Q4_K_M for a GGUF "
            f"file{_meant(path, text, names)}"
        )
    return "mlx" if text.startswith("mlx-community/") else "transformers", text


def natural_engine(directory: Path) -> str:
    """The engine for a directory with a config.json: weights that mlx-lm has quantised are for no other."""
    try:
        settings = json.loads((directory / "config.json").read_bytes())
        quantised = isinstance(settings, dict) and isinstance(settings.get("quantization"), dict)
    except (OSError, ValueError):  # what is wrong with it is for the engine to say
        quantised = False
    return "mlx" if quantised else "transformers"


def _meant(path: Path, text: str, names: list[str]) -> str:
    """The file of the same folder, or the model of those names, that is most like what was asked for."""
    beside = [file.name for file in found(path.parent, "*.gguf")]
    beside += [file.parent.name for file in found(path.parent, "*/config.json")]
    near = closest(path.name, beside)
    return f"; did you mean {path.with_name(near)}?" if near else did_you_mean(text, names)


def bring(name: str | Path, engine: str | None = None) -> None:
    """Have a model's file here, downloaded if need be, before anything else is shown on the terminal."""
    text = str(name)
    named = engine is None or bool(ENGINES.find(engine).formats)
    if named and not os.path.exists(expanded(text)) and (text == DEFAULT or hub.parse(text) is not None):
        resolve(text)


def gguf_models(folder: Path) -> list[tuple[Path, list[Path]]]:
    """The models in a folder of .gguf files: the file to load, and all files of it. The parts of a split model are one
    model, named by its first; projectors of multimodal models, which lie beside them, are none."""
    models: dict[str, list[Path]] = {}
    for file in found(folder, "*.gguf"):
        if os.path.isfile(file) and not file.name.lower().startswith("mmproj"):
            models.setdefault(SPLIT.sub(r"-of-\2", file.stem), []).append(file)
    return [(files[0], files) for files in models.values()]


def whole(path: Path) -> Path:
    """The file to load for a .gguf file: of a part of a split model, the first part. Raises ModelError that names the
    parts that are missing."""
    part = SPLIT.search(path.stem)
    if path.suffix != ".gguf" or not part:
        return path
    stem, of = path.stem[: part.start()], int(part[2])
    parts = (f"{stem}-{n:0{len(part[1])}}-of-{part[2]}.gguf" for n in range(1, of + 1))
    missing = list(islice((name for name in parts if not path.with_name(name).exists()), 6))
    if missing:
        names = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise ModelError(
            f"{path.name} is one of {of} parts of a model, of which are missing: {names}; put all parts into one folder"
        )
    return path.with_name(f"{stem}-{1:0{len(part[1])}}-of-{part[2]}.gguf")


def load_engine(name: str | Path, engine: str | None = None, **options: Any) -> Engine:
    """Load a model with its natural engine, or with `engine`. Options that are None keep the engine's default.

    Raises ModelError for a model that cannot be loaded, ParameterError for an engine that does not exist or an
    option it does not have."""
    settings = {key: value for key, value in options.items() if value is not None}
    kind = None if engine is None else ENGINES.find(engine)
    if kind is None:  # before the model is downloaded, whatever engine it needs
        every = dict.fromkeys(option for known in ENGINES.usable()[0].values() for option in known.options)
        _check_options("no engine has an option", settings, tuple(every))
    form = ""
    if kind is not None and not kind.formats:
        path = str(name)
    else:
        natural, path = resolve(name)
        kind, form = kind or ENGINES.find(natural), NATURAL[natural]
        if form not in kind.formats:
            loads = " and ".join(FORMATS[form] for form in kind.formats)
            raise ModelError(
                f"the {kind.name} engine loads {loads}, and {path} is none of them; it is for --engine {natural}"
            )
    if not _installed(kind):
        able = (other.name for other in ENGINES.usable()[0].values() if form in other.formats and _installed(other))
        instead = "".join(f", or load the model with --engine {other}" for other in islice(able, 1))
        raise ModelError(f"the {kind.name} engine is not installed: pip install {kind.install}{instead}")
    for key in settings:
        if key in kind.refused:
            raise ParameterError(f"the {kind.name} engine has no option {key!r}: {kind.refused[key]}")
    _check_options(f"the {kind.name} engine has no option", settings, kind.options)
    return kind.load(path, **settings)


def _installed(kind: EngineKind) -> bool:
    return not kind.runtimes or any(map(importlib.util.find_spec, kind.runtimes))


def _check_options(refusal: str, given: dict[str, Any], allowed: tuple[str, ...]) -> None:
    for key in given:
        if key not in allowed:
            meant = OTHERWISE.get(key)
            hint = f"; did you mean {meant}?" if meant in allowed else did_you_mean(key, allowed)
            raise ParameterError(f"{refusal} {key!r}; there are {', '.join(allowed) or 'none'}{hint}")
