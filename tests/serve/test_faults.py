"""A request's failure touches no other, and a server with a broken engine says so and comes back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import random
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from entropix.serve import scheduler as scheduling
from entropix.serve.process import Background
from helpers.clients import until
from helpers.engines import Fragile

Serving = Callable[..., Background]


def body(seed: int, text: str = "hi", **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "scripted", "messages": messages, "seed": seed, "max_tokens": 12, **options}


def alone(seed: int, text: str = "hi", tokens: int = 12) -> str:
    answer: str = Model(ScriptedEngine(hashed(3.0))).generate(text, seed=seed, max_tokens=tokens).text
    return answer


def post(server: Background, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def test_a_request_that_kills_the_forward_fails_alone(serving: Serving) -> None:
    engine = Fragile()
    server = serving(engine)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        healthy = [pool.submit(post, server, body(s, f"hello {s}")) for s in range(7)]
        poisoned = pool.submit(post, server, body(1, "POISON"))
        texts = [f.result().json()["choices"][0]["message"]["content"] for f in healthy]
    assert texts == [alone(s, f"hello {s}") for s in range(7)]
    assert poisoned.result().status_code == 500
    error = poisoned.result().json()["error"]
    assert error["type"] == "server_error"
    assert "this test fails" not in error["message"]
    assert httpx.get(f"{server.url}/ready").status_code == 200
    assert server.server.scheduler.accounts.faults["request"] == 1


def test_a_stream_in_the_same_batch_goes_on_as_if_nothing_had_happened(serving: Serving) -> None:
    server = serving(Fragile())
    with httpx.stream(
        "POST", f"{server.url}/v1/chat/completions", json=body(5, max_tokens=400, stream=True), timeout=60
    ) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert post(server, body(1, "POISON")).status_code == 500
        text = "\n".join(lines)
    assert '"finish_reason": "length"' in text
    assert post(server, body(5, max_tokens=400)).json()["choices"][0]["message"]["content"] == alone(5, tokens=400)


def test_a_choice_that_fails_fails_its_request_and_frees_the_others(serving: Serving) -> None:
    engine = Fragile(poison=b"\x01\x01")  # no prompt, but some answer holds it
    server = serving(engine, kept=0)
    answer = post(server, body(3, logit_bias={"1": 100}, n=4))
    assert answer.status_code == 500
    until(lambda: engine.cells_used() == 0)


def test_a_failure_that_passes_is_not_seen(serving: Serving) -> None:
    engine = Fragile()
    server = serving(engine)
    engine.stumbles = 1
    assert post(server, body(2)).json()["choices"][0]["message"]["content"] == alone(2)
    assert engine.failures == 1
    assert server.server.scheduler.accounts.faults["transient"] == 1


def test_a_broken_engine_is_said_and_the_server_comes_back(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "PROBE_EVERY", 0.05)
    engine = Fragile()
    server = serving(engine)
    engine.dead = True
    failed = post(server, body(1))
    assert failed.status_code == 503
    assert failed.json()["error"]["code"] == "engine_failed"
    ready = httpx.get(f"{server.url}/ready")
    assert ready.status_code == 503
    assert "engine" in ready.json()["error"]["message"]
    assert httpx.get(f"{server.url}/health").status_code == 200
    refused = post(server, body(1))
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    engine.dead = False
    until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
    assert post(server, body(2)).json()["choices"][0]["message"]["content"] == alone(2)


PICK = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"]}
MUST_CALL: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": name, "parameters": PICK}} for name in ("one", "two")],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tokens": 200,
}


def calls_of(answer: httpx.Response) -> list[tuple[str, str]]:
    """The calls of an answer, without their ids, which are drawn."""
    calls = answer.json()["choices"][0]["message"].get("tool_calls", []) if answer.status_code == 200 else []
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


def test_500_requests_of_which_many_go_wrong_leave_the_others_as_they_would_be_alone(serving: Serving) -> None:
    engine = Fragile()
    server = serving(engine, queue=600)
    choose = random.Random(0)
    kinds = ["poison"] + ["malformed"] * 50 + ["leaves"] * 100 + ["healthy"] * 349
    choose.shuffle(kinds)
    expected = [alone(n % 20, f"question {n % 7}") for n in range(140)]
    called = [calls_of(post(server, {**body(seed, "call"), **MUST_CALL})) for seed in range(20)]
    assert all(called)

    async def leave(client: httpx.AsyncClient, url: str, request: dict[str, Any]) -> None:
        long = {**request, "max_tokens": 2000, "n": choose.choice([1, 3])}
        if choose.random() < 0.5:
            async with client.stream("POST", url, json={**long, "stream": True}) as answer:
                lines = answer.aiter_lines()
                for _ in range(choose.randrange(1, 40)):
                    await anext(lines)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.post(url, json=long), choose.uniform(0.01, 0.2))

    async def one(client: httpx.AsyncClient, n: int, kind: str) -> tuple[str, int]:
        request = body(n % 20, "POISON" if kind == "poison" else f"question {n % 7}")
        url = f"{server.url}/v1/chat/completions"
        if kind == "malformed":
            wrong = choose.choice([{"messages": 3}, {"model": "x"}, {"max_tokens": "many"}, {"nonsense": 1}])
            return kind, (await client.post(url, json={**request, **wrong})).status_code
        if kind == "leaves":
            await leave(client, url, request)
            return kind, 0
        if kind == "healthy" and n % 3 == 1:
            answer = await client.post(url, json={**body(n % 20, "call"), **MUST_CALL})
            return ("right" if calls_of(answer) == called[n % 20] else "wrong"), answer.status_code
        if kind == "healthy" and n % 3 == 2:
            asked = {"model": "scripted", "input": f"question {n % 7}", "seed": n % 20, "max_output_tokens": 12}
            answer = await client.post(f"{server.url}/v1/responses", json=asked)
            text = answer.json()["output"][0]["content"][0]["text"] if answer.status_code == 200 else ""
            return ("right" if text == expected[n % 140] else "wrong"), answer.status_code
        answer = await client.post(url, json=request)
        if kind == "healthy" and answer.status_code == 200:
            same = answer.json()["choices"][0]["message"]["content"] == expected[n % 140]
            return ("right" if same else "wrong"), 200
        return kind, answer.status_code

    async def some(client: httpx.AsyncClient, jobs: Iterator[tuple[int, str]]) -> list[tuple[str, int]]:
        return [await one(client, n, kind) for n, kind in jobs]

    async def everybody() -> list[tuple[str, int]]:
        jobs = enumerate(kinds)
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as client:
            done = await asyncio.gather(*(some(client, jobs) for _ in range(48)))
        return [outcome for outcomes in done for outcome in outcomes]

    outcomes = asyncio.run(everybody())
    assert outcomes.count(("right", 200)) == 349
    assert outcomes.count(("poison", 500)) == 1
    assert all(status in (400, 404) for kind, status in outcomes if kind == "malformed")
    scheduler = server.server.scheduler
    until(lambda: scheduler._in_flight == 0)
    assert scheduler.accounts.disconnects >= 50, "too few of them left in the middle"
    assert scheduler.accounts.faults == {"request": 1}
    until(lambda: len(engine.live) == len(scheduler.prefixes))
    assert httpx.get(f"{server.url}/ready").status_code == 200
    assert not scheduler._owners
    assert not scheduler._decoder.jobs


def test_memory_is_flat_over_many_requests(serving: Serving) -> None:
    server = serving(ScriptedEngine(hashed(3.0), sequences=24), places=4)
    with httpx.Client(base_url=server.url, timeout=30) as client:

        def some(n: int) -> None:
            for seed in range(n):
                request = body(seed, f"question {seed % 5}", stream=bool(seed % 2))
                client.post("/v1/chat/completions", json=request)
                client.post("/v1/chat/completions", json={**request, "max_tokens": "many"})
                with client.stream("POST", "/v1/chat/completions", json={**request, "max_tokens": 400, "stream": True}):
                    pass  # and away
            until(lambda: server.server.scheduler._in_flight == 0)

        some(12)
        gc.collect()
        tracemalloc.start()
        sizes = []
        for _ in range(4):
            some(12)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    grown = [after - before for before, after in pairwise(sizes)]
    assert min(grown) < 12_000, "bytes stay behind after each request"


def test_d23_logits_that_are_no_numbers_fail_their_own_request_and_no_other(serving: Serving) -> None:
    works = hashed(3.0)

    def script(tokens: tuple[int, ...]) -> Any:
        logits = works(tokens)
        if b"POISON" in bytes(t % 256 for t in tokens):
            logits[7] = float("nan")
        return logits

    server = serving(ScriptedEngine(script, sequences=24))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        healthy = [pool.submit(post, server, body(s, f"hello {s}")) for s in range(5)]
        poisoned = [pool.submit(post, server, body(1, "POISON", **more)) for more in ({}, {"n": 2}, {"stream": True})]
        texts = [f.result().json()["choices"][0]["message"]["content"] for f in healthy]
    assert texts == [alone(s, f"hello {s}") for s in range(5)]
    for answer in poisoned[:2]:
        assert answer.result().status_code == 500
        assert "computes NaN or infinite logits" in answer.result().json()["error"]["message"]
    assert "computes NaN or infinite logits" in poisoned[2].result().text
    assert httpx.get(f"{server.url}/ready").status_code == 200


def test_b10_a_stop_text_that_is_a_control_token_stops(serving: Serving) -> None:
    server = serving(ScriptedEngine(hashed(3.0), sequences=24))
    given = body(1, logit_bias={"258": 100}, stop="<user>", entropix={})
    choice = post(server, given).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


def test_b8_without_a_seed_every_prompt_and_choice_draws_its_own(serving: Serving) -> None:
    server = serving(ScriptedEngine(lambda _: np.zeros(260), sequences=24))
    given = {"model": "scripted", "prompt": ["same"] * 4, "n": 2, "max_tokens": 6, "entropix": {"policy": "sample"}}

    def texts(**more: Any) -> list[str]:
        answer = httpx.post(f"{server.url}/v1/completions", json={**given, **more}, timeout=60).json()
        return [choice["text"] for choice in answer["choices"]]

    assert len(set(texts())) == 8
    assert len(set(texts(seed=3))) == 2, "a seed that is given holds for each prompt"
    assert texts(seed=3) == texts(seed=3)
