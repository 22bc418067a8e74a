"""The table of docs/uncertainty.md is what the command makes of stored runs, new ones included."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import uncertainty


def outcome(n: int, spec: str, answers: list[str], right: bool) -> dict[str, Any]:
    texts = [{"length": 3, "whole": [-1.0 - (not right) - 0.01 * n, -0.5, -0.5, 2], "span": None} for _ in answers]
    return {
        **{"task": "t", "item": str(n), "seed": 1, "spec": spec, "answer": answers[0], "right": right},
        **{"ballots": answers, "ballot_right": [right] * len(answers), "ballot_tokens": [2] * len(answers)},
        **{"ballot_ends": ["end"] * len(answers), "texts": texts, "signals": {}, "independent": len(answers) > 1},
        **{"forwarded": 9, "ledger": {"prompt": 3, "shared": 0}},
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = []
    for n in range(24):
        right = n % 2 == 0
        lines += [outcome(n, "greedy", ["7"], right), outcome(n, "vote 3", ["7", "7", "7" if right else "8"], right)]
    (tmp_path / "run.json").write_text(json.dumps({"model": "dir/tiny.gguf"}))
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(o) + "\n" for o in lines))
    return tmp_path


def test_every_spec_and_the_greedy_text_beside_a_votes_samples_are_judged(run: Path) -> None:
    rows = uncertainty.table([run], 10, [])
    heads = [row.split("|")[2].strip() for row in rows[2:] if row.split("|")[2].strip()]
    assert heads == ["greedy", "vote 3", "greedy, vote 3 beside it"]
    assert "12 of 24" in rows[2]
    assert all("1.00 (1.00 … 1.00)" in row for row in rows if "`msp`" in row or "`cocoa-msp`" in row)
    assert any("`length`" in row and "0.50" in row for row in rows)


def test_what_is_too_one_sided_is_left_out_and_said(run: Path) -> None:
    assert "12 of 24 right" in uncertainty.table([run], 13, ["greedy"])[-1]


def test_the_table_is_put_in_its_place_and_nowhere_else(
    run: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{uncertainty.BEGIN}\nold\n{uncertainty.END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["uncertainty", str(run), "--specs", "greedy", "--write", str(page)])
    uncertainty.main()
    uncertainty.main()  # again gives the same
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert ("old" in text, text.count("| run |")) == (False, 1)
    page.write_text("no marks")
    with pytest.raises(SystemExit):
        uncertainty.main()
    assert "has no marks" in capsys.readouterr().err
