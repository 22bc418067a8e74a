"""vLLM's whole engine under Model Runner V2, on a CPU: scheduler, kernels, sampler and rejection sampler are its own.

Every answer must be our decoder's on the very logits that vLLM showed, whatever happened to the request in between.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm.v1.worker.cpu.model_runner")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="V2's kernels are Triton's"),
]
TIME_LIMIT = 900


def serve(scenario: str, directory: Path) -> dict[str, Any]:
    """What `second_runner.py` found."""
    script = Path(__file__).with_name("second_runner.py")
    done = subprocess.run(
        [sys.executable, str(script), scenario, str(directory)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found: dict[str, Any] = json.loads((directory / "found.json").read_text())
    assert found["runner"] == "vllm.v1.worker.cpu.model_runner", "this is not Model Runner V2"
    ours = [(said, own) for said, own in zip(found["said"], found["replayed"], strict=True) if own is not None]
    assert len(ours) == 5
    for said, own in ours:
        assert said == own
    return found


def test_requests_that_are_pre_empted_and_prompts_in_pieces(tmp_path: Path) -> None:
    found = serve("preempt", tmp_path)
    assert found["counts"]["resumed"] > 0, "nothing was pre-empted"
    assert found["counts"]["unfinished"] > 0, "no prompt came in pieces"
    assert found["counts"]["stock"] > 0
    assert [found["texts"][n].count("ab") for n in (0, 4)] == [2, 2], "as many injections as the policy may make"


def test_draft_tokens_that_are_accepted_and_rejected(tmp_path: Path) -> None:
    found = serve("drafts", tmp_path)
    counts = found["counts"]
    assert counts["rejected"] > 20
    assert counts["drafts"] - counts["rejected"] > 20, "too few drafts were accepted"
    assert [found["texts"][n].count("ab") for n in (0, 4)] == [2, 2]


def test_what_must_follow_a_grammar(tmp_path: Path) -> None:
    found = serve("grammar", tmp_path)
    assert found["counts"]["masked"] > 20
    for text in found["texts"]:
        assert re.fullmatch("[0-9]{3,9}[.]", text)
