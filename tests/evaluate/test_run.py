"""Runs survive being killed, and the report says what the outcomes say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy")
from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import TaskError
from entropix.evaluate import Spec, Store, evaluate, load_task, summarise, units
from entropix.evaluate.store import cost, key_of, read_outcomes

SPECS = [
    Spec("greedy", "greedy"),
    Spec("sample", "sample:temperature=0.9"),
    Spec("vote", "sample:temperature=0.9", "vote:n=3,answer=text"),
]
MANIFEST: dict[str, Any] = {"model": "scripted", "tasks": {}, "specs": {}}
TASK = load_task("arithmetic", limit=3)
WORK = units([TASK], SPECS, [1, 2])


def decode(directory: Path, go_on: Callable[[], bool] = lambda: True) -> list[dict[str, Any]]:
    model = Model(ScriptedEngine(hashed(sharpness=2.0), context=512, sequences=8))
    with Store(directory, MANIFEST) as store:
        evaluate(model, WORK, store, max_tokens=8, together=5, go_on=go_on)
    assert model.engine.cells_used() == 0
    # which answer of a batch computes a prompt that others share depends on what is in the batch: its cost does not
    same = [{**o, "forwarded": cost(o), "seconds": 0, "ledger": 0} for o in read_outcomes(directory)]
    return sorted(same, key=key_of)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return decode(tmp_path_factory.mktemp("run"))


def test_every_unit_has_an_outcome_and_items_have_their_own_noise(undisturbed: list[dict[str, Any]]) -> None:
    assert {key_of(o) for o in undisturbed} == {unit.key for unit in WORK}
    assert len(undisturbed) == 18
    sampled = [o["text"] for o in undisturbed if o["spec"] == "sample"]
    assert len(set(sampled)) == 6
    assert all(len(o["ballots"]) == 3 for o in undisturbed if o["spec"] == "vote")


def test_votes_on_short_answers_read_them_by_the_question(tmp_path: Path) -> None:
    rows = [{"question": "who wrote hamlet", "answers": ["William Shakespeare", "Shakespeare"]}]
    (tmp_path / "nq.jsonl").write_text("".join(json.dumps(row) for row in rows))
    task = load_task(str(tmp_path / "nq.jsonl"))
    specs = [Spec("greedy", "greedy"), Spec("vote", "sample", "vote:n=2,answer=short,stop=none")]
    model = Model(ScriptedEngine(saying("Hamlet was written by Shakespeare", certainty=20), context=512, sequences=4))
    with Store(tmp_path / "run", MANIFEST) as store:
        evaluate(model, units([task], specs, [1]), store, max_tokens=64)
    found = {o["spec"]: o for o in read_outcomes(tmp_path / "run")}
    assert [(o["answer"], o["right"], o["graded"]) for o in found.values()] == [("shakespeare", True, "right")] * 2
    assert found["vote"]["ballots"] == ["shakespeare"] * 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 25), max_size=4), cut=st.integers(0, 200))
def test_a_killed_run_goes_on_to_the_same_result(
    tmp_path_factory: pytest.TempPathFactory, undisturbed: list[dict[str, Any]], stops: list[int], cut: int
) -> None:
    directory = tmp_path_factory.mktemp("killed")
    for stop in stops:
        left = iter(range(stop))
        decode(directory, lambda left=left: next(left, None) is not None)  # type: ignore[misc]
        file = directory / "outcomes.jsonl"
        data = file.read_bytes()
        file.write_bytes(data[: max(0, len(data) - cut)])  # as when the process died in the middle of a line
    assert decode(directory) == undisturbed


def test_an_item_that_was_edited_is_answered_again(tmp_path: Path, undisturbed: list[dict[str, Any]]) -> None:
    decode(tmp_path)
    file = tmp_path / "outcomes.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0].update(prompt="of another question", right=True, text="old")
    file.write_text("".join(json.dumps(o) + "\n" for o in lines))
    assert decode(tmp_path) == undisturbed


def test_another_model_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    decode(tmp_path)
    before = (tmp_path / "outcomes.jsonl").read_bytes()
    with pytest.raises(TaskError, match="holds a run with model 'scripted', not 'other'"):
        Store(tmp_path, {**MANIFEST, "model": "other"})
    assert (tmp_path / "outcomes.jsonl").read_bytes() == before


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    decode(tmp_path)
    file = tmp_path / "outcomes.jsonl"
    file.write_text("nonsense\n" + file.read_text())
    with pytest.raises(TaskError, match="line 1, is damaged"):
        Store(tmp_path, MANIFEST)


def test_a_full_disk_is_said_and_keeps_what_there_was(tmp_path: Path) -> None:
    decode(tmp_path, go_on=lambda: False)
    with Store(tmp_path, MANIFEST) as store:
        store._file.close()
        store._file = open("/dev/full", "w")  # noqa: SIM115 - closed by the store
        with pytest.raises(TaskError, match="the same command goes on"):
            store.add({"task": "t", "item": "i", "seed": 1, "spec": "s"})
    assert all(key_of(o)[0] == "arithmetic" for o in read_outcomes(tmp_path))


def made(spec: str, item: int, right: bool, seed: int = 1, confidence: float = 0.5) -> dict[str, Any]:
    return {
        "task": "t",
        "item": str(item),
        "seed": seed,
        "spec": spec,
        "right": right,
        "any_right": right,
        "answer": "1",
        "forwarded": 10,
        "unshared": 20,
        "ledger": {"shared": 0},
        "seconds": 1.0,
        "signals": {"confidence": confidence, "length": -float(item)},
    }


def test_a_summary_counts_only_what_every_spec_has_answered() -> None:
    outcomes = [made("a", n, n < 5) for n in range(10)] + [made("b", n, n < 7) for n in range(8)]
    summary = summarise(outcomes)
    assert summary.left_out == 2
    assert {row.spec: (row.items, row.accuracy.value) for row in summary.rows} == {"a": (8, 5 / 8), "b": (8, 7 / 8)}
    (pair,) = summary.comparisons
    assert (pair.helped, pair.hurt, pair.difference.value) == (2, 0, 0.25)
    assert pair.p == pair.adjusted == pytest.approx(0.5)
    with pytest.raises(ValueError, match="baseline 'c' is not one of"):
        summarise(outcomes, "c")


def test_seeds_of_one_item_are_no_independent_evidence() -> None:
    """Five seeds that agree widen nothing and prove nothing more than one."""
    once = summarise([made(s, n, (n + (s == "b")) % 3 > 0) for n in range(12) for s in "ab"])
    often = summarise([made(s, n, (n + (s == "b")) % 3 > 0, k) for k in range(5) for n in range(12) for s in "ab"])
    assert often.rows[0].accuracy.high - often.rows[0].accuracy.low > 0.4
    assert often.rows[0].answers == 60
    assert often.comparisons[0].p > 0.5 * once.comparisons[0].p
