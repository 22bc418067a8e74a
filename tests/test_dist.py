"""What is released holds every file that the sources have. .github/dist_check.py installs and uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    try:
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("these sources are no git repository")
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def built(folder: Path, root: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t", kind]
    subprocess.run(command, cwd=root, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": ""})
    (file,) = folder.iterdir()
    return file


def test_the_sdist_is_whole_and_its_wheel_has_every_file_of_the_package(tracked: set[str], tmp_path: Path) -> None:
    sdist = built(tmp_path / "sdist", ROOT, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    held = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    wanted = {name for name in tracked if name.startswith(("src/", "tests/", "benchmarks/", "docs/", "examples/"))}
    assert wanted <= held
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= held
    with zipfile.ZipFile(built(tmp_path / "wheel", source, "wheel")) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == {name.removeprefix("src/") for name in wanted if name.startswith("src/")}
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        (metadata,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "entropix = entropix.cli:main" in archive.read(metadata).decode()
