"""Outcomes of votes, as `benchmarks.ballots` makes them, from a letter a text."""

from __future__ import annotations

from typing import Any

from benchmarks.ballots import outcome

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


def small() -> list[dict[str, Any]]:
    """Six items, of which greedy decoding has the last two right and a vote of four the first three."""
    return [o for n in range(6) for o in made(n, "3" if n < 4 else GOLD, "7777" if n < 3 else "3337")]
