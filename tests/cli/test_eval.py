"""`entropix eval` over a scripted model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import hashed

pytest.importorskip("scipy")


@pytest.fixture
def unsure(cli: Any) -> Any:
    cli.script = hashed(sharpness=2.0)
    cli.engine = {"context": 512}
    return cli


OPTIONS = ("--limit", "4", "-n", "6", "--compare", "greedy", "v = sample:temperature=0.9 | vote:n=2,answer=number")


def test_a_run_is_kept_reported_and_not_done_twice(unsure: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = unsure("eval", "arithmetic", "logic", "--out", str(out), *OPTIONS)
    assert first.code == 0, first.err
    assert "arithmetic: 4 items, 4 answers a spec" in first.out
    (said,) = [line for line in first.err.splitlines() if "votes on" in line]
    assert said.endswith("'v' votes on answer=number, but answers to logic are read by choice")
    assert "Against greedy, by item" in first.out
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "| v |" in text
    assert "## logic" in text
    kept = (out / "outcomes.jsonl").read_bytes()
    assert kept.count(b"\n") == 16
    again = unsure("eval", "arithmetic", "logic", "--out", str(out), *OPTIONS)
    assert again.out == first.out
    assert "holds 16 of 16 answers" in again.err
    assert (out / "outcomes.jsonl").read_bytes() == kept
    loads = len(unsure.loads)
    assert unsure("eval", "--report", str(out)).out == first.out
    assert len(unsure.loads) == loads


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there is no task"),
        (("sudoku",), "there is no task 'sudoku'"),
        (("arithmetic", "--compare", "gredy"), "there is no policy 'gredy'"),
        (("arithmetic", "--compare", "greedy | tree:depth=3"), "no parameter 'depth'"),
        (("arithmetic", "--baseline", "x"), "--baseline 'x' is not one of the specs"),
        (("--report", "nowhere"), "holds no run"),
        (("arithmetic", "--limit", "0"), "not an integer from 1 on"),
    ],
)
def test_mistakes_are_named_before_a_model_is_loaded(unsure: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = unsure("eval", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert not unsure.loads
