"""Tasks made from a seed, so that an evaluation runs anywhere. Each row: (question, choices, answer), or of code
{"question", "tests", "solution"}."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

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


Words = tuple[tuple[str, str], ...]

# (how it is said, how it is done); {k} is a small number
LISTS: tuple[Words, Words, Words] = (
    (
        ("the odd numbers", "x % 2 == 1"),
        ("the even numbers", "x % 2 == 0"),
        ("the negative numbers", "x < 0"),
        ("the numbers greater than {k}", "x > {k}"),
        ("the numbers divisible by 3", "x % 3 == 0"),
    ),
    (
        ("doubles each of them", "2 * x"),
        ("squares each of them", "x * x"),
        ("adds {k} to each of them", "x + {k}"),
        ("changes the sign of each of them", "-x"),
    ),
    (
        ("returns their sum", "sum(ys)"),
        ("returns the largest result, or 0 if there is none", "max(ys, default=0)"),
        ("returns the smallest result, or 0 if there is none", "min(ys, default=0)"),
        ("returns how many different results there are", "len(set(ys))"),
        ("returns the results as a list in ascending order", "sorted(ys)"),
        ("returns the results as a list in reverse order", "ys[::-1]"),
    ),
)
TEXTS: tuple[Words, Words, Words] = (
    (
        ("the words with more than {k} letters", "len(x) > {k}"),
        ("the words that start with a vowel (a, e, i, o, u)", "x[0] in 'aeiou'"),
        ("the words with an even number of letters", "len(x) % 2 == 0"),
        ("the words that contain the letter a", "'a' in x"),
    ),
    (
        ("reverses each of them", "x[::-1]"),
        ("writes each of them in capital letters", "x.upper()"),
        ("takes the first two letters of each of them", "x[:2]"),
    ),
    (
        ("returns the results joined with '-'", "'-'.join(ys)"),
        ("returns the results as a list in alphabetical order", "sorted(ys)"),
        ("returns the results as a list without duplicates, in their order", "list(dict.fromkeys(ys))"),
        ("returns the number of letters of all results together", "sum(map(len, ys))"),
    ),
)
NUMBERS: tuple[Words, Words, Words] = (
    (
        ("the numbers divisible by {k} or by 7", "x % {k} == 0 or x % 7 == 0"),
        ("the numbers whose digits have an even sum", "sum(map(int, str(x))) % 2 == 0"),
        ("the numbers that contain the digit {k}", "str({k}) in str(x)"),
        ("the divisors of n", "n % x == 0"),
        ("the squares (1, 4, 9, …)", "round(x**0.5) ** 2 == x"),
    ),
    (
        ("adds {k} to each of them", "x + {k}"),
        ("multiplies each of them by {k}", "x * {k}"),
        ("replaces each of them by the sum of its digits", "sum(map(int, str(x)))"),
    ),
    (
        ("returns their sum", "sum(ys)"),
        ("returns how many different results there are", "len(set(ys))"),
        ("returns the largest result, or 0 if there is none", "max(ys, default=0)"),
    ),
)
VOCABULARY = ("apple", "river", "on", "umbrella", "tree", "a", "stone", "ice", "banana", "of", "under", "green", "echo")
TESTS = 8


def code(n: int, seed: int) -> list[dict[str, str]]:
    """Functions that keep some numbers or words, change each, and put the results together; with tests whose answers
    a solution has computed."""
    rng = random.Random(f"code-{seed}")
    rows: list[dict[str, str]] = []
    while len(rows) < n:
        family, argument, takes, over = rng.choice(
            (
                (LISTS, "xs", "takes a list of whole numbers xs", "xs"),
                (TEXTS, "text", "takes a text of words in small letters with spaces between them", "text.split()"),
                (NUMBERS, "n", "looks at the whole numbers from 1 to n", "range(1, n + 1)"),
            )
        )
        k = rng.randint(2, 5)
        (keep, kept), (change, changed), (end, ended) = (rng.choice(part) for part in family)
        solution = f"def f({argument}):\n    ys = [{changed} for x in {over} if {kept}]\n    return {ended}\n"
        solution = solution.format(k=k)
        names: dict[str, Any] = {}
        exec(solution, names)  # our own text
        inputs = [_input(rng, argument, size) for size in range(TESTS)]
        tests = [(value, names["f"](value)) for value in inputs]
        if len({repr(result) for _, result in tests}) < 4:
            continue  # too easily passed by chance
        value, result = tests[-1]
        question = (
            f"Write a Python function f({argument}) that {takes}, keeps {keep}, {change}, and {end}.".format(k=k)
            + f" For example, f({value!r}) is {result!r}."
        )
        lines = [f"assert f({value!r}) == {result!r}" for value, result in tests]
        rows.append({"question": question, "tests": "\n".join(lines), "solution": solution})
    return rows


def _input(rng: random.Random, argument: str, size: int) -> list[int] | str | int:
    """An argument: the empty one first, then larger ones."""
    if argument == "xs":
        return [rng.randint(-12, 20) for _ in range(size)]
    if argument == "text":
        return " ".join(rng.choice(VOCABULARY) for _ in range(size))
    return rng.randint(6 * size, 10 * size) if size else 0
