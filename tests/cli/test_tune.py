"""`entropix tune` over a scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import hashed

pytest.importorskip("scipy")
pytest.importorskip("optuna")


@pytest.fixture
def unsure(cli: Any) -> Any:
    cli.script = hashed(sharpness=2.0)
    cli.engine = {"context": 512}
    return cli


def test_tune_writes_a_profile_that_eval_refuses_on_the_same_items(unsure: Any, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    options = ("--task-seed", "3", "--limit", "3", "-n", "4")
    first = unsure("tune", "arithmetic", *options, "--policy", "sample", "--trials", "3", "--out", str(out))
    assert first.code == 0, first.err
    assert "defaults" in first.out or "chosen" in first.out
    assert "no result" in first.out
    profile = out / "profile.json"
    note = json.loads(profile.read_text())["tuned"][0]
    assert (note["policy"], note["trials"], len(note["items"])) == ("sample", 3, 3)
    again = unsure("tune", "arithmetic", *options, "--policy", "sample", "--trials", "3", "--out", str(out))
    assert again.out == first.out
    assert "holds 9 answers" in again.err
    for more in ((), ("--instruction", "Be brief."), ("--limit", "5"), ("--skip", "2")):
        refused = unsure("eval", "arithmetic", *options, "--profile", str(profile), "--out", str(tmp_path / "r"), *more)
        assert refused.code == 2
        assert f"tuned on {1 if '--skip' in more else 3} of these" in refused.err
    fine = unsure(
        "eval", "arithmetic", *options, "--skip", "3", "--profile", str(profile), "--out", str(tmp_path / "r")
    )
    assert fine.code == 0, fine.err


def test_another_tuning_in_the_same_folder_is_refused(unsure: Any, tmp_path: Path) -> None:
    options = ("arithmetic", "--limit", "2", "-n", "2", "--trials", "1", "--out", str(tmp_path))
    assert unsure("tune", *options, "--policy", "sample").code == 0
    refused = unsure("tune", *options, "--policy", "dynatemp")
    assert refused.code == 2
    assert "holds a run with tuning" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("arithmetic", "--policy", "gredy"), "there is no policy 'gredy'"),
        (("sudoku",), "there is no task 'sudoku'"),
        (("arithmetic", "--limit", "2", "--trials", "0"), "not an integer from 1 on"),
        (("arithmetic", "--search", "vote:x=1"), "no parameter 'x'"),
    ],
)
def test_mistakes_are_named_before_a_model_is_loaded(unsure: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = unsure("tune", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert not unsure.loads
