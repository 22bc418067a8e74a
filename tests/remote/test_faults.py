"""Endpoints that misbehave: what is retried, what is refused, and what is kept."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from entropix.errors import CapabilityError, EndpointError
from entropix.remote import Endpoint, connect
from entropix.remote import explore as exploring
from helpers.endpoint import Exchange, Fake, content

Asking = Callable[..., tuple[Fake, Endpoint]]
NOW = {"retry_after_ms": "1"}
"""Asked again at once, so that tests do not wait."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploring, "BACK_OFF", 0.01)


def cut(exchange: Exchange, *tokens: str) -> None:
    """Begin an answer and close the connection."""
    exchange.begin()
    for token in tokens:
        exchange.token(token, content(token))
    exchange.handler.connection.shutdown(socket.SHUT_RDWR)


def test_an_endpoint_without_log_probabilities_is_refused_by_name(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.token("hello", None)
        exchange.end()

    server, endpoint = asking(behaviour)
    with pytest.raises(EndpointError, match="returns no log-probabilities") as error:
        endpoint.generate("?", search="vote:n=4,answer=text")
    assert server.url in str(error.value)


def test_a_tree_needs_the_log_probabilities_of_other_tokens_too(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.token("a", {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": []}]})
        exchange.end()

    _, endpoint = asking(behaviour)
    assert endpoint.generate("?").steps[0].entropy is None
    assert endpoint.generate("?", search="vote:n=2,answer=text").search.answer == "a"
    for search in ("tree:trigger=entropy", "vote:n=2,answer=text,weight=confidence"):
        with pytest.raises(EndpointError, match="top_logprobs"):
            endpoint.generate("?", raw=True, search=search)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_that_fails_for_now_is_sent_again_when_the_server_says(asking: Asking, status: int) -> None:
    def behaviour(exchange: Exchange) -> None:
        if exchange.n == 0:
            exchange.refuse(status, "busy", retry_after="1")
        else:
            exchange.say(["7"])

    server, endpoint = asking(behaviour)
    began = time.monotonic()
    assert endpoint.generate("?").text == "7"
    assert time.monotonic() - began > 0.9
    assert len(server.bodies) == 2


def test_a_server_that_keeps_failing_is_given_up_after_the_retries(asking: Asking) -> None:
    server, endpoint = asking(lambda exchange: exchange.refuse(500, "no luck", **NOW), retries=2)
    with pytest.raises(EndpointError, match="after 2 retries: 500 no luck"):
        endpoint.generate("?")
    assert len(server.bodies) == 3


def test_a_server_that_answers_no_text_of_a_wave_is_not_asked_for_the_next(asking: Asking) -> None:
    server, endpoint = asking(lambda exchange: exchange.refuse(500, "no luck", **NOW), retries=1)
    with pytest.raises(EndpointError, match="after 1 retries: 500 no luck"):
        endpoint.generate("?", search="vote:n=8,answer=number,wave=2,stop=none")
    assert len(server.bodies) == 4


@pytest.mark.parametrize(("status", "says"), [(401, "API key"), (404, "no such model"), (400, "no such model")])
def test_what_would_fail_again_is_not_sent_again(asking: Asking, status: int, says: str) -> None:
    server, endpoint = asking(lambda exchange: exchange.refuse(status, "no such model"), concurrency=1)
    with pytest.raises(EndpointError, match=says):
        endpoint.generate("?", search="vote:n=5")
    assert len(server.bodies) == 1


def test_a_connection_that_is_cut_is_asked_anew_and_its_tokens_are_counted(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        if exchange.n == 0:
            cut(exchange, "a", "b")
        else:
            exchange.say(["7", "!"])

    server, endpoint = asking(behaviour)
    result = endpoint.generate("?", seed=5)
    assert result.text == "7!"
    assert (result.ledger.sampled, result.ledger.abandoned, result.ledger.prompt) == (2, 2, 20)
    assert [body["seed"] for body in server.bodies] == [5, 5]


def test_a_stream_that_ends_early_is_not_taken_for_an_answer(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.token("a", content("a"))
        exchange.event("[DONE]")

    server, endpoint = asking(behaviour, retries=1)
    result = endpoint.generate("?")
    assert len(server.bodies) == 2
    assert (result.text, result.finish_reason) == ("a", "cancelled")
    assert any("broke its answer off" in note for note in result.notes)


def test_one_failing_sample_leaves_the_vote_to_the_others(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        if exchange.body["seed"] == 1:
            exchange.refuse(500, "no luck", **NOW)
        else:
            exchange.say(["7"])

    _, endpoint = asking(behaviour, retries=1)
    result = endpoint.generate("?", search="vote:n=4,answer=number,stop=none", seed=1)
    assert (result.search.answer, result.search.ballots) == ("7", 3)
    assert result.search.branches[0].ended.startswith("failed: ")
    assert any("text 0 failed" in note for note in result.notes)


@pytest.mark.parametrize(
    "event",
    ['{"choices": [{', '"text"', '{"choices": [{"delta": {"content": 7}}]}', '{"choices": [{"delta": {"content": "a"}, '
     '"logprobs": {"content": [{"logprob": "x"}]}}]}'],
    ids=["cut JSON", "no object", "no text", "no token"],
)  # fmt: skip
def test_what_is_not_of_openais_shape_is_refused_in_one_message(asking: Asking, event: str) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(event)
        exchange.end()

    server, endpoint = asking(behaviour)
    with pytest.raises(EndpointError, match=r"not JSON|OpenAI's shape"):
        endpoint.generate("?")
    assert len(server.bodies) == 1


def test_an_error_within_the_stream_is_one(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(json.dumps({"error": {"message": "out of memory"}}))

    _, endpoint = asking(behaviour, retries=0)
    with pytest.raises(EndpointError, match="out of memory"):
        endpoint.generate("?")


def test_a_web_page_is_no_answer(asking: Asking) -> None:
    _, endpoint = asking(
        lambda exchange: exchange.json(200, b"<html>hello</html>", {"content-type": "text/html"}), retries=0
    )
    with pytest.raises(EndpointError, match="broke its answer off"):
        endpoint.generate("?")


def test_a_request_that_hangs_ends_with_its_time_limit(asking: Asking) -> None:
    _, endpoint = asking(lambda exchange: time.sleep(3), timeout=0.2, retries=3)
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"did not answer in 0\.2 s"):
        endpoint.generate("?")
    assert time.monotonic() - began < 2


def test_a_time_limit_for_the_answer_lets_those_that_have_ended_decide(asking: Asking) -> None:
    def behaviour(exchange: Exchange) -> None:
        if exchange.body["seed"] == 1:
            exchange.say(["8"] * 1000, pause=0.01)
        else:
            exchange.say(["7"])

    server, endpoint = asking(behaviour, limit=1.0)
    result = endpoint.generate("?", search="vote:n=3,answer=number,stop=none", seed=1, max_tokens=1000)
    assert (result.search.answer, result.search.ballots) == ("7", 2)
    assert any("time limit of 1 s" in note for note in result.notes)
    assert server.gone <= 1


def test_nobody_listening_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(EndpointError, match=rf"cannot reach http://127\.0\.0\.1:{port}/v1.*server running"):
        connect(f"http://127.0.0.1:{port}", "m", retries=0).generate("?")


def test_an_endpoint_that_lists_no_model_needs_one_named(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Fake(lambda exchange: exchange.say(["7"]), models=())
    try:
        with pytest.raises(EndpointError, match="lists no model"):
            connect(server.url).generate("?")
        assert connect(server.url, "mine").generate("?").model == "mine"
    finally:
        server.close()


def test_a_prompt_with_anything_in_it_arrives_as_it_is(asking: Asking) -> None:
    server, endpoint = asking(lambda exchange: exchange.say(["🙂"]))
    prompt: Any = "\x00 🙂 \u2028 " + "long " * 20000
    assert endpoint.generate(prompt).text == "🙂"
    assert server.bodies[0]["messages"][0]["content"] == prompt


def test_without_the_package_openai_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "entropix.remote.client", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(CapabilityError, match=r"entropix-llm\[remote\]"):
        connect("http://localhost:9")


def test_a_tree_over_a_chat_needs_to_know_how_long_prompts_are(asking: Asking) -> None:
    _, endpoint = asking(lambda exchange: exchange.json(200, {"choices": []}))
    with pytest.raises(EndpointError, match="does not say how many tokens a prompt has"):
        endpoint.generate("?", search="tree:trigger=entropy")


def test_a_server_that_hangs_before_anything_is_asked_can_be_stopped(asking: Asking) -> None:
    _, endpoint = asking(lambda exchange: time.sleep(3))
    stop = time.monotonic() + 0.3
    options: dict[str, Any] = {"search": "tree:trigger=entropy", "watch": lambda: time.monotonic() < stop}
    result = endpoint.generate("?", **options)
    assert (result.text, result.finish_reason) == ("", "cancelled")
    assert time.monotonic() - stop < 1
