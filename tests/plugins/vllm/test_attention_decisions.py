"""A policy that looks at attention decides inside vLLM as on our own engine, token for token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm")


@pytest.mark.slow
def test_answers_with_attention_equal_our_own(directory: Path) -> None:
    script = Path(__file__).with_name("attending.py")
    done = subprocess.run([sys.executable, script, directory], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["with"] != found["without"], "attention decided nothing"
    # an answer of ours ends with the model's end token, and so does vLLM's
    assert found["vllm"] == found["with"]
