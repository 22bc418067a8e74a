"""A small model's votes against a larger one's greedy text, from stored outcomes."""

from __future__ import annotations

import pytest
from benchmarks.points import LEADS, Outcomes, by_spec, counted
from benchmarks.sizes import compared

from helpers.votes import made


def ruled(outcomes: Outcomes) -> dict[str, Outcomes]:
    return by_spec(counted(outcomes, LEADS, (2, 4)))


def test_tokens_are_weighed_by_the_parameters_and_items_are_those_of_both() -> None:
    small = [o for item in range(4) for o in made(item, "3", "7777")] + made(9, "3", "3333")
    large = [o for item in range(4) for o in made(item, "7", "7777")]
    head, *lines = compared({0.5: ruled(small), 2.0: ruled(large)})
    assert head[0] == "4 items"
    rows = {line[0]: line for line in lines}
    assert rows["0.5B, greedy"][1].startswith("0.0 (")
    assert rows["0.5B, greedy"][2:4] == ["15", "8"]  # 5 of the prompt and 10 of the text, times 0.5
    assert rows["2B, greedy"][1].startswith("100.0 (")
    assert rows["2B, greedy"][2:] == ["15", "30", ""]
    assert rows["0.5B, vote"][1].startswith("100.0 (")
    assert rows["0.5B, vote"][4].startswith("+0.0")
    assert rows["0.5B, greedy"][4].startswith("−100.0")
    assert next(iter(rows)) == "0.5B, greedy"  # the cheapest first


def test_runs_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="no items in common"):
        compared({0.5: ruled(made(1, "3", "7777")), 1.5: ruled(made(2, "3", "7777"))})
