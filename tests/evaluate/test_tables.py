"""The tables of docs/evidence.md say what the outcomes say, and stand in the page as they are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
from benchmarks.points import accuracy, against, by_spec, counted, singles, tokens
from benchmarks.tables import EVIDENCE, MARK, TABLES, compared, markdown, written

from entropix.errors import TaskError
from helpers.votes import small


def answered(item: int, right: bool, *, spec: str = "s", seed: int = 1, cost: int = 10) -> dict[str, Any]:
    ledger = {"forwarded": cost, "shared": 0}
    return {
        "task": "t",
        "item": f"i{item}",
        "seed": seed,
        "spec": spec,
        "right": right,
        "forwarded": cost,
        "ledger": ledger,
    }


def test_a_comparison_is_paired_by_item_and_counts_seeds_once() -> None:
    theirs = [answered(n, n < 5) for n in range(10)]
    ours = [answered(n, n < 5 or (n == 6 and seed == 1), seed=seed, cost=30) for n in range(12) for seed in (1, 2)]
    found = against(ours, theirs)
    assert found.items == 10
    assert found.difference.value == pytest.approx(5.0)  # half of one item of ten
    assert (found.better, found.worse, found.ratio) == (1, 0, 3.0)
    with pytest.raises(TaskError, match="no items in common"):
        against([answered(99, True)], theirs)


def test_one_answer_an_item_is_compared_by_mcnemars_test() -> None:
    ours, theirs = ([answered(n, n < most) for n in range(20)] for most in (15, 7))
    assert against(ours, theirs).p == pytest.approx(2 * 0.5**8)  # eight to none
    assert [row[-1] for row in compared([("a", against(ours, theirs)), ("b", against(theirs, ours))])] == ["0.016"] * 2


def test_ballots_by_themselves_are_answers_that_cost_the_prompt_and_their_tokens() -> None:
    votes = by_spec(small())["vote 4"]
    found = singles(votes, "one")
    assert len(found) == 4 * len(votes)
    assert tokens(found) == 15
    assert accuracy(found).value == pytest.approx(100 * (3 * 4 + 3) / 24)


def test_rules_have_short_names_and_stay_beside_their_greedy_texts() -> None:
    assert set(by_spec(counted(small(), ("lead:2",), (2,), most=3))) == {
        "greedy",
        "vote",
        "first 3",
        "lead:2",
        "moved 2",
    }
    assert set(by_spec(counted(small(), ()))) == {"greedy", "vote", "first 5"}


def test_a_table_is_put_between_its_marks_and_nowhere_else() -> None:
    begin, end = (mark.format(name="a") for mark in MARK)
    page = f"before\n{begin}\nold \\d\n{end}\nafter\n"
    lines = markdown([["", "x"], ["row", r"\1"]])
    made = written(page, {"a": lines})
    assert made == f"before\n{begin}\n\n|  | x |\n|---|---|\n| row | \\1 |\n\n{end}\nafter\n"
    assert written(made, {"a": lines}) == made
    with pytest.raises(ValueError, match="has no marks"):
        written(page, {"b": lines})


@pytest.mark.parametrize("name", ["ways", "tokens", "forks", "facts", "code"])
def test_the_page_holds_what_the_outcomes_say(name: str) -> None:
    """Those that take a second or two; `--write` makes all of them."""
    page = (Path(EVIDENCE).parent / "evidence.md").read_text(encoding="utf-8")
    assert written(page, {name: markdown(TABLES[name](EVIDENCE))}) == page
