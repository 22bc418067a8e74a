"""The reference says what the code says; the site and the community files are whole."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return script(ROOT / "docs" / "generate.py")


@pytest.mark.parametrize("name", ["policies.md", "searches.md", "extractors.md", "estimators.md", "commands.md"])
def test_the_reference_says_what_the_code_says(generate: Any, name: str) -> None:
    if name == "commands.md" and sys.version_info[:2] != (3, 11):
        pytest.skip("argparse words its help differently in other Pythons; the reference is of 3.11")
    said = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert said == generate.pages()[name], "out of date; run: python docs/generate.py"


def test_a_table_that_is_out_of_date_is_found(generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generate.main() == 0
    (tmp_path / "policies.md").write_text("| `entropix` | something else |")
    (tmp_path / "searches.md").unlink()
    assert list(generate.stale()) == ["policies.md", "searches.md"]


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/-]+\.md", text[text.index("\nnav:") :]))
    docs = ROOT / "docs"
    there = {str(p.relative_to(docs)) for p in docs.rglob("*.md") if "evidence" not in p.relative_to(docs).parts}
    assert named == there


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    dead = []
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)\s#]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert not dead


def test_no_picture_loads_anything_from_elsewhere() -> None:
    for picture in (ROOT / "docs").rglob("*.svg"):
        text = picture.read_text(encoding="utf-8")
        assert not re.findall(r"url\(['\"]?https?:|@import|<script|(?:href|src)=['\"]https?:", text), picture


def test_what_cites_the_project_has_its_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", cited, re.MULTILINE)[1] == project["version"]  # type: ignore[index]
    assert f"license: {project['license']}" in cited
