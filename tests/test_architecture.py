"""Imports point one way, `import entropix` is light, and files stay readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import entropix

ROOT = Path(entropix.__file__).parent
FOUNDATION = {"folders", "numeric", "parameters", "registry", "types", "errors", "arrays", "native", "fused"}
CORE = FOUNDATION | {"signals", "sampling", "policies", "engines"}
TOP = {"model", "models", "profiles", "trace", "cli", "search", "serve", "plugins", "evaluate", "__init__", "__main__"}
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "numeric": set(),
    "folders": set(),
    "parameters": {"errors", "numeric"},
    "registry": {"errors"},
    "arrays": {"types"},
    "native": {"folders"},
    "fused": set(),
    "signals": FOUNDATION,
    "sampling": FOUNDATION,
    "policies": FOUNDATION,
    "engines": FOUNDATION | {"signals"},
    "constraints": FOUNDATION | {"engines"},
    "decoding": CORE,
    "profiles": CORE | {"decoding"},
    "models": FOUNDATION | {"engines"},
    "model": CORE | {"constraints", "decoding", "profiles", "models", "search"},
    "trace": CORE | {"decoding", "profiles"},
    "remote": FOUNDATION | {"signals", "policies", "profiles", "search"},
}
RUNTIMES = ("torch", "triton", "llama_cpp", "transformers", "mlx", "vllm", "fastapi", "llguidance", "openai")
LONGEST = 420


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
        rooms |= {name.split(".")[1] for name in names if name.startswith("entropix.")}
    return rooms


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room not in MAY_IMPORT:
        assert room in TOP, f"{path} belongs to no room"
        return
    forbidden = imported(path) - MAY_IMPORT[room] - {room}
    assert not forbidden, f"{room} imports {forbidden}"


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
    ],
)
def test_importing_loads_no_runtime(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {RUNTIMES!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    for name in entropix.__all__:
        assert getattr(entropix, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = entropix.nonsense
