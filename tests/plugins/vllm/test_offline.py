"""vLLM without a server, in one process: nothing is left of requests that are gone, and siblings are not mixed up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT = 400.0


@pytest.fixture(scope="module")
def found(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What offline.py saw."""
    command = [sys.executable, str(Path(__file__).with_name("offline.py")), str(directory)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command,
        cwd=tmp_path_factory.mktemp("offline"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_nothing_is_left_of_requests_that_are_gone(found: dict[str, Any]) -> None:
    assert found["most"] > 4
    assert found["preemptions"] > 0
    assert found["aborted"] > 0
    assert found["finished"] > 20
    left = {name: found[name] for name in ("live", "seats", "plans", "asking")}
    assert left == {"live": 0, "seats": 0, "plans": 0, "asking": 0}
    assert found["free"] == list(range(8))


def test_answers_of_one_request_without_a_seed_differ(found: dict[str, Any]) -> None:
    """In one process they share an object with their parameters, also those that come when others have left."""
    answers = [tuple(tokens) for tokens in found["without_seed"]]
    assert len(answers) == 12
    assert len(set(answers)) == 12
