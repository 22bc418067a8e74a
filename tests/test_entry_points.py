"""A package from outside adds a policy, a strategy and an engine by name; a broken one is named and harms no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.registry import BUILT_IN

pytest.importorskip("hatchling")

SOURCE = Path(entropix.__file__).parents[1]

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.2"

[tool.hatch.build.targets.wheel]
include = ["*.py"]

"""

POLICY = '''
from dataclasses import dataclass
from typing import ClassVar

from entropix.parameters import parameter
from entropix.policies import Policy, sampled


@dataclass(frozen=True, kw_only=True)
class Warm(Policy):
    """A temperature, and nothing else."""

    name: ClassVar[str] = "warm"
    summary: ClassVar[str] = "one temperature"
    max_candidates: ClassVar[int] = 1

    heat: float = parameter(1.5, 0.0, 9.0, doc="how warm")

    def decide(self, signals, regime, state):
        return sampled(regime, like=signals.entropy, temperature=self.heat), state
'''

STRATEGY = '''
from dataclasses import dataclass
from typing import ClassVar

from entropix.parameters import parameter
from entropix.search.samples import Sampled
from entropix.search.ballots import Count


@dataclass(frozen=True, kw_only=True)
class Longest(Sampled):
    """Draw n texts and keep the longest."""

    name: ClassVar[str] = "longest"
    summary: ClassVar[str] = "the longest of n texts"

    spare: int = parameter(0, 0, 9, doc="nothing")

    def count(self, ended, outstanding, running):
        return Count(max(ended, key=lambda b: (len(b.text), -b.number)), None, {}, None, {}) if ended else None
'''

ENGINE = """
from entropix.engines import EngineKind
from entropix.engines.scripted import ScriptedEngine, hashed


def load(model, *, sequences=8, context=256):
    return ScriptedEngine(hashed(float(model.removeprefix("hash-"))), sequences=sequences, context=context)


HASH = EngineKind(name="hash", summary="a model of hashes", load=load, options=("sequences", "context"))
"""


def install(site: Path, sources: Path, name: str, points: dict[str, dict[str, str]], files: dict[str, str]) -> None:
    """Build a package and install it into the folder `site`, from nowhere but here."""
    folder = sources / name
    folder.mkdir(parents=True)
    tables = []
    for group, named in points.items():
        tables += [f'[project.entry-points."{group}"]', *(f'{point} = "{value}"' for point, value in named.items())]
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name) + "\n".join(tables))
    for file, text in files.items():
        (folder / file).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site), str(folder)]
    subprocess.run([*pip, *alone], check=True, capture_output=True, text=True)


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment(site), timeout=120, check=False
    )


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{SOURCE}", "NO_COLOR": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a package that adds one of each."""
    folder = tmp_path_factory.mktemp("outside")
    points = {
        "entropix.policies": {"warm": "warm:Warm"},
        "entropix.strategies": {"longest": "longest:Longest"},
        "entropix.engines": {"hash": "hash_engine:HASH"},
    }
    files = {"warm.py": POLICY, "longest.py": STRATEGY, "hash_engine.py": ENGINE}
    install(folder / "site", folder, "warm-things", points, files)
    return folder / "site"


