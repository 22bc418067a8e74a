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
from entropix.errors import ParameterError, TaskError
from entropix.evaluate import Spec, Store, evaluate, load_task, read_specs, summarise, units
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
    # which answer of a batch computes a prompt that others share depends on what is in the batch: its cost does not;
    # and so does which texts wait for a place, and end after others
    batch = {"seconds": 0, "ledger": 0, "ballot_before": 0}
    same = [{**o, "forwarded": cost(o), **batch} for o in read_outcomes(directory)]
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


def test_what_no_seed_changes_is_decoded_once_and_kept_under_every_seed(tmp_path: Path) -> None:
    engine = ScriptedEngine(hashed(sharpness=2.0), context=512, sequences=8)
    specs = [Spec("greedy", "greedy"), Spec("sample", "sample:temperature=0.9")]
    seen: list[int] = []
    with Store(tmp_path, MANIFEST) as store:
        evaluate(Model(engine), units([TASK], specs, [1]), store, max_tokens=8)
        done = evaluate(Model(engine), units([TASK], specs, [1, 2, 3]), store, max_tokens=8, progress=seen.append)
        again = evaluate(Model(engine), units([TASK], specs, [1, 2, 3]), store, max_tokens=8)
    assert (done, seen, again) == (12, list(range(1, 13)), 0)
    outcomes = read_outcomes(tmp_path)
    assert len({key_of(o) for o in outcomes}) == len(outcomes) == 18
    greedy = [o for o in outcomes if o["spec"] == "greedy"]
    for item in {o["item"] for o in greedy}:
        mine = [o for o in greedy if o["item"] == item]
        assert [{**o, "seed": 0} for o in mine] == [{**mine[0], "seed": 0}] * 3  # the seconds too: never decoded again
        assert len({o["text"] for o in outcomes if o["spec"] == "sample" and o["item"] == item}) == 3


def test_an_edited_question_is_decoded_again_for_every_seed(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    greedy = [Spec("greedy", "greedy")]
    model = Model(ScriptedEngine(hashed(sharpness=2.0), context=512, sequences=8))
    with Store(tmp_path / "run", MANIFEST) as store:
        for question in ("How many?", "How many are there?"):
            file.write_text(json.dumps({"id": "a", "question": question, "answer": "1"}))
            assert evaluate(model, units([load_task(str(file))], greedy, [1, 2]), store, max_tokens=8) == 2
        assert len({o["prompt"] for o in store.outcomes.values()}) == 1


@pytest.mark.parametrize(
    ("spec", "seeded"),
    [
        (Spec("a", "greedy"), False),
        (Spec("a", "greedy", filters="xtc_probability=0.5"), True),
        (Spec("a", "greedy", "vote:n=2"), True),
        (Spec("a", "sample:temperature=0"), True),
        (Spec("a", "entropix"), True),
    ],
)
def test_only_of_plain_greedy_decoding_is_it_known_that_seeds_change_nothing(spec: Spec, seeded: bool) -> None:
    assert spec.seeded is seeded


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


EFFORTS = [
    Spec("low", "sample:temperature=0.9", "effort:low"),
    Spec("moved", "sample:temperature=0.9", "effort:low,ballots=3"),
]


def effort_run(directory: Path, stop_after: int = 1000, **engine: Any) -> list[dict[str, Any]]:
    task = load_task("arithmetic", limit=4)
    model = Model(ScriptedEngine(hashed(sharpness=2.0), context=512, **{"sequences": 8, **engine}))
    calls = iter(range(stop_after))
    with Store(directory, MANIFEST) as store:
        work = units([task], EFFORTS, [1])
        evaluate(model, work, store, max_tokens=8, together=3, go_on=lambda: next(calls, None) is not None)
    assert model.engine.cells_used() == 0
    return sorted(read_outcomes(directory), key=key_of)


def test_a_spec_decodes_with_its_filters_as_the_library_does(tmp_path: Path) -> None:
    specs = [
        Spec("plain", "sample:temperature=1"),
        Spec("top", "sample:temperature=1", filters="top_k=1"),
        Spec("dry", "greedy", filters="presence=2"),
    ]
    model = Model(ScriptedEngine(hashed(sharpness=2.0), context=512, sequences=8))
    with Store(tmp_path, MANIFEST) as store:
        evaluate(model, units([TASK], specs, [1]), store, max_tokens=8)
    said = {name: [o["text"] for o in read_outcomes(tmp_path) if o["spec"] == name] for name in ("plain", "top", "dry")}
    prompts = {o["item"]: item.prompt for item in TASK.items for o in read_outcomes(tmp_path) if o["item"] == item.id}
    greedy = [model.generate(prompt, policy="greedy", max_tokens=8).text for prompt in prompts.values()]
    less = [model.generate(p, policy="greedy", repetition="presence=2", max_tokens=8).text for p in prompts.values()]
    assert sorted(said["top"]) == sorted(greedy)
    assert sorted(said["dry"]) == sorted(less)
    assert sorted(said["plain"]) != sorted(greedy)


def test_an_effort_is_a_spec_whose_vote_reads_the_tasks_answers(tmp_path: Path) -> None:
    found = effort_run(tmp_path)
    assert len(found) == 8
    assert all(2 <= len(o["ballots"]) <= 8 for o in found if o["spec"] == "low")
    moved = [o for o in found if o["spec"] == "moved"]
    assert sum(len(o["ballots"]) for o in moved) == 3 * 4
    assert len({len(o["ballots"]) for o in moved}) > 1 or all(len(o["ballots"]) == 3 for o in moved)


def test_ballots_that_move_between_items_are_the_same_in_any_batch_and_after_a_kill(tmp_path: Path) -> None:
    whole = effort_run(tmp_path / "whole")
    for name, engine in (("small", {"sequences": 3}), ("large", {"sequences": 32})):
        other = effort_run(tmp_path / name, **engine)
        assert [(o["ballots"], o["text"]) for o in other] == [(o["ballots"], o["text"]) for o in whole]
    effort_run(tmp_path / "killed", stop_after=30)
    again = effort_run(tmp_path / "killed")
    assert [(o["ballots"], o["text"]) for o in again] == [(o["ballots"], o["text"]) for o in whole]


@pytest.mark.parametrize(
    "search", ["effort:hard", "effort:low,ballots", "effort:low,ballots=0", "effort:none,ballots=2"]
)
def test_an_effort_that_there_is_not_is_refused_before_a_model_is_loaded(search: str) -> None:
    with pytest.raises(ParameterError, match=r"effort|ballots"):
        read_specs([f"x = sample | {search}"])
