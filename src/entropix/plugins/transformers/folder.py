"""The folder from which transformers takes `generate` by name, as it lies in a repository of the hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from entropix.errors import EntropixError

RECIPE = Path(__file__).parent / "recipe"
CARD = "README.md"
FILES = ("custom_generate/generate.py", "custom_generate/requirements.txt")


def write(folder: Path | str) -> list[Path]:
    """Write the folder, or put it into a model's, whose README.md stays. Returns what was written.

    Raises EntropixError where it cannot be written, or has another `custom_generate`."""
    folder = Path(folder)
    for name in FILES:
        if (folder / name).exists() and (folder / name).read_bytes() != (RECIPE / name).read_bytes():
            raise EntropixError(f"{folder / name} is there and is another; give another folder, or remove that file")
    missing = [name for name in (CARD, *FILES) if not (folder / name).exists()]
    try:
        for name in missing:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RECIPE / name, folder / name)
    except OSError as error:
        raise EntropixError(f"{folder} cannot be written: {error.strerror or error}; give another folder") from error
    return [folder / name for name in missing]
