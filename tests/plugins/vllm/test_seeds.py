"""A seed makes the same answer, alone and among others; without one answers differ."""

from __future__ import annotations

import pytest

from .server import Server
from .traffic import PROMPTS, Ask, choices, one_by_one, together

POLICIES = (
    {"entropix": "entropix"},
    {"entropix": "entropix:inject=", "entropix_temperature": 1.2},
    {"entropix": "sample:temperature=1.3,top_p=0.98"},
    {"entropix": "edt", "entropix_temperature": 1.0},
    {"entropix": "top-n-sigma:temperature=1.5"},
    {"entropix": "entropix-2024"},
    {"entropix": "dynatemp"},
    {"entropix": "entropix:control=random"},
)
SEEDED = [
    Ask(PROMPTS[i % len(PROMPTS)], POLICIES[(i + i // 8) % len(POLICIES)], more={"seed": 1000 + i}) for i in range(32)
]


def test_a_seed_gives_the_same_answer_alone_and_in_a_batch_of_32(server: Server) -> None:
    batch = together(server, SEEDED)
    assert together(server, SEEDED[::-1])[::-1] == batch
    assert one_by_one(server, SEEDED[:10]) == batch[:10]
    assert len({answer.tokens for answer in batch}) == len(batch)


def test_without_a_seed_answers_differ(server: Server) -> None:
    hot = Ask(PROMPTS[0], {"entropix": "sample:temperature=1.3,top_p=1.0"})
    assert len({answer.tokens for answer in together(server, [hot] * 4)}) == 4


@pytest.mark.parametrize("seed", [None, 11])
def test_n_answers_differ_and_with_a_seed_are_the_same_again(server: Server, seed: int | None) -> None:
    what = Ask(PROMPTS[1], {"entropix": "sample:temperature=1.2"}, more={"n": 4, "seed": seed})
    first, second = choices(server, what), choices(server, what)
    assert len({answer.tokens for answer in first}) == 4
    assert (first == second) == (seed is not None)
    if seed is not None:  # vLLM gives the i-th answer the i-th seed after the request's
        alone = [Ask(PROMPTS[1], {"entropix": "sample:temperature=1.2"}, more={"seed": seed + i}) for i in range(4)]
        assert together(server, alone) == first


def test_vllms_own_sampling_parameters_change_nothing_under_a_policy(server: Server) -> None:
    """The policy samples; what is left for vLLM's sampler is one token."""
    policy = {"entropix": "sample:temperature=0.9"}
    given = (
        {},
        {"temperature": 0},
        {"temperature": 2.0},
        {"top_p": 0.1},
        {"extra_body": {"top_k": 1}},
        {"extra_body": {"min_p": 0.9}},
    )
    answers = together(server, [Ask(PROMPTS[3], policy, more={"seed": 3, **more}) for more in given])
    assert len(set(answers)) == 1


def test_a_policys_parameters_may_stand_in_the_spec_or_beside_it(server: Server) -> None:
    ways = (
        {"entropix": "sample:temperature=1.1,top_k=40"},
        {"entropix": "sample", "entropix_temperature": 1.1, "entropix_top_k": 40},
    )
    answers = together(server, [Ask(PROMPTS[4], way, more={"seed": 8}) for way in ways])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("seed", [0, 2**63 - 1, -(2**63)])
def test_every_seed_that_vllm_takes_is_taken(server: Server, seed: int) -> None:
    what = Ask(PROMPTS[5], {"entropix": "sample:temperature=1.2"}, more={"seed": seed})
    once, again = together(server, [what, what])
    assert once == again
