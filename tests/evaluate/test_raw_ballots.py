"""Raw ballots, as `benchmarks.ballots` draws and converts them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
from benchmarks import ballots

from entropix import Model
from entropix.engines.scripted import END, ScriptedEngine, hashed
from entropix.evaluate import load_task
from entropix.evaluate.replay import Rule, ballots_of


def short_texts(tokens: tuple[int, ...]) -> Any:
    logits = hashed(sharpness=1.0)(tokens)
    logits[END] = 5.0
    return logits


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out: Path = tmp_path_factory.mktemp("raw") / "out.jsonl"
    model = Model(ScriptedEngine(short_texts, context=512, sequences=16))
    task = load_task("arithmetic", limit=3)
    ballots.answer(model, task, task.items, out, 5, 12, argparse.Namespace(slots=6, seed=1))
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_texts_are_kept_with_how_many_had_ended_before(rows: list[dict[str, Any]]) -> None:
    """A question's texts stand in the order in which they ended; those that ended at once have the same number."""
    orders = [[text["before"] for text in row["texts"]] for row in rows]
    for order in orders:
        assert len(order) == 6
        assert order[0] == 0
        assert all(order[n] in (n, order[n - 1]) for n in range(1, 6))
    assert any(len(set(order)) < 6 for order in orders)
    assert any(text["n"] != n - 1 for row in rows for n, text in enumerate(row["texts"]))


def test_a_converted_vote_counts_its_own_ballots_alone(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        samples = sorted(row["texts"], key=lambda t: t["n"])[1:]
        made = ballots.outcome(row, "vote 5", samples, lambda token: bytes([token % 256]))
        before = [sum(other["before"] < t["before"] for other in samples) for t in samples]
        assert made["ballot_before"] == before
        finished = ballots_of(made, Rule(order="finished"))
        assert [t.before for t in finished] == sorted(before)


def test_raw_ballots_from_before_the_order_was_kept_are_converted_without_it(rows: list[dict[str, Any]]) -> None:
    old = [{key: value for key, value in t.items() if key != "before"} for t in rows[0]["texts"]]
    made = ballots.outcome(rows[0], "vote 5", old[1:], lambda token: bytes([token % 256]))
    assert made["ballot_before"] == [None] * 5
