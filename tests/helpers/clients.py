"""Clients of a server in this process, and waiting for a fact."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import openai

from entropix.serve.process import Background

MESSAGES = [{"role": "user", "content": "hi"}]


def client_of(server: Background, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", **{"api_key": "none", "max_retries": 0, **options})


def until(fact: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until `fact` holds; fails when it does not come to."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)
