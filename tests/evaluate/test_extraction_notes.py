"""The notes that fields are extracted from: their gold stands in the text, and nothing else of theirs does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.extraction import SAID, SCHEMA, by_rates, halves, is_right, notes, outcome, report

from entropix import Model, Result
from entropix.engines.scripted import ScriptedEngine, hashed


def test_a_note_says_its_gold_and_leaves_the_rest_unsaid() -> None:
    made = notes()
    assert len({note.text for note in made}) == 60
    assert made == notes()
    unsaid = 0
    for note in made:
        for name, value in note.gold.items():
            said = SAID[value] if name == "status" else f"{value:.2f}" if name == "amount" else str(value)
            assert said in note.text
        missing = set(SCHEMA["required"]) - set(note.gold)
        unsaid += len(missing)
        assert len(missing) <= 2
        assert "status" in note.gold or not any(words in note.text for words in SAID.values())
        assert "amount" in note.gold or "euros" not in note.text
        assert "year" in note.gold or not any(f" {year}" in note.text for year in range(1990, 2030))
    assert unsaid > 30


@pytest.mark.parametrize(
    ("value", "gold", "right"),
    [
        ("leeds ", "Leeds", True), ("Leeds", None, False), (12.5, 12.5, True), (12.51, 12.5, False),
        ("12.5", 12.5, False), (None, None, False), (2001, 2001, True),
    ],
)  # fmt: skip
def test_a_value_is_right_where_the_text_says_it(value: object, gold: object, right: bool) -> None:
    assert is_right(value, gold) == right


def test_an_answer_is_kept_with_every_score_and_reported(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    model = Model(ScriptedEngine(hashed(sharpness=1.5), context=8192))
    lines = []
    for note in notes(4):
        greedy = model.generate(note.text, policy="greedy", constraint=SCHEMA, max_tokens=400)
        assert isinstance(greedy, Result)
        lines.append(outcome(note, greedy, None))
    lines[0]["fields"]["city"] |= {"right": True, "probability": 1.0, "unconstrained": 1.0}
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = "\n".join(report(tmp_path / "out.jsonl"))
    assert "4 texts" in text
    assert "| probability | 1.00" in text
    assert "| share | – | – | – | – |" in text
    assert "| sum of log p | 0." in text
    assert "| city | 1 of 4 |" in text
    assert "| status | " in text


def stored(id: str, **fields: tuple[float, bool]) -> dict[str, Any]:
    scores = {"unconstrained": 0.5, "mass": 0.5, "share": 0.5, "value": "x"}
    made = {name: {**scores, "probability": p, "least": p, "right": right} for name, (p, right) in fields.items()}
    return {"id": id, "text": "", "known": [], "fields": made, "sum of log p": -1.0}


def test_what_is_chosen_on_one_half_of_the_texts_is_read_off_the_other(tmp_path: Path) -> None:
    read = [stored(f"t{n}", city=(0.6, True), year=(0.8, n == 2)) for n in range(8)]
    rows = [(row, name, field) for row in read for name, field in row["fields"].items()]
    assert halves(rows) == [n % 2 == 1 for n in range(8) for _ in range(2)]
    # of the year 1 of 4 in the first half, which counts for the second, and the other way round
    found = dict(zip([(row["id"], name) for row, name, _ in rows], by_rates(rows), strict=True))
    assert found["t1", "year"] == pytest.approx(0.8 * 2 / 6)
    assert found["t0", "year"] == found["t2", "year"] == pytest.approx(0.8 * 1 / 6)
    assert found["t0", "city"] == pytest.approx(0.6 * 5 / 6)
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in read))
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in report(tmp_path / "out.jsonl")}
    assert cells["| probability"][0].startswith("0.06 (")
    assert cells["| probability"][1:] == ["–", "0.10", "0.00 |"]
    rates = cells["| probability × the field's rate in the other half"]
    assert rates[0].startswith("0.91 (")
    assert rates[1:] == ["–", "0.90", "1.00 |"]
