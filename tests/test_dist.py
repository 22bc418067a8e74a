"""What is released holds every file that the sources have. .github/dist_check.py installs and uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from entropix import toolchain

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    try:
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("these sources are no git repository")
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def build(folder: Path, root: Path, kind: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t", kind]
    env = {**os.environ, "PYTHONPATH": "", **environment}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=env)


def built(folder: Path, root: Path, kind: str, **environment: str) -> Path:
    done = build(folder, root, kind, **environment)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file


def libraries() -> set[str]:
    """Of a wheel that is built here; none without a compiler."""
    if toolchain.compiler() is None:
        return set()
    sources = [Path("entropix") / name for name in toolchain.SOURCES]
    return {toolchain.library(file, variant).as_posix() for file in sources for variant in toolchain.variants()}


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
        assert names == {name.removeprefix("src/") for name in wanted if name.startswith("src/")} | libraries()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        (metadata,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "entropix = entropix.cli:main" in archive.read(metadata).decode()


def test_the_addresses_are_those_of_the_repository_that_builds_it(tmp_path: Path) -> None:
    forge = {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_REPOSITORY": "someone/entropix"}
    for name, environment in (("known", forge), ("unknown", dict.fromkeys(forge, ""))):
        with zipfile.ZipFile(built(tmp_path / name, ROOT, "wheel", ENTROPIX_KERNELS="none", **environment)) as archive:
            (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
            lines = archive.read(metadata).decode().splitlines()
        urls = dict(
            line.removeprefix("Project-URL: ").split(", ") for line in lines if line.startswith("Project-URL: ")
        )
        if environment is forge:
            assert urls["Homepage"] == "https://forge.example/someone/entropix"
            assert urls["Issues"] == "https://forge.example/someone/entropix/issues"
        else:
            assert urls == {}


def test_a_wheel_without_a_compiler_is_for_every_system_unless_the_release_asks_for_kernels(tmp_path: Path) -> None:
    wheel = built(tmp_path / "wheel", ROOT, "wheel", PATH=str(tmp_path))
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "entropix/kernel.c" in names
    assert not [name for name in names if name.endswith((".so", ".dll"))]
    failed = build(tmp_path / "none", ROOT, "wheel", PATH=str(tmp_path), ENTROPIX_KERNELS="required")
    assert failed.returncode != 0
    assert "the C kernels are not compiled: there is no C compiler (cc, gcc, clang)" in failed.stderr


@pytest.mark.skipif(not libraries(), reason="no C compiler")
def test_a_wheel_with_kernels_is_for_this_system_and_every_python(tmp_path: Path) -> None:
    wheel = built(tmp_path, ROOT, "wheel", ENTROPIX_KERNELS="required")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
