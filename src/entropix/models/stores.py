"""What other programs have on disk: Ollama and LM Studio. Nothing is written there, and neither needs to run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from entropix.folders import SPLIT, expanded, found, home

MODEL_LAYER = "application/vnd.ollama.image.model"
LIBRARY = "registry.ollama.ai/library/"


def ollama() -> list[tuple[str, Path, int]]:
    """(name as Ollama lists it, file, bytes)."""
    models = []
    for folder in ollama_folders():
        manifests = folder / "manifests"
        for manifest in _files(manifests):
            place, _, tag = manifest.relative_to(manifests).as_posix().rpartition("/")
            path = _layer(manifest, folder / "blobs")
            if path is not None:
                name = f"{place.removeprefix(LIBRARY).removeprefix('registry.ollama.ai/')}:{tag}"
                models.append((name, path, path.stat().st_size))
    return models


def ollama_folders() -> list[Path]:
    """OLLAMA_MODELS, else the user's and the service's."""
    if chosen := os.environ.get("OLLAMA_MODELS"):
        return [expanded(chosen)]
    below = home()
    own = [below / ".ollama" / "models"] if below is not None else []
    return [*own, Path("/usr/share/ollama/.ollama/models")]


def lm_studio() -> list[tuple[str, list[Path]]]:
    """(publisher/model/file without .gguf, files) for each model."""
    below = home()
    folders = [] if below is None else [below / ".lmstudio" / "models", below / ".cache" / "lm-studio" / "models"]
    models: dict[str, list[Path]] = {}
    for folder in folders:
        for file in found(folder, "*/*/*.gguf"):
            if not file.name.lower().startswith("mmproj") and file.is_file():
                name = f"{file.parent.relative_to(folder).as_posix()}/{SPLIT.sub('', file.stem)}"
                models.setdefault(name, []).append(file)
    return list(models.items())


def _layer(manifest: Path, blobs: Path) -> Path | None:
    """The file with the weights that a manifest names; None where there is none, or it is not GGUF."""
    try:
        layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        digest = next(str(layer["digest"]) for layer in layers if layer["mediaType"] == MODEL_LAYER)
        path = blobs / digest.replace(":", "-")
        with path.open("rb") as stream:
            return path if stream.read(4) == b"GGUF" else None
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
    except OSError:
        return
