"""GGUF models by their names on the Hugging Face hub: which file a name means, and having it here.

`organisation/repository:QUANT`, `organisation/repository` where the name says GGUF,
`hf://organisation/repository/file.gguf`, and the address of a file on the hub's pages. What the hub's own cache holds
is used without asking anyone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from entropix.errors import ModelError
from entropix.folders import SPLIT, found, hub_directory
from entropix.models import download

ENDPOINT = "https://huggingface.co"
NAME = re.compile(r"[\w.-]+/[\w.-]+")
QUANT = re.compile(r"(?i)(?:^|[-._])((?:UD-)?(?:I?Q\d\w*|BF16|F16|F32|FP16|TQ\d_\d|MXFP4\w*))$")
FIRST = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q8_0")
"""Of several, the one that is meant where none is named."""
NO_MODELS = re.compile(r"(?i)mmproj|imatrix")


@dataclass(frozen=True)
class HubName:
    """repository: organisation/name. quant: "" for any. file: the path of one file in it, "" for the one that fits."""

    repository: str
    quant: str = ""
    file: str = ""
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}{':' * bool(self.quant)}{self.quant}{'/' * bool(self.file)}{self.file}"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. sha256: "" where the hub does not know it."""

    path: str
    size: int = 0
    sha256: str = ""


def parse(text: str) -> HubName | None:
    """What a name means on the hub; None for a name that is not of a GGUF file there. Raises ModelError."""
    page = re.fullmatch(r"https?://[^/]+/([^/]+/[^/]+)/(?:resolve|blob)/([^/]+)/(.+?\.gguf)(?:\?.*)?", text)
    if page:
        return HubName(page[1], file=page[3], revision=page[2])
    if text.startswith("hf://"):
        repository, _, file = text.removeprefix("hf://").partition("/")
        name, _, file = file.partition("/")
        name, _, revision = name.partition("@")
        name, _, quant = name.partition(":")
        repository = f"{repository}/{name}"
        if not NAME.fullmatch(repository) or (file and not file.endswith(".gguf")):
            raise ModelError(f"{text!r} names no GGUF file: write hf://organisation/repository/file.gguf")
        return HubName(repository, quant, file, revision or None)
    repository, _, quant = text.partition(":")
    if text.startswith((".", "/", "~")):
        return None
    if NAME.fullmatch(repository) and (quant or "gguf" in repository.lower()):
        return HubName(repository, quant)
    return None


def get(name: HubName) -> Path:
    """The file to load: of the hub's cache, downloaded if need be. Raises ModelError."""
    cache = hub_directory()
    if cache is None:
        raise ModelError(f"{name} has no place to be kept, since there is no home directory: set HF_HOME to a folder")
    held = cached(name, cache)
    return held if held is not None else _download(name, cache)


def cached(name: HubName, cache: Path) -> Path | None:
    """The file in the hub's cache, None where it is not there, or not all of its parts are."""
    for snapshot in snapshots(cache, name):
        try:
            parts = choose(name, _held(snapshot))
        except ModelError:
            continue
        if len(parts) == expected(parts[0].path):
            return snapshot / parts[0].path
    return None


