"""Imports point one way, `import entropix` is light, and files stay readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import entropix
from entropix.search.pool import PooledVote
from entropix.search.strategies import STRATEGIES
from entropix.search.strategy import Strategy

ROOT = Path(entropix.__file__).parent
FOUNDATION = {
    *(
        "version",
        "folders",
        "machine",
        "numeric",
        "lines",
        "closest",
        "ledger",
        "types",
        "errors",
        "parameters",
        "registry",
    ),
    *("arrays", "toolchain", "native", "fused"),
}
CORE = FOUNDATION | {"signals", "sampling", "policies", "engines"}
LOOP = CORE | {"answers", "decoding", "search", "uncertainty", "constraints", "profiles"}
MODEL = LOOP | {"model", "models", "trace"}
MAY_IMPORT = {
    "version": set(),
    "lines": set(),
    "closest": set(),
    "ledger": set(),
    "types": {"lines", "ledger"},
    "errors": set(),
    "numeric": set(),
    "folders": set(),
    "machine": {"toolchain"},
    "parameters": {"closest", "errors", "numeric"},
    "registry": {"closest", "errors"},
    "arrays": {"types"},
    "toolchain": set(),
    "native": {"folders", "toolchain"},
    "fused": set(),
    "signals": FOUNDATION,
    "sampling": FOUNDATION,
    "policies": FOUNDATION,
    "engines": FOUNDATION | {"signals"},
    "constraints": FOUNDATION | {"engines"},
    "decoding": CORE,
    "profiles": CORE | {"decoding"},
    "models": FOUNDATION | {"engines"},
    "model": CORE | {"answers", "constraints", "decoding", "profiles", "models", "search", "uncertainty"},
    "trace": CORE | {"decoding", "profiles", "uncertainty"},
    "remote": FOUNDATION | {"answers", "signals", "policies", "profiles", "search", "uncertainty", "trace"},
    "answers": FOUNDATION,
    "search": CORE | {"answers", "decoding"},
    "uncertainty": FOUNDATION | {"answers", "signals", "engines", "search"},
    "evaluate": MODEL,
    "serve": MODEL,
    "plugins": set(),
    "plugins.llm": MODEL,
    "plugins.transformers": MODEL,
    "plugins.vllm": LOOP,
    "plugins.sglang": LOOP,
    "plugins.lm_eval": MODEL | {"cli"},  # `python -m entropix.plugins.lm_eval` is a command line
    "cli": MODEL | {"evaluate", "remote", "serve"},
    "__init__": MODEL | {"remote"},
    "__main__": {"cli"},
}
"""The rooms, and what each may import. A plug-in is a room of its own; none may import the server."""
RUNTIMES = ("torch", "triton", "llama_cpp", "transformers", "mlx", "vllm", "sglang", "fastapi", "llguidance", "openai")
LONGEST = 400


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The rooms of entropix that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "entropix":
                names = [f"entropix.{alias.name}" for alias in node.names]
        rooms |= {room(name.split(".")[1:]) for name in names if name.startswith("entropix.")}
    return rooms


def room(parts: Sequence[str]) -> str:
    """The room of a module, given below entropix: its first name, and for a plug-in its first two."""
    return ".".join(parts[: 2 if parts[0] == "plugins" else 1])


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here = room(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert here in MAY_IMPORT, f"{path} belongs to no room"
    forbidden = imported(path) - MAY_IMPORT[here] - {here}
    assert not forbidden, f"{here} imports {forbidden}"


def test_no_class_name_stands_for_two_things() -> None:
    places: dict[str, list[str]] = {}
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_a_book(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "module",
    [
        "entropix",
        "entropix.cli",
        "entropix.engines",
        "entropix.decoding",
        "entropix.constraints",
        "entropix.remote",
        "entropix.plugins.vllm",
        "entropix.plugins.sglang",
    ],
)
def test_importing_loads_no_runtime(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {RUNTIMES!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_code_asks_which_strategy_it_has() -> None:
    """What differs between strategies is a member of `Strategy`: one of a package can then do what a built-in can."""
    known = {base for cls in (*STRATEGIES.values(), PooledVote) for base in cls.__mro__ if issubclass(base, Strategy)}
    names = {cls.__name__ for cls in known - {Strategy}}
    asking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        for name in ast.walk(node.args[1])
        if isinstance(name, ast.Name) and name.id in names
    ]
    assert asking == []


@pytest.mark.parametrize("module", ["entropix", "entropix.cli.hint", "entropix.trace", "entropix.trace.terminal"])
def test_what_a_message_needs_loads_not_even_numpy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('numpy', 'array_api_compat') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    for name in entropix.__all__:
        assert getattr(entropix, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = entropix.nonsense
