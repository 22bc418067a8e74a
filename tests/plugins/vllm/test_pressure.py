"""Many different requests at once, some of which leave, in a cache that is too small for them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import openai

from .server import Server
from .traffic import PROMPTS, Answer, Ask, ask, one_by_one, running, stream

REQUESTS, SECONDS = 200, 15.0
POLICIES: tuple[dict[str, Any] | None, ...] = (
    None,  # the operator's default
    {"entropix": "entropix", "entropix_inject": " Hm 🤔,", "entropix_inject_cooldown": 5, "entropix_inject_max": 4},
    {"entropix": "entropix:inject=,temperature=1.1"},
    {"entropix": "sample:temperature=1.2"},
    {"entropix": "edt", "entropix_temperature": 1.1},
    {"entropix": "top-n-sigma:temperature=1.4"},
    {"entropix": "dynatemp"},
    {"entropix": "entropix-2024"},
    {"entropix": "entropix:control=random,inject_cooldown=4"},
    {"entropix": "entropix:control=shuffled,inject=So,inject_cooldown=7"},
    {"entropix": "greedy"},
)
EXTRAS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"logprobs": True, "top_logprobs": 2},
    {"n": 3},
    {"stop": [".", "\n\n"]},
    {"presence_penalty": 0.8, "extra_body": {"repetition_penalty": 1.2}},
    {"extra_body": {"structured_outputs": {"regex": "[A-Z][a-z]{2,9}( [a-z]{2,9}){3,9}[.]"}}},
    {"extra_body": {"min_tokens": 4, "ignore_eos": True}},
    {"logit_bias": {"29": -100}},
)


def ours(rng: random.Random, number: int) -> Ask:
    """A request under some policy, with a seed of its own."""
    more = {**rng.choice(EXTRAS), "seed": 10_000 + 10 * number}
    policy = rng.choice(POLICIES)
    if policy is None and more.get("n", 1) == 1:
        more["temperature"] = 0  # see COLD in test_injection
    elif policy is None:
        policy = POLICIES[1]
    prompt = rng.choice(PROMPTS) + " " * rng.randrange(2)
    chat = "top_logprobs" in more or rng.random() < 0.7
    return Ask(prompt, policy, rng.randrange(4, 48), chat, more)


def theirs(rng: random.Random) -> Ask:
    """A request for vLLM's own sampling. Without a seed: on a CPU, vLLM ends where such a one is pre-empted."""
    heat = rng.choice((0.0, 1.0))
    return Ask(rng.choice(PROMPTS), {"entropix": "off"}, rng.randrange(4, 48), more={"temperature": heat})


def test_who_finishes_got_the_answer_that_the_request_gets_alone(pressed: Server) -> None:
    rng = random.Random(6)
    before = pressed.metric("vllm:num_preemptions_total")
    asks = [theirs(rng) if rng.random() < 0.2 else ours(rng, number) for number in range(REQUESTS)]
    leaving = {n: rng.randrange(1, 8) for n, a in enumerate(asks) if a.more.get("n", 1) == 1 and rng.random() < 0.25}
    arrivals = [rng.uniform(0, SECONDS) for _ in asks]

    async def one(client: openai.AsyncOpenAI, number: int) -> list[Answer]:
        await asyncio.sleep(arrivals[number])
        if number in leaving:
            await stream(client, asks[number], leave_after=leaving[number])
            return []
        return await ask(client, asks[number])

    async def run(client: openai.AsyncOpenAI) -> list[list[Answer]]:
        return await asyncio.gather(*(one(client, number) for number in range(REQUESTS)))

    crowded = running(pressed, run)
    assert pressed.alive()
    assert pressed.metric("vllm:num_preemptions_total") > before, "the cache was not too small"
    finished = [n for n, answers in enumerate(crowded) if answers and "seed" in asks[n].more]
    assert len(finished) > 80

    async def again(client: openai.AsyncOpenAI) -> dict[int, list[Answer]]:
        places = asyncio.Semaphore(8)  # so few that everyone has room

        async def one_more(number: int) -> list[Answer]:
            async with places:
                return await ask(client, asks[number])

        return dict(zip(finished, await asyncio.gather(*map(one_more, finished)), strict=True))

    crowd = pressed.metric("vllm:num_preemptions_total")
    calm = running(pressed, again)
    assert pressed.metric("vllm:num_preemptions_total") == crowd
    different = {n: (asks[n], crowded[n], calm[n]) for n in finished if not same(crowded[n], calm[n])}
    assert not different, f"{len(different)} of {len(finished)}: {next(iter(different.values()))}"
    alone = [n for n in finished if asks[n].more.get("n", 1) == 1][:12]
    assert [a.tokens for a in one_by_one(pressed, [asks[n] for n in alone])] == [calm[n][0].tokens for n in alone]


def test_afterwards_nobody_is_left(pressed: Server) -> None:
    one_by_one(pressed, [Ask(PROMPTS[0], {"entropix": "off"}, 2)])
    assert pressed.metric("vllm:num_requests_running") == 0
    assert pressed.metric("vllm:num_requests_waiting") == 0
    assert pressed.metric("vllm:kv_cache_usage_perc") == 0


def same(some: list[Answer], others: list[Answer]) -> bool:
    return [(a.tokens, a.text, a.finish) for a in some] == [(a.tokens, a.text, a.finish) for a in others]