def snapshots(cache: Path, name: HubName) -> list[Path]:
    """Those of a repository, the one that its reference names first."""
    folder = cache / f"models--{name.repository.replace('/', '--')}"
    reference = folder / "refs" / (name.revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else name.revision
    kept = found(folder, "snapshots/*")
    if name.revision:
        return [path for path in kept if path.name == commit]
    return sorted(kept, key=lambda path: path.name != commit)


def in_cache(cache: Path | None) -> list[tuple[str, Path, int]]:
    """(name, file, bytes) of the whole GGUF models in the hub's cache."""
    models = []
    for folder in found(cache, "models--*"):
        repository = folder.name.removeprefix("models--").replace("--", "/", 1)
        for snapshot in found(folder, "snapshots/*"):
            for parts in grouped(_held(snapshot)):
                path = snapshot / parts[0].path
                if len(parts) == expected(parts[0].path):
                    size = sum((snapshot / part.path).stat().st_size for part in parts)
                    quant = quant_of(parts[0].path)
                    short = f"{repository}:{quant}" if quant else f"hf://{repository}/{parts[0].path}"
                    models.append((short, path, size))
    return models


def _held(snapshot: Path) -> list[HubFile]:
    return [
        HubFile(path.relative_to(snapshot).as_posix()) for path in sorted(snapshot.rglob("*.gguf")) if path.exists()
    ]


def choose(name: HubName, files: Iterable[HubFile]) -> list[HubFile]:
    """The file that a name means, in all its parts. Raises ModelError that says what there is."""
    models = grouped(files)
    if not models:
        raise ModelError(f"{name.repository} has no .gguf file that is a model; give a repository of GGUF files")
    if name.file:
        for parts in models:
            if any(part.path == name.file for part in parts):
                return parts
        names = ", ".join(parts[0].path for parts in models[:8]) + ", …" * (len(models) > 8)
        raise ModelError(f"{name.repository} has no {name.file}; it has {names}")
    by_quant = {quant_of(parts[0].path).upper(): parts for parts in reversed(models)}
    if name.quant:
        if name.quant.upper() in by_quant:
            return by_quant[name.quant.upper()]
        names = ", ".join(sorted(quant for quant in by_quant if quant)) or "none with such a name"
        raise ModelError(f"{name.repository} has no {name.quant}; it has {names}")
    return next((by_quant[quant] for quant in FIRST if quant in by_quant), models[0])


def grouped(files: Iterable[HubFile]) -> list[list[HubFile]]:
    """The models among files, each with its parts in order; projectors and importance matrices are none."""
    models: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        path = PurePosixPath(file.path)
        if path.suffix == ".gguf" and not NO_MODELS.search(path.name):
            whole = SPLIT.sub(r"-of-\2", path.stem)
            models.setdefault(f"{path.parent}/{whole}", []).append(file)
    return list(models.values())


def quant_of(path: str) -> str:
    """How a file's name says that its weights are stored, "" where it does not."""
    end = QUANT.search(SPLIT.sub("", PurePosixPath(path).stem))
    return end[1] if end else ""


def expected(path: str) -> int:
    """How many parts the model has that a file is of."""
    part = SPLIT.search(PurePosixPath(path).stem)
    return int(part[2]) if part else 1


def _download(name: HubName, cache: Path) -> Path:
    try:
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
    except ImportError as error:
        raise ModelError(f"{name} is on the hub, which needs huggingface_hub: pip install huggingface_hub") from error
    endpoint = os.environ.get("HF_ENDPOINT") or ENDPOINT
    try:
        listed = HfApi(endpoint=endpoint).list_repo_tree(name.repository, recursive=True, revision=name.revision)
        parts = choose(name, map(_file, listed))
        _check_whole(name, parts)
        cache.mkdir(parents=True, exist_ok=True)
        download.check_room(cache, sum(part.size for part in parts), str(name))
        options: dict[str, Any] = {"revision": name.revision, "cache_dir": cache, "endpoint": endpoint}
        paths = [_checked(Path(hf_hub_download(name.repository, part.path, **options)), part) for part in parts]
    except GatedRepoError as error:
        raise ModelError(
            f"{name.repository} is given to those who have accepted its conditions: do that on "
            f"{endpoint}/{name.repository}, then hf auth login, or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no repository {name.repository} on {endpoint}, or it is private: look at the "
            "name, or log in with hf auth login"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ModelError(f"{name} is not here yet, and HF_HUB_OFFLINE forbids to download it") from error
    except ModelError:
        raise
    except Exception as error:  # the client's own, and those of the HTTP library that it happens to use
        raise ModelError(f"{name} cannot be downloaded from {endpoint}: {download.reason(error)}") from error
    return paths[0]


def _file(entry: Any) -> HubFile:
    """An entry of the hub's list; a folder has no size and a path that ends in no .gguf."""
    lfs = getattr(entry, "lfs", None)
    return HubFile(entry.path, getattr(entry, "size", 0) or 0, (lfs.sha256 if lfs is not None else "") or "")


def _check_whole(name: HubName, parts: Sequence[HubFile]) -> None:
    if len(parts) != expected(parts[0].path):
        raise ModelError(
            f"{name.repository} has {len(parts)} of the {expected(parts[0].path)} parts of {parts[0].path}"
        )


def _checked(path: Path, file: HubFile) -> Path:
    """Raises ModelError for a file that is not what the hub says, and removes it."""
    if file.sha256 and download.digest(path) != file.sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{file.path} arrived damaged: its SHA-256 is not {file.sha256[:12]}…. It is removed; try again"
        )
    return path
