"""The figure of the README is drawn from outcomes, and its points say what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
from benchmarks.figure import all_of, draw, planned, point
from benchmarks.points import Outcomes

from entropix.errors import TaskError
from helpers.votes import GOLD, made, small


def kept(folder: Path, outcomes: Outcomes) -> Path:
    folder.mkdir(parents=True)
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(o) + "\n" for o in outcomes))
    (folder / "run.json").write_text(json.dumps({"model": "some model", "tasks": {}, "specs": {}}))
    return folder


def test_a_point_is_the_difference_from_the_greedy_texts_of_the_same_items() -> None:
    found = point(small(), "a vote", "r", "vote")
    assert found.found.items == 6
    assert found.found.difference.value == pytest.approx(100 / 6)  # three more right and two fewer, of six
    assert found.cost == pytest.approx((5 + 4 * 10) / 15)
    assert found.found == point(small(), "the same, as a spec", "r", "vote 4").found
    cheaper = point(small(), "stopped early", "r", "lead:2")
    assert cheaper.cost < found.cost
    one = point(small(), "each text by itself", "r", "one ballot").found
    assert (one.difference.value, one.ratio) == (pytest.approx(100 * (15 / 24 - 2 / 6)), 1)
    assert point(small(), "moved", "r", "moved 2").cost <= found.cost


def test_seeds_of_an_item_count_as_one() -> None:
    """Greedy decoding has one seed, what is compared three: the item's mean counts, and no seed is left out."""
    sampled = [{**made(0, answer, "77")[0], "spec": "s", "seed": n} for n, answer in enumerate((GOLD, GOLD, "3"), 1)]
    assert point([made(0, "3", "77")[0], *sampled], "s", "r", "s").found.difference.value == pytest.approx(200 / 3)


def test_another_runs_greedy_texts_can_be_the_baseline() -> None:
    larger = [o for n in range(4) for o in made(n, GOLD, "7777")]
    found = point(larger, "larger", "r", "greedy", small())
    assert (found.found.items, found.found.difference.value) == (4, 100.0)


def test_what_a_run_does_not_hold_is_said() -> None:
    with pytest.raises(TaskError, match="no greedy texts"):
        point([o for o in small() if o["spec"] != "greedy"], "x", "r", "vote")


def test_a_plan_and_a_single_run_are_drawn(tmp_path: Path) -> None:
    run = kept(tmp_path / "all" / "one", small())
    rows, labels, ranked = all_of(run)
    assert [points[0].name for points in rows] == ["vote 4", "lead:2", "lead:3", "moved 4"]
    assert labels == {"one": "some model"}
    (tmp_path / "all" / "figure.toml").write_text(
        '[runs]\none = "the run"\n[ranked]\nrun = "one"\n'
        '[[row]]\nname = "itself"\npoints = [{ run = "one", spec = "greedy", against = "one", parameters = 3 }]\n'
    )
    rows, labels, ranked = planned(tmp_path / "all")
    assert (rows[0][0].found.difference.value, rows[0][0].cost) == (0, 3)
    figure = draw(rows, labels, ranked)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["itself"]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["the run"]  # type: ignore[union-attr]
    assert any("share of the vote" in text.get_text() for text in right.get_legend().get_texts())  # type: ignore[union-attr]


def test_the_committed_plan_names_runs_that_are_there(tmp_path: Path) -> None:
    """Every row of docs/evidence/figure.toml can be drawn from docs/evidence: specs and runs are known."""
    import tomllib

    evidence = Path("docs/evidence")
    plan = tomllib.loads((evidence / "figure.toml").read_text())
    for row in plan["row"]:
        for p in row["points"]:
            specs = set(json.loads((evidence / p["run"] / "run.json").read_text())["specs"])
            assert p["run"] in plan["runs"]
            assert p["spec"] in specs or p["spec"].startswith(("vote", "lead:", "moved ", "one ballot"))


def test_a_folder_without_a_run_is_no_traceback(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.figure", str(tmp_path), str(tmp_path / "x.svg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("benchmarks.figure: ")
    assert not (tmp_path / "x.svg").exists()
