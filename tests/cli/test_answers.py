"""`entropix calibrate --answers`: a confidence fitted to labelled items, kept in the profile that `ask` reads."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
import entropix
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.profiles import Profile
from entropix.types import Array

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"


@pytest.fixture
def sure(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    cli.script = saying("The answer is 9.", certainty=20)
    monkeypatch.chdir(tmp_path)
    return cli


def items(n: int, right: int) -> str:
    rows = [{"question": f"What is {k} again?", "answer": "9" if k < right else "8"} for k in range(n)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "q.jsonl:number"


def calibrate(cli: Any, task: str, *more: str) -> Any:
    return cli("calibrate", "m", "--answers", task, "--effort", "low", "--run", "r", "--out", "p.json", *more)


def test_a_fitted_confidence_is_the_one_that_ask_gives(sure: Any) -> None:
    shown = calibrate(sure, items(60, 45))
    assert (shown.code, shown.out) == (0, "p.json\n")
    assert "calibrated: AUROC" in shown.err
    assert "risk 0.5: from" in shown.err
    assert "risk 0.01: cannot be kept" in shown.err
    profile = Profile.load("p.json")
    result = entropix.Model(ScriptedEngine(sure.script), profile).ask("How many?", "low", seed=1)
    assert result.confidence == pytest.approx(0.75, abs=0.03)
    assert result.confidence_source == "2 of 2 texts agree, lead:2; calibrated on 60 items of q"
    assert any("thresholds are generic" in note for note in result.notes)
    again = sure("ask", "--effort", "low", "--risk", "50%", "--profile", "p.json", "How many?")
    assert again.out == "9\n"


def test_the_same_command_goes_on_and_a_run_is_read_without_answering(sure: Any) -> None:
    task = items(60, 45)
    assert calibrate(sure, task).code == 0
    made, outcomes = Profile.load("p.json").confidences, Path("r/outcomes.jsonl")
    kept = "".join(outcomes.read_text().splitlines(keepends=True)[:50])
    outcomes.write_text(kept)  # as if it had been stopped
    assert calibrate(sure, task).code == 0
    assert outcomes.read_text().startswith(kept)
    assert len(outcomes.read_text().splitlines()) == 60
    assert Profile.load("p.json").confidences == made
    assert sure("calibrate", "m", "--run", "r", "--effort", "low", "--out", "q.json").code == 0
    assert Profile.load("q.json").confidences == made


def test_ctrl_c_keeps_what_was_answered_and_the_same_command_goes_on(sure: Any) -> None:
    script, calls = sure.script, itertools.count(1)

    def interrupting(tokens: tuple[int, ...]) -> Array:
        if next(calls) == 1500:
            os.kill(os.getpid(), signal.SIGINT)
        return script(tokens)

    task, sure.script = items(60, 45), interrupting
    stopped = calibrate(sure, task)
    assert (stopped.code, Path("p.json").exists()) == (130, False)
    assert "stopped; what was answered is kept in r, and the same command goes on" in stopped.err
    kept = Path("r/outcomes.jsonl").read_text()
    assert 0 < len(kept.splitlines()) < 60
    assert all(json.loads(line)["answer"] == "9" for line in kept.splitlines()), "none that was cut off is kept"
    sure.script = script
    assert calibrate(sure, task).code == 0
    assert Path("r/outcomes.jsonl").read_text().startswith(kept)
    assert len(Path("r/outcomes.jsonl").read_text().splitlines()) == 60


@pytest.mark.parametrize(
    ("n", "right", "said"),
    [
        (59, 40, "59 labelled answers are too few to calibrate a confidence; at least 60 are needed"),
        (60, 60, "all 60 answers are right"),
        (60, 0, "all 60 answers are wrong"),
    ],
)
def test_items_that_calibrate_nothing_are_refused(sure: Any, n: int, right: int, said: str) -> None:
    shown = calibrate(sure, items(n, right))
    assert (shown.code, Path("p.json").exists()) == (2, False)
    assert Path("r").exists() == (n == 60), "too few are refused before any is answered"
    assert said in shown.err


@pytest.mark.parametrize(("name", "value"), [("model", "scripted.Q8_0"), ("fingerprint", "f0"), ("template", "t0")])
def test_a_run_of_another_model_or_template_is_refused(sure: Any, name: str, value: str) -> None:
    assert calibrate(sure, items(60, 45)).code == 0
    manifest = json.loads(Path("r/run.json").read_text())
    Path("r/run.json").write_text(json.dumps({**manifest, name: value}))
    shown = sure("calibrate", "m", "--run", "r", "--effort", "low", "--out", "q.json")
    assert (shown.code, Path("q.json").exists()) == (2, False)
    assert "another chat template" in shown.err or "calibrated for one model file" in shown.err


@pytest.mark.parametrize(
    ("run", "effort", "said"),
    [
        ("svamp", "low", "47 labelled answers are too few"),
        ("svamp", "medium", "effort medium takes up to 16 texts, and the run has 9; give a lower effort"),
        ("confirm", "low", "the run holds no vote that can be replayed"),
    ],
)
def test_the_stored_evidence_is_too_little(run: str, effort: str, said: str) -> None:
    from entropix.errors import TaskError
    from entropix.evaluate.answers import calibrated, outcomes_of
    from entropix.evaluate.store import read_manifest, read_outcomes
    from entropix.profiles.confidence import Setting

    folder = EVIDENCE / run
    with pytest.raises(TaskError, match=said):
        calibrated(
            outcomes_of(effort, read_manifest(folder), read_outcomes(folder)), Setting("f", "m", "t", "sample", "r")
        )


def test_a_whole_vote_and_its_greedy_texts_are_replayed_as_the_effort_would_have_been(sure: Any) -> None:
    task = items(60, 45)
    whole = "vote 8 = sample:temperature=0.7 | vote:n=8,answer=number,stop=none"
    sure("eval", task, "--model", "m", "--out", "e", "--compare", "greedy", whole)
    shown = sure("calibrate", "m", "--run", "e", "--effort", "low", "--out", "p.json")
    assert shown.code == 0, shown.err
    (made,) = Profile.load("p.json").confidences
    assert made.setting.rule == "lead:2 of 8, greedy first"
    assert calibrate(sure, task, "--out", "q.json").code == 0
    (drawn,) = Profile.load("q.json").confidences
    assert (made.setting, made.centre, made.intercept) == (drawn.setting, drawn.centre, drawn.intercept)
