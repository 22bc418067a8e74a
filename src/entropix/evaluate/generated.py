"""Tasks made from a seed, so that an evaluation runs anywhere. Each row: (question, choices, answer)."""

from __future__ import annotations

import random
from itertools import pairwise

Row = tuple[str, list[str], str]

NAMES = ("Ana", "Ben", "Chloe", "David", "Eva", "Felix", "Grace", "Hugo")
THINGS = ("apples", "books", "coins", "marbles", "pens", "stamps")


def arithmetic(n: int, seed: int) -> list[Row]:
    """Stories of two to four steps of +, − and ×, whose amounts stay whole and not negative."""
    rng = random.Random(f"arithmetic-{seed}")
    rows: list[Row] = []
    for _ in range(n):
        name, other = rng.sample(NAMES, 2)
        thing = rng.choice(THINGS)
        amount = rng.randint(3, 30)
        said = [f"{name} has {amount} {thing}."]
        for _ in range(rng.randint(2, 4)):
            kind = rng.choice(("buy", "give", "times") if amount <= 60 else ("buy", "give"))
            if kind == "give" and amount > 1:
                part = rng.randint(1, amount - 1)
                amount -= part
                said.append(f"{name} gives {part} {thing} to {other}.")
            elif kind == "times":
                times = rng.randint(2, 4)
                amount *= times
                said.append(f"Then {name}'s {thing} become {times} times as many.")
            else:
                part = rng.randint(2, 40)
                amount += part
                said.append(f"{name} buys {part} more {thing}.")
        rows.append((" ".join(said) + f" How many {thing} does {name} have now?", [], str(amount)))
    return rows


def logic(n: int, seed: int) -> list[Row]:
    """Who is the tallest, the shortest, or in the middle, from comparisons in random order."""
    rng = random.Random(f"logic-{seed}")
    rows: list[Row] = []
    for _ in range(n):
        size = rng.randint(3, 5)
        order = rng.sample(NAMES, size)  # from the tallest down
        clues = [
            f"{a} is taller than {b}." if rng.random() < 0.5 else f"{b} is shorter than {a}."
            for a, b in pairwise(order)
        ]
        rng.shuffle(clues)
        asked, right = rng.choice((("the tallest", order[0]), ("the shortest", order[-1])))
        if size == 5 and rng.random() < 0.34:
            asked, right = "exactly in the middle by height", order[2]
        choices = sorted(order)
        rows.append((" ".join(clues) + f" Who is {asked}?", choices, "ABCDEFGHIJ"[choices.index(right)]))
    return rows
