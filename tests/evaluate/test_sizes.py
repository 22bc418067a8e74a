"""A small model's votes against a larger one's greedy text, from stored outcomes."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.ballots import outcome
from benchmarks.sizes import compared

GOLD = "7"


def made(item: int, greedy: str, ballots: str) -> list[dict[str, Any]]:
    """Outcomes of an item, as `benchmarks.ballots` makes them: each letter of `ballots` is a text's answer."""
    texts = [
        {"n": n, "text": f"The answer is {answer}.", "finish": "end", "tokens": [0] * 11, "logprobs": [-0.1] * 11}
        for n, answer in enumerate(greedy + ballots, start=-1)
    ]
    row = {"task": "t", "id": f"item-{item}", "gold": GOLD, "prompt_tokens": 5, "question": "How many?"}
    return [
        outcome(row, "greedy", texts[:1], lambda token: b"x"),
        outcome(row, f"vote {len(ballots)}", texts[1:], lambda token: b"x"),
    ]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tokens_are_weighed_by_the_parameters_and_items_are_those_of_both() -> None:
    small = [o for item in range(4) for o in made(item, "3", "7777")] + made(9, "3", "3333")
    large = [o for item in range(4) for o in made(item, "7", "7777")]
    lines = compared([(0.5, small), (2.0, large)])
    assert lines[0].startswith("4 items that both")
    rows = {cells(line)[0]: cells(line) for line in lines[4:]}
    assert rows["0.5 B, greedy"][1].startswith("0.0%")
    assert rows["0.5 B, greedy"][2:4] == ["15", "8"]  # 5 of the prompt and 10 of the text, times 0.5
    assert rows["2 B, greedy"][1].startswith("100.0%")
    assert rows["2 B, greedy"][2:] == ["15", "30", "–"]
    assert rows["0.5 B, vote 4"][1].startswith("100.0%")
    assert rows["0.5 B, vote 4"][4].startswith("+0.0")
    assert rows["0.5 B, greedy"][4].startswith("-100.0")
    assert next(iter(rows)) == "0.5 B, greedy"  # the cheapest first


def test_runs_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="no items in common"):
        compared([(0.5, made(1, "3", "77")), (1.5, made(2, "3", "77"))])
