"""Servers over scripted models, in a thread of this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

pytest.importorskip("fastapi")

from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from entropix.serve.process import Background
from entropix.serve.settings import Settings
from helpers.clients import client_of, until


@pytest.fixture
def serving() -> Iterator[Callable[..., Background]]:
    """Starts servers, which must hold nothing but kept prefixes when the test ends."""
    with contextlib.ExitStack() as stack:
        started: list[Background] = []

        def start(engine: Engine | None = None, **settings: Any) -> Background:
            engine = engine or ScriptedEngine(hashed(3.0), sequences=24)
            server = Background(Model(engine), Settings(**{"port": 0, "places": 8, **settings}))
            started.append(stack.enter_context(server))
            return server

        yield start
        for server in started:
            scheduler = server.server.scheduler
            until(lambda s=scheduler: s._in_flight == 0)  # type: ignore[misc]
    for server in started:
        assert server.server.scheduler.model.engine.cells_used() == 0, "the server leaked a sequence"


@pytest.fixture(scope="module")
def server() -> Iterator[Background]:
    """A server for tests that only ask."""
    model = Model(ScriptedEngine(hashed(3.0), sequences=24))
    with Background(model, Settings(port=0, places=8, aliases=("alias",))) as running:
        yield running


@pytest.fixture
def client(server: Background) -> openai.OpenAI:
    return client_of(server)


@pytest.fixture(scope="session")
def real_server(llama_engine: Engine) -> Iterator[Background]:
    """A server of SmolLM2 for tests that only ask. It keeps nothing, since other tests share the engine."""
    with Background(Model(llama_engine), Settings(port=0, places=4, kept=0, aliases=("smollm2",))) as running:
        yield running