@pytest.fixture(scope="module")
def broken(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same environment with three more packages: one breaks, one takes a name twice, one is no policy."""
    folder = tmp_path_factory.mktemp("broken")
    site = folder / "site"
    subprocess.run(["cp", "-r", str(outside), str(site)], check=True)
    raises = {"entropix.policies": {"sour": "sour:Sour"}, "entropix.engines": {"sour": "sour:Sour"}}
    install(site, folder, "sour-things", raises, {"sour.py": "raise OSError('no milk')\n"})
    twice = {"entropix.policies": {"greedy": "mine:Mine"}, "entropix.strategies": {"longest": "mine:Mine"}}
    install(site, folder, "more-things", twice, {"mine.py": "Mine = 3\n"})
    wrong = {"entropix.policies": {"three": "three:THREE"}, "entropix.strategies": {"long": "longest:Longest"}}
    install(site, folder, "wrong-things", wrong, {"three.py": "THREE = 3\n"})
    return site


def test_pyproject_declares_every_built_in_as_an_entry_point() -> None:
    project = SOURCE.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a checkout")
    declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]
    assert {group: declared[group] for group in BUILT_IN} == BUILT_IN


def test_the_command_line_lists_and_uses_what_a_package_adds(outside: Path) -> None:
    assert "one temperature" in python(outside, "-m", "entropix", "policies").stdout
    assert "how warm" in python(outside, "-m", "entropix", "policies", "warm").stdout
    assert "the longest of n texts" in python(outside, "-m", "entropix", "searches").stdout
    command = ["-m", "entropix", "generate", "--engine", "hash", "-m", "hash-2.5", "-p", "warm:heat=2", "--seed", "1"]
    done = python(outside, *command, "-n", "9", "--search", "longest:n=3", "--json", "hello")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["policy"] == "warm"
    assert len(said["search"]["branches"]) == 3
    texts = [branch["text"] for branch in said["search"]["branches"]]
    assert len(said["text"]) == max(map(len, texts))


def test_a_mistake_in_what_a_package_adds_is_a_message(outside: Path) -> None:
    for arguments, says in (
        (["-p", "warm:heat=99"], "heat=99.0 is out of range; allowed is a number from 0 to 9"),
        (["-p", "warm:cold=1"], "there is no parameter 'cold'; it has heat"),
        (["--search", "longest:n=x"], "n='x' is out of range"),
        (["--engine", "hash", "-m", "hash-1", "--threads", "2"], "the hash engine has no option 'threads'"),
    ):
        done = python(outside, "-m", "entropix", "generate", *arguments, "hello")
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def server(outside: Path) -> Iterator[str]:
    pytest.importorskip("fastapi")
    command = [sys.executable, "-m", "entropix", "serve", "--port", "0", "--engine", "hash", "-m", "hash-2.5"]
    with subprocess.Popen(
        [*command, "--policy", "warm"], stderr=subprocess.PIPE, text=True, env=environment(outside)
    ) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if " at http://" in line:
                break
        assert " at http://" in said[-1], said
        yield said[-1].rsplit(" ", 1)[1].strip()
        process.send_signal(signal.SIGINT)
        process.stderr.read()


def test_the_server_lists_and_uses_what_a_package_adds(server: str) -> None:
    with urllib.request.urlopen(f"{server}/entropix/info") as answer:
        info = json.load(answer)
    assert "warm" in [policy["name"] for policy in info["policies"]]
    assert "longest" in [search["name"] for search in info["searches"]]
    body: dict[str, Any] = {
        "model": info["model"],
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "seed": 3,
    }
    body["entropix"] = {"policy": "warm:heat=2.0", "search": "longest:n=3"}
    request = urllib.request.Request(
        f"{server}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["choices"][0]["message"]["content"]


def test_the_vllm_plug_in_admits_a_policy_that_a_package_adds(outside: Path) -> None:
    code = (
        "from entropix.plugins.vllm.asking import read; from entropix.errors import EntropixError\n"
        "print(read({'entropix': 'warm', 'entropix_heat': 2.0}))\n"
        "try: read({'entropix': 'warm', 'entropix_heat': 99.0})\n"
        "except EntropixError as error: print(error)\n"
    )
    done = python(outside, "-c", code)
    assert "PolicyRequest(policy='warm', values=(('heat', 2.0),), filters=None)" in done.stdout, done.stderr
    assert "heat=99.0 is out of range" in done.stdout


def test_a_broken_package_is_named_and_the_rest_goes_on(broken: Path) -> None:
    listed = python(broken, "-m", "entropix", "policies")
    assert listed.returncode == 0
    assert "warm" in listed.stdout
    assert "mirostat" in listed.stdout
    assert "policy 'sour' of the package sour-things 1.2 cannot be loaded (OSError: no milk); mend" in listed.stderr
    assert "policy 'three' of the package wrong-things 1.2: three:THREE is no Policy" in listed.stderr
    assert "policy 'greedy' is defined by entropix-llm and by more-things 1.2; uninstall one of them" in listed.stderr
    command = ["-m", "entropix", "generate", "--engine", "hash", "-m", "hash-2.5", "-n", "3", "-q"]
    assert python(broken, *command, "-p", "warm", "hello").returncode == 0
    for arguments, says in (
        (["-p", "sour"], "policy 'sour' of the package sour-things 1.2 cannot be loaded"),
        (["-p", "greedy"], "policy 'greedy' is defined by entropix-llm and by more-things 1.2"),
        (["--search", "longest"], "search 'longest' is defined by more-things 1.2 and by warm-things 1.2"),
        (["--search", "long"], "longest:Longest calls itself 'longest'; the two names must agree"),
        (["--engine", "sour"], "engine 'sour' of the package sour-things 1.2 cannot be loaded"),
    ):
        done = python(broken, *command, *arguments, "hello")
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr
