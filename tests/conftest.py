"""Fixtures shared by all tests: real models, loaded once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine
from entropix.models import embedded
from helpers import tiny
from helpers.llama import embedded_model, needs_llama_cpp
from helpers.mlx import needs_mlx

# asserts there say what they compared, as those of tests do
pytest.register_assert_rewrite("helpers.engine_contract")

# a deadline per example would measure how busy the machine is
hypothesis.settings.register_profile("entropix", deadline=None)
hypothesis.settings.load_profile("entropix")

# commands run with another home find the model too, and none is downloaded in a test
if (model := embedded.find()) is not None:
    os.environ.setdefault(embedded.VARIABLE, str(model.parent))

if "PYTEST_XDIST_WORKER" in os.environ:
    # a worker has one core: threads of several workers that spin for each other's cores are ten times slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # a shell starts background jobs so, and every process would inherit it: tests of Ctrl-C could not interrupt any
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct."""
    return embedded_model()


@pytest.fixture(scope="session")
def llama_engine(smollm2: Path) -> Iterator[Engine]:
    needs_llama_cpp()
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


@pytest.fixture(scope="session")
def mlx_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A tiny model of random weights: on a processor MLX takes minutes for what the others do in seconds."""
    needs_mlx()
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    from entropix.engines.mlx import MlxEngine

    config = transformers.LlamaConfig(**tiny.SMALL, num_key_value_heads=2)
    folder = tiny.save(tiny.random_model(config), tmp_path_factory.mktemp("mlx"))
    engine = MlxEngine.load(folder, context=1024, sequences=16)
    yield engine
    engine.shutdown()


ENGINES = ("scripted", "llama_cpp", "transformers", "mlx")
REAL_ENGINES = ENGINES[1:]
SMOLLM2_ENGINES = ("llama_cpp", "transformers")


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
    """Every engine that computes a model, which may be one of random weights."""
    engine = engine_named(request.param, request)
    yield engine
    assert engine.cells_used() == 0, "this test leaked a sequence"


@pytest.fixture(params=SMOLLM2_ENGINES)
def smollm2_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine that has SmolLM2 here."""
    engine = engine_named(request.param, request)
    yield engine
    assert engine.cells_used() == 0, "this test leaked a sequence"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium. A module's own: while it runs, its event loop keeps others out of this thread."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'entropix-llm[dev]'")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this system; `make test` installs one where it may (apt-get install chromium)")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", *quiet])
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A browser page with everything that went wrong on it, and every address it asked for."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Opens pages; fails the test in which one of them logs an error or runs into one.

    A test that provokes errors clears `errors` when it has looked at them."""
    opened: list[tuple[Any, Visit]] = []

    def open_page(url: str, *, width: int = 1280, height: int = 900, **options: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        seen = Visit(context.new_page())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("dialog", lambda dialog: (seen.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        seen.page.on(
            "console",
            lambda message: seen.errors.append(message.text) if message.type in ("error", "warning") else None,
        )
        opened.append((context, seen))
        seen.page.goto(url)
        return seen

    yield open_page
    for context, seen in opened:
        before = len(seen.errors)
        context.close()
        # closing cuts a request that is still under way
        assert [e for n, e in enumerate(seen.errors) if n < before or "ERR_CONNECTION_RESET" not in e] == []
