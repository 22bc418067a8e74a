"""Fake endpoints, closed when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs openai: pip install 'entropix-llm[remote]'")

from entropix.remote import Endpoint, connect
from helpers.endpoint import Behaviour, Fake


@pytest.fixture
def fake() -> Iterator[Callable[[Behaviour], Fake]]:
    started: list[Fake] = []

    def start(behaviour: Behaviour) -> Fake:
        started.append(Fake(behaviour))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def asking(fake: Callable[[Behaviour], Fake]) -> Callable[..., tuple[Fake, Endpoint]]:
    """A fake server and an endpoint on it."""

    def make(behaviour: Behaviour, **options: Any) -> tuple[Fake, Endpoint]:
        server = fake(behaviour)
        return server, connect(server.url, **options)

    return make
