"""The checklists of CONTRIBUTING.md, walked: their files, written into a copy, work and pass their tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```python\n# (?P<file>[\w/.]+\.py)(?:, (?P<group>[\w.]+))?\n(?P<code>.*?)^```$", re.M | re.S)
COMMANDS = {
    "a policy": (["policies", "warm"], "temperature per nat of entropy"),
    "a strategy": (["searches", "longest"], "the longest of n texts"),
    "an engine": (["generate", "--engine", "bigram", "-m", "CHANGELOG.md", "-n", "9", "-q", "--raw", "The"], ""),
}

if not GUIDE.exists():
    pytest.skip("not a checkout", allow_module_level=True)


def checklist(what: str) -> str:
    """The section "Add `what`"."""
    return GUIDE.read_text(encoding="utf-8").split(f"## Add {what}\n")[1].split("\n## ")[0]


def walk(what: str, copy: Path) -> list[str]:
    """Do in `copy` what the checklist says; returns the files that were touched."""
    touched = []
    for block in BLOCK.finditer(checklist(what)):
        file = copy / block["file"]
        touched.append(block["file"])
        if block["group"]:
            head = f'    "{block["group"]}": {{\n'
            text = file.read_text(encoding="utf-8")
            assert head in text
            file.write_text(text.replace(head, f"{head}        {block['code']}"), encoding="utf-8")
        else:
            assert not file.exists()
            file.write_text(block["code"], encoding="utf-8")
    return touched


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(copy / "src"), "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=copy, env={**os.environ, **path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    for file in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


@pytest.mark.parametrize("what", COMMANDS)
def test_a_checklist_works_as_it_stands(what: str, copy: Path) -> None:
    source, registry, test = walk(what, copy)
    assert registry == "src/entropix/registry.py"
    tested = run(copy, "pytest", "-q", "-p", "no:cacheprovider", test, "tests/test_architecture.py")
    assert tested.returncode == 0, tested.stdout
    command, says = COMMANDS[what]
    done = run(copy, "entropix", *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert says in done.stdout
    if shutil.which("ruff", path=str(Path(sys.executable).parent)):
        for check in (["ruff", "check", source, test], ["ruff", "format", "--check", source, test]):
            checked = run(copy, *check)
            assert checked.returncode == 0, checked.stdout


def test_the_tests_of_all_policies_find_a_new_one(copy: Path) -> None:
    walk("a policy", copy)
    tested = run(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/policies/test_policies.py", "-k", "warm")
    assert tested.returncode == 0, tested.stdout
    assert re.search(r"\b[2-9] passed", tested.stdout)
