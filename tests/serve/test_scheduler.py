"""Many requests on one engine: fair, bounded, and nothing left behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from entropix.search.seeds import derived
from entropix.serve.process import Background
from helpers.clients import MESSAGES, client_of, until
from helpers.engines import Slow

Serving = Callable[..., Background]
CHAT = {"model": "scripted", "messages": MESSAGES}


def alone(seed: int, tokens: int, prompt: str = "hi", **options: Any) -> str:
    text: str = Model(ScriptedEngine(hashed(3.0))).generate(prompt, seed=seed, max_tokens=tokens, **options).text
    return text


def post(server: Background, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/chat/completions", json={**CHAT, **body}, timeout=60)


def test_requests_join_and_leave_the_running_batch(serving: Serving) -> None:
    engine = Slow()
    server = serving(engine)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        long = pool.submit(post, server, seed=1, max_tokens=200)
        until(lambda: len(engine.rows) > 5)
        short = [pool.submit(post, server, seed=s, max_tokens=30) for s in (2, 3)]
        texts = [f.result().json()["choices"][0]["message"]["content"] for f in (*short, long)]
    assert texts == [alone(2, 30), alone(3, 30), alone(1, 200)]
    assert max(engine.rows) == 3
    assert engine.rows[-1] == 1


def test_one_request_with_many_choices_does_not_hold_up_another(serving: Serving) -> None:
    engine = Slow()
    server = serving(engine)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        greedy = pool.submit(post, server, seed=7, n=20, max_tokens=100)
        until(lambda: len(engine.rows) > 5)
        began = len(engine.rows)
        modest = post(server, seed=2, max_tokens=5)
        steps = len(engine.rows) - began
        choices = greedy.result().json()["choices"]
    assert modest.json()["choices"][0]["message"]["content"] == alone(2, 5)
    assert steps < 50, "it waited for a choice of the other request to end"
    seeds = [7, *(derived(7, n, 0) for n in range(1, 20))]
    assert [c["message"]["content"] for c in choices] == [alone(s, 100) for s in seeds]
    assert server.server.scheduler.accounts.preempted >= 1
    assert max(engine.rows) <= 8


def test_two_requests_with_many_choices_share_the_places(serving: Serving) -> None:
    engine = Slow()
    server = serving(engine)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, server, seed=1, n=16, max_tokens=60)
        until(lambda: len(engine.rows) > 5)
        second = pool.submit(post, server, seed=2, n=16, max_tokens=60)
        until(lambda: [len(t.running) for t in server.server.scheduler._tickets] == [4, 4])
        assert {len(f.result().json()["choices"]) for f in (first, second)} == {16}


def test_a_full_queue_is_429_with_a_time_to_come_back(serving: Serving) -> None:
    server = serving(Slow(), places=1, queue=1)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [pool.submit(post, server, max_tokens=150, seed=s) for s in (1, 2)]
        until(lambda: server.server.scheduler._in_flight == 2)
        refused = post(server)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert [f.result().status_code for f in running] == [200, 200]
    assert post(server, max_tokens=2).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_sequences_at_once(serving: Serving, stream: bool) -> None:
    engine = Slow()
    server = serving(engine, kept=0)

    async def go_away() -> None:
        async with httpx.AsyncClient() as client:
            body = {**CHAT, "n": 3, "max_tokens": 3000, "stream": stream}
            asking = asyncio.create_task(client.post(f"{server.url}/v1/chat/completions", json=body, timeout=60))
            while len(engine.rows) < 10:
                await asyncio.sleep(0.01)
            asking.cancel()

    asyncio.run(go_away())
    until(lambda: engine.cells_used() == 0, 2)
    assert server.server.scheduler.accounts.disconnects == 1
    assert len(engine.rows) < 1000


def test_a_client_that_goes_away_amid_its_long_prompt_frees_it_at_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entropix.decoding.batch.CHUNK", 10)
    engine = Slow(pause=0.05)
    server = serving(engine, kept=0)
    body = {**CHAT, "messages": [{"role": "user", "content": "a" * 1000}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=0.4)
    until(lambda: engine.cells_used() == 0, 2)
    assert engine.forwarded < 500


def test_a_client_that_goes_away_while_it_waits_leaves_the_line(serving: Serving) -> None:
    engine = Slow()
    server = serving(engine, places=1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, max_tokens=100, seed=1)
        until(lambda: len(engine.rows) > 2)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json=CHAT, timeout=0.1)
        until(lambda: server.server.scheduler._in_flight == 1, 2)
        assert running.result().status_code == 200


def test_the_time_limit_cuts_an_answer_and_says_so(serving: Serving) -> None:
    server = serving(Slow(), time_limit=0.4)
    answer = post(server, max_tokens=3000, seed=1).json()
    result = answer["entropix"]["choices"][0]["result"]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert alone(1, 300).startswith(answer["choices"][0]["message"]["content"][:-1])
    assert 10 < answer["usage"]["completion_tokens"] < 200
    assert result["finish_reason"] == "cancelled"
    assert any("time limit of 0.4 s" in note for note in result["notes"])


def test_whoever_waits_out_the_time_limit_is_told_to_come_back(serving: Serving) -> None:
    server = serving(Slow(), places=1, time_limit=0.4)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(post, server, max_tokens=3000, seed=1)
        until(lambda: server.server.scheduler._in_flight == 1)
        time.sleep(0.05)
        answers = [post(server, max_tokens=3000, seed=2)]
    # the first one's place is free when the second one's time is up, or it never had a place
    assert answers[0].status_code in (200, 503)
    if answers[0].status_code == 503:
        assert answers[0].json()["error"]["code"] == "timeout"


def test_every_choice_of_a_request_that_is_cut_is_there(serving: Serving) -> None:
    server = serving(Slow(), time_limit=0.4)
    choices = post(server, n=20, max_tokens=3000).json()["choices"]
    assert [c["index"] for c in choices] == list(range(20))
    assert choices[-1]["message"]["content"] == ""


def test_a_long_wait_is_kept_alive_by_comments(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entropix.serve.streaming.KEEP_ALIVE_EVERY", 0.05)
    server = serving(Slow(pause=0.2))
    body = {**CHAT, "max_tokens": 3, "stream": True}
    text = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).text
    assert ": keep-alive\n\n" in text
    assert text.endswith("data: [DONE]\n\n")
    assert [c.choices[0].finish_reason for c in client_of(server).chat.completions.create(**{**body, "seed": 1})][-1]


def test_a_search_waits_for_all_its_places_and_answers_as_alone(serving: Serving) -> None:
    engine = Slow()
    server = serving(engine, places=4)
    spec = "tree:max_sequences=4,trigger=random,rate=0.2+vote:answer=text"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        others = [pool.submit(post, server, seed=s, max_tokens=30) for s in (1, 2)]
        until(lambda: len(engine.rows) > 2)
        search = pool.submit(post, server, seed=3, max_tokens=20, entropix={"search": spec, "steps": False})
        later = pool.submit(post, server, seed=4, max_tokens=5)
        answer = search.result().json()
        texts = [f.result().json()["choices"][0]["message"]["content"] for f in (*others, later)]
    assert answer["choices"][0]["message"]["content"] == alone(3, 20, search=spec)
    assert texts == [alone(1, 30), alone(2, 30), alone(4, 5)]
    assert max(engine.rows) <= 4


def test_too_few_cells_make_requests_wait_and_not_fail(serving: Serving) -> None:
    server = serving(Slow(pause=0.001, cells=120, context=120))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(post, server, seed=s, max_tokens=40) for s in range(6)]
        texts = [f.result().json()["choices"][0]["message"]["content"] for f in answers]
    assert texts == [alone(s, 40) for s in range(6)]


def test_a_stream_of_a_server_that_shuts_down_ends_with_an_error(serving: Serving) -> None:
    server = serving(Slow())
    stream = client_of(server).chat.completions.create(**CHAT, max_tokens=3000, stream=True)
    next(iter(stream))
    server.server.scheduler.drain(0.1)
    with pytest.raises(openai.APIError, match="shutting down"):
        list(stream)
    assert httpx.get(f"{server.url}/ready").status_code == 503
    assert post(server).status_code == 503
