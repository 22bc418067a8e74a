"""The notes that fields are extracted from: their gold stands in the text, and nothing else of theirs does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.extraction import SAID, SCHEMA, is_right, notes, outcome, report

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
    assert "| share | – | – |" in text
    assert "| sum of log p | 0." in text
    assert "| city | 1 of 4 |" in text
    assert "| status | " in text
