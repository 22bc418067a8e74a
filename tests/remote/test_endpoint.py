"""Votes and trees over endpoints: fake ones, and our own server over a scripted model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import CapabilityError, ParameterError, PromptError
from entropix.model import Model
from entropix.remote import Endpoint, connect
from entropix.serve.process import Background
from entropix.serve.settings import Settings
from entropix.types import Result
from helpers.endpoint import Exchange, Fake, content

Asking = Callable[..., tuple[Fake, Endpoint]]


@pytest.fixture(scope="module")
def ours() -> Iterator[Background]:
    with Background(Model(ScriptedEngine(hashed(3.0), sequences=24)), Settings(port=0, places=8)) as server:
        yield server


def total(result: Result) -> int:
    """Tokens of all texts together."""
    return result.ledger.sampled + result.ledger.abandoned


def until(fact: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


# our own server


def test_a_text_of_our_server_is_what_the_engine_says_with_signals_of_its_leading_tokens(ours: Background) -> None:
    with Model(ScriptedEngine(hashed(3.0))) as model:
        here = model.generate("hello", policy="greedy", max_tokens=24)
    there = connect(ours.url).generate("hello", temperature=0, max_tokens=24)
    assert there.text == here.text
    assert "".join(step.text for step in there.steps) == there.text
    assert [s.logprob for s in there.steps] == pytest.approx([s.logprob for s in here.steps], rel=1e-4)
    assert all(s.truncated == 20 for s in there.steps)
    for far, near in zip(there.steps, here.steps, strict=True):
        assert far.entropy <= near.entropy + 1e-4
    assert there.finish_reason == "length"
    assert there.prompt_tokens == here.prompt_tokens
    assert any("20 likeliest" in note for note in there.notes)


def test_an_endpoints_text_has_the_engines_spans_fields_and_uncertainties() -> None:
    def engine() -> ScriptedEngine:
        return ScriptedEngine(saying('{"who": "Anna", "years": [1887]}', certainty=6), sequences=8)

    with Model(engine()) as model:
        here = model.generate("hello", policy="greedy", max_tokens=60)
    with Background(Model(engine()), Settings(port=0, places=4)) as server:
        there = connect(server.url).generate("hello", temperature=0, max_tokens=60)
    assert [(s.text, s.start, s.first) for s in there.spans] == [("Anna", 9, 9), ("1887", 26, 26)]
    assert [s.probability for s in there.spans] == pytest.approx([s.probability for s in here.spans], rel=1e-4)
    assert there.fields.record(lambda f: f.value) == {"who": "Anna", "years": [1887]}
    assert there.fields.who.confidence == pytest.approx(here.fields.who.confidence, rel=1e-4)
    # but for the token that ends the answer, which an endpoint does not send
    said = [step.logprob for step in here.steps[:-1] if step.logprob is not None]
    assert there.uncertainties["length"] == len(said) == here.uncertainties["length"] - 1
    assert there.uncertainties["msp"] == pytest.approx(-sum(said), rel=1e-4)


def test_samples_have_seeds_of_their_own_and_a_seed_gives_the_same_vote(ours: Background) -> None:
    endpoint = connect(ours.url)
    options: dict[str, Any] = {"search": "vote:n=4,answer=text,stop=none", "max_tokens": 12, "temperature": 1.0}
    first, again = (endpoint.generate("hello", seed=3, **options) for _ in range(2))
    texts = [b.text for b in first.search.branches]
    assert len(set(texts)) == 4
    assert texts == [b.text for b in again.search.branches]
    assert total(first) == 48
    assert first.search.ballots == 4


def test_a_fork_begins_with_the_text_so_far_and_another_token(ours: Background) -> None:
    search = "tree:trigger=entropy,threshold=0.5,ratio=0,max_sequences=3+vote:answer=text,stop=none"
    result = connect(ours.url).generate("hello", raw=True, temperature=0, max_tokens=16, search=search)
    forks = [b for b in result.search.branches if b.parent is not None]
    assert len(forks) == 2
    by_number = {b.number: b for b in result.search.branches}
    for fork in forks:
        parent = by_number[fork.parent]
        assert fork.steps[0].text != parent.steps[fork.origin - parent.origin].text
        assert fork.origin + len(fork.steps) <= 16
    # greedy between forks: a fork's text goes on as the model goes on from its beginning
    one = forks[0]
    with Model(ScriptedEngine(hashed(3.0))) as model:
        begun = "hello" + "".join(s.text for s in by_number[0].steps[: one.origin]) + one.steps[0].text
        here = model.generate(begun, raw=True, policy="greedy", max_tokens=len(one.steps) - 1)
    assert one.text == one.steps[0].text + here.text


def letters(tokens: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """A model that says nothing but letters, so that a text can be forked anywhere."""
    logits = np.full(260, -50.0)
    logits[97:105] = hashed(1.0)(tokens)[97:105]
    return logits


def test_a_chat_of_our_own_server_is_continued_by_a_tree() -> None:
    with Background(Model(ScriptedEngine(letters, sequences=24)), Settings(port=0, places=8)) as server:
        search = "tree:trigger=random,rate=1,max_sequences=3,ratio=0+vote:answer=text"
        result = connect(server.url).generate("hello", search=search, max_tokens=6)
    assert result.search is not None
    trunk, *forked = result.search.branches
    assert len(forked) >= 2
    assert all(branch.parent == trunk.number and branch.origin < 6 for branch in forked)


# fake endpoints


def answers(*texts: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.say(list(texts[exchange.n % len(texts)]))


def test_the_most_frequent_answer_wins_and_the_ledger_counts_every_token(asking: Asking) -> None:
    _, endpoint = asking(answers("7.", "8.", "7."), concurrency=1)
    result = endpoint.generate("?", search="vote:n=3,answer=number,stop=none")
    assert (result.text, result.search.answer, result.confidence) == ("7.", "7", pytest.approx(2 / 3))
    assert (result.ledger.sampled, result.ledger.abandoned, result.ledger.prompt) == (2, 4, 30)


def test_a_decided_vote_closes_the_requests_that_are_open_and_writes_their_tokens_off(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        if exchange.n < 3:
            until(lambda: len(server.bodies) == 5)
            exchange.say(["7"])
        else:
            exchange.say(["8"] * 2000, pause=0.01)

    server, endpoint = asking(behaviour, concurrency=5)
    began = time.monotonic()
    result = endpoint.generate("?", search="vote:n=5,answer=number", max_tokens=2000)
    assert time.monotonic() - began < 15, "it waited for the texts that are 20 seconds long"
    assert result.search.answer == "7"
    until(lambda: server.active == 0)
    assert server.gone == 2
    ends = [b.ended for b in result.search.branches]
    assert ends.count("the answer was decided") == 2
    assert total(result) == sum(len(b.steps) for b in result.search.branches)


def test_a_surer_minority_wins_a_vote_by_confidence(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        sure = exchange.n == 0
        exchange.say([("7" if sure else "8", {"9": 1e-6 if sure else 0.45})])

    _, endpoint = asking(behaviour, concurrency=1)
    plain = endpoint.generate("?", search="vote:n=3,answer=number,stop=none")
    _, endpoint = asking(behaviour, concurrency=1)
    weighted = endpoint.generate("?", search="vote:n=3,answer=number,stop=none,weight=confidence")
    assert (plain.search.answer, weighted.search.answer) == ("8", "7")


def test_no_more_requests_run_at_a_time_than_allowed(asking: Asking) -> None:
    server, endpoint = asking(lambda exchange: exchange.say(["7"] * 5, pause=0.01), concurrency=2)
    endpoint.generate("?", search="vote:n=6,answer=number,stop=none")
    assert server.peak == 2


@pytest.mark.parametrize("budget", [1, 7, 25, 26, 60])
def test_a_budget_of_tokens_is_never_exceeded(asking: Asking, budget: int) -> None:
    server, endpoint = asking(lambda exchange: exchange.say(["7 "] * 100))
    result = endpoint.generate("?", search=f"vote:n=4,answer=number,stop=none,max_tokens={budget}", max_tokens=20)
    assert total(result) == min(budget, 80)
    assert sum(body["max_tokens"] for body in server.bodies) == min(budget, 80)


@pytest.mark.parametrize("budget", [1, 9, 21, 30, 1000])
def test_a_budget_holds_for_a_tree_with_the_tokens_that_its_forks_begin_with(asking: Asking, budget: int) -> None:
    unsure = ("a", {"b": 0.4})
    _, endpoint = asking(lambda exchange: exchange.say(["x", unsure, *["y"] * 100]))
    search = f"tree:trigger=entropy,threshold=0.5,max_sequences=3,max_tokens={budget}+vote:answer=text,stop=none"
    result = endpoint.generate("?", raw=True, search=search, max_tokens=10)
    assert total(result) <= budget
    assert len(result.search.branches) <= 3
    assert total(result) == sum(len(b.steps) for b in result.search.branches)


def test_a_server_that_says_more_than_it_is_asked_for_is_cut(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.body["max_tokens"] = 1000
        exchange.say(["a"] * 50)

    _, endpoint = asking(behaviour)
    result = endpoint.generate("?", max_tokens=5)
    assert (result.text, result.finish_reason, total(result)) == ("aaaaa", "length", 5)


@pytest.mark.parametrize("fields", [True, False], ids=["vllm", "llama.cpp"])
def test_a_chat_is_forked_where_the_endpoint_goes_on_with_an_assistants_message(asking: Asking, fields: bool) -> None:
    def behaviour(exchange: Exchange) -> None:
        body = exchange.body
        if "logprobs" not in body:  # the question whether it goes on
            if not fields and "continue_final_message" in body:
                exchange.refuse(400, "unknown field continue_final_message")
                return
            goes_on = not fields or body.get("continue_final_message")
            added = 0 if not exchange.prefix else 1 if goes_on else 5
            exchange.json(200, {"choices": [], "usage": {"prompt_tokens": 20 + added}})
        elif exchange.prefix:
            exchange.say([" 8"], prompt=24, cached=20)
        else:
            exchange.say(["It ", ("is", {"was": 0.4}), " 7"], prompt=20)

    server, endpoint = asking(behaviour)
    search = "tree:trigger=entropy,threshold=0.5,max_sequences=2+vote:answer=number,stop=none"
    result = endpoint.generate("?", search=search, seed=1)
    fork = server.bodies[-1]
    assert fork["messages"][-1] == {"role": "assistant", "content": "It was"}
    assert fork.get("continue_final_message", False) is fields
    assert [b.text for b in result.search.branches] == ["It is 7", "was 8"]
    assert result.search.shares == {"7": 0.5, "8": 0.5}
    assert (result.ledger.prompt, result.ledger.shared) == (24, 20)


def test_a_tree_that_forks_afterwards_waits_for_the_first_text(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.say([" 8"] if exchange.prefix.endswith("was") else ["It ", ("is", {"was": 0.4}), " 7"])

    server, endpoint = asking(behaviour)
    search = "tree:when=end,trigger=entropy,threshold=0.5,max_sequences=2+vote:answer=number,stop=none"
    result = endpoint.generate("Q: ", raw=True, search=search)
    assert [body["prompt"] for body in server.bodies] == ["Q: ", "Q: It was"]
    assert result.search.branches[1].opened.startswith("afterwards")


def test_half_characters_join_and_no_fork_begins_within_one(asking: Asking) -> None:
    wave = "👋".encode()

    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.token("", content("\ufffd", {"x": 0.4}, wave[:2]))
        exchange.token("👋", content("\ufffd", {"y": 0.45}, wave[2:]))
        exchange.token("!", content("!", {"?": 0.4}))
        exchange.end()

    server, endpoint = asking(behaviour)
    search = "tree:trigger=entropy,threshold=0.5,max_sequences=8+vote:answer=text,stop=none"
    result = endpoint.generate("Q", raw=True, search=search)
    assert result.search.branches[0].text == "👋!"
    prompts = {body["prompt"] for body in server.bodies}
    assert "Qx" in prompts
    assert "Q👋?" in prompts
    assert not any("\ufffd" in prompt or prompt.endswith("y") for prompt in prompts)


def test_control_tokens_are_no_forks(asking: Asking) -> None:
    server, endpoint = asking(lambda exchange: exchange.say([("a", {"<|im_end|>": 0.4}), ("b", {"</s>": 0.4})]))
    search = "tree:trigger=entropy,threshold=0.1,max_sequences=4+vote:answer=text,stop=none"
    result = endpoint.generate("Q", raw=True, search=search)
    assert len(server.bodies) == 1
    assert any("2 forks were not made" in note for note in result.notes)


def test_more_leading_tokens_than_an_endpoint_shows_are_asked_for_once(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        if exchange.body["top_logprobs"] > 5:
            exchange.refuse(400, "top_logprobs must be at most 5")
        elif "stream_options" in exchange.body:
            exchange.refuse(422, "stream_options: unknown field")
        else:
            exchange.say(["7"])

    server, endpoint = asking(behaviour)
    result = endpoint.generate("?")
    assert [body["top_logprobs"] for body in server.bodies] == [20, 10, 5, 5]
    assert any("5 likeliest" in note for note in result.notes)
    endpoint.generate("?")
    assert len(server.bodies) == 5


def test_log_probabilities_in_the_older_shape_are_read(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        older = {
            "tokens": ["a", "b"],
            "token_logprobs": [-0.1, -9999.0],
            "top_logprobs": [{"a": -0.1, "b": -2.4}, None],
        }
        exchange.token("ab", older)
        exchange.end()

    _, endpoint = asking(behaviour)
    steps = endpoint.generate("Q", raw=True).steps
    assert [(s.text, s.logprob, s.truncated) for s in steps] == [("a", -0.1, 2), ("b", None, None)]


def test_seed_stop_and_further_fields_are_sent_and_the_key_is_a_header(asking: Asking) -> None:
    server, endpoint = asking(answers("7"), api_key="secret")
    endpoint.generate("?", seed=2**40 + 5, stop="END", temperature=0.5, fields={"min_p": 0.1})
    body = server.bodies[0]
    assert (body["seed"], body["stop"], body["temperature"], body["min_p"]) == (5, ["END"], 0.5, 0.1)
    assert body["model"] == "fake"
    assert server.headers[0]["authorization"] == "Bearer secret"


def test_all_requests_of_an_answer_are_one_session_and_the_next_answer_is_another(asking: Asking) -> None:
    server, endpoint = asking(answers("7", "8", "7", "8", "7", "7"))
    endpoint.generate("?", search="vote:n=4,answer=number,stop=none", seed=1)
    endpoint.generate("?", seed=1)
    sessions = [headers["x-session-id"] for headers in server.headers]
    assert len(sessions) == 5
    assert len(set(sessions[:4])) == 1
    assert sessions[4] != sessions[0]


def test_a_session_of_ones_own_and_further_headers_are_sent_with_every_request(asking: Asking) -> None:
    server, endpoint = asking(answers("7", "7", "7"))
    headers = {"X-Session-ID": "conversation-7", "X-Tenant": "red"}
    endpoint.generate("?", search="vote:n=3,answer=number,stop=none", seed=1, headers=headers)
    assert [(h["x-session-id"], h["x-tenant"]) for h in server.headers] == [("conversation-7", "red")] * 3


def test_it_works_where_an_event_loop_runs(asking: Asking) -> None:
    _, endpoint = asking(answers("7"))

    async def notebook() -> tuple[str, str]:
        return endpoint.generate("?").text, (await endpoint.agenerate("?")).text

    assert asyncio.run(notebook()) == ("7", "7")


def test_cancelling_closes_every_request(asking: Asking) -> None:
    server, endpoint = asking(lambda exchange: exchange.say(["8"] * 2000, pause=0.01))

    async def stopped() -> None:
        task = asyncio.create_task(endpoint.agenerate("?", search="vote:n=4", max_tokens=2000))
        while server.active < 4:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    until(lambda: server.active == 0)
    assert server.gone == 4


def test_a_watcher_that_does_not_go_on_keeps_what_was_said(asking: Asking) -> None:
    sent = 0

    def behaviour(exchange: Exchange) -> None:
        nonlocal sent
        exchange.begin()
        while sent < 2000:
            exchange.token("8", content("8"))
            sent += 1
            time.sleep(0.01)
        exchange.end()

    server, endpoint = asking(behaviour)
    result = endpoint.generate("?", max_tokens=2000, watch=lambda: sent < 20)
    assert result.finish_reason == "cancelled"
    assert 0 < len(result.steps) < 2000
    assert result.text == "8" * len(result.steps)
    until(lambda: server.active == 0)
    assert server.gone == 1


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"search": "lookahead"}, CapabilityError, "lookahead.*pauses.*there are tree, vote, best"),
        ({"search": "backtrack+vote"}, CapabilityError, "backtrack.*takes back tokens.*there are tree, vote, best"),
        ({"max_tokens": 0}, ParameterError, "max_tokens=0"),
        ({"seed": "x"}, ParameterError, "seed='x'"),
        ({"stop": 3}, ParameterError, "stop is a string"),
        ({"fields": {"logprobs": False}}, ParameterError, "logprobs cannot be given"),
        ({"headers": {"x session": "a"}}, ParameterError, "no name of a header"),
        ({"headers": {"x-session": "a\nb: c"}}, ParameterError, "no line of ASCII"),
    ],
)
def test_mistakes_are_named_before_anything_is_asked(options: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        connect("http://localhost:9").generate("?", **options)


def test_addresses_and_prompts_that_cannot_be_are_named() -> None:
    for url in ("localhost:8000", "ftp://x/v1", "http://", "http://x:99999"):
        with pytest.raises(ParameterError, match="no address of an endpoint"):
            connect(url)
    assert connect("http://x:1").url == "http://x:1/v1"
    assert connect("http://x:1/api/v2/").url == "http://x:1/api/v2"
    endpoint = connect("http://localhost:9")
    for prompt in ("", [], "\ud800", [{"role": "user"}], 7):
        with pytest.raises(PromptError):
            endpoint.generate(prompt)  # type: ignore[arg-type]
