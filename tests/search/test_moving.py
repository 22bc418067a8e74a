"""Ballots that move between questions: in any batch and any order of finishing the same ones are drawn."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from entropix.search.moving import Question, draws
from entropix.search.stopping import standing

VOTES = st.lists(st.text("ABC", min_size=12, max_size=12), min_size=1, max_size=6)
"""Of each question the answers that its ballots would give, in order."""


def question(answers: str, running: int = 0) -> Question:
    leads = [standing(list(answers[:n]), ["end"] * n, 1).lead for n in range(1, len(answers) + 1)]
    return Question(leads, running)


def one_at_a_time(votes: list[str], budget: int, most: int, first: int) -> list[int]:
    """The rule as it is told."""
    cast = [0] * len(votes)
    for n in range(len(votes)):
        while cast[n] < min(first, most) and sum(cast) < budget:
            cast[n] += 1
    while sum(cast) < budget:
        now = [question(v[:c]) for v, c in zip(votes, cast, strict=True)]
        free = [n for n, q in enumerate(now) if cast[n] < most and q.lead(cast[n]) <= most - cast[n]]
        if not free:
            break
        cast[min(free, key=lambda n: (now[n].lead(cast[n]), cast[n], n))] += 1
    return cast


@given(
    votes=VOTES,
    budget=st.integers(0, 60),
    most=st.integers(1, 12),
    first=st.integers(1, 3),
    slots=st.integers(1, 20),
    seed=st.integers(0, 2**32),
)
def test_the_same_ballots_are_drawn_in_any_batch_and_any_order_of_finishing(
    votes: list[str], budget: int, most: int, first: int, slots: int, seed: int
) -> None:
    rng = random.Random(seed)
    ended, running = [0] * len(votes), [0] * len(votes)
    finished_early: list[set[int]] = [set() for _ in votes]  # numbers of ballots that have ended, not always in order
    issued = [0] * len(votes)
    while True:
        now = [question(votes[n][: ended[n]], running[n]) for n in range(len(votes))]
        for n in draws(now, budget, most, first)[: slots - sum(running)]:
            running[n] += 1
            issued[n] += 1
        if not any(running):
            break
        n = rng.choice([n for n, r in enumerate(running) if r])
        number = rng.choice([k for k in range(issued[n]) if k >= ended[n] and k not in finished_early[n]])
        finished_early[n].add(number)
        while ended[n] in finished_early[n]:
            ended[n] += 1
        running[n] = issued[n] - ended[n]
    assert issued == one_at_a_time(votes, budget, most, first)
    assert sum(issued) <= budget
    assert max(issued) <= most


def test_a_question_that_ran_ahead_does_not_take_the_turn_of_one_that_waited() -> None:
    """Ballots 8 and 9 of the first were certain to be drawn while the second's were out. Where the rule stands, the
    second is the less decided one."""
    ahead, waited = [1, 2, 3, 4, 5, 4, 5, 4, 3], [1, 2, 3, 4, 5, 4, 3, 2, 3]
    assert draws([Question(ahead), Question(waited)], budget=19, most=12, first=1) == [1]


def test_an_unsure_question_gets_the_ballots_of_a_sure_one() -> None:
    assert one_at_a_time(["AAAAAAAA", "ABABABAB"], 8, 8, 2) == [2, 6]


def test_several_questions_are_drawn_for_at_once_where_the_rule_comes_to_all_of_them() -> None:
    three = [Question([1, 2]), Question([1, 0]), Question([1, 0, 1])]
    assert draws(three, budget=30, most=8) == [1, 2, 0]
    assert draws(three, budget=8, most=8) == [1]
    assert draws([Question([1], 1), *three[1:]], budget=30, most=8) == [1, 2]
    assert draws([Question([1], 1), *three[1:]], budget=9, most=8) == []


def test_nothing_is_drawn_where_the_winner_cannot_be_overtaken_or_the_budget_is_spent() -> None:
    assert draws([Question([1, 2, 3, 4, 5, 6])], budget=30, most=10) == []
    assert draws([Question([1, 2, 3, 4, 5])], budget=30, most=10) == [0]
    assert draws([Question([1, 0])], budget=2, most=10) == []
    assert draws([Question(), Question()], budget=3, most=10) == [0, 0, 1]
