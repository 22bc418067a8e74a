"""Effort over endpoints: the same levels, notes and decisions as here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from entropix.cli import main
from entropix.errors import ParameterError
from helpers.endpoint import Behaviour, Exchange, Fake

COUNT = "How many are left?"
Start = Callable[[Behaviour], Fake]


def nine(exchange: Exchange) -> None:
    exchange.say(["The answer is ", "9."])


@pytest.mark.parametrize(("level", "texts"), [("none", 1), ("low", 2), ("medium", 3), ("high", 4)])
def test_effort_says_how_many_texts_must_agree(asking: Any, level: str, texts: int) -> None:
    server, endpoint = asking(nine)
    result = endpoint.generate(COUNT, effort=level, seed=1)
    assert len(server.bodies) == texts
    assert result.answer == (None if level == "none" else "9")


def test_the_first_text_is_greedy_and_the_others_are_drawn_at_the_levels_temperature(asking: Any) -> None:
    server, endpoint = asking(nine)
    endpoint.generate(COUNT, effort="low", seed=1)
    assert sorted(body["temperature"] for body in server.bodies) == [0, 0.7]
    server, endpoint = asking(nine)
    endpoint.generate(COUNT, effort="low", seed=1, temperature=1.1)
    assert sorted(body["temperature"] for body in server.bodies) == [0, 1.1]


def test_it_is_kept_which_text_ended_first_whatever_their_lengths(asking: Any) -> None:
    ended = threading.Event()

    def first_waits(exchange: Exchange) -> None:
        if exchange.n == 0:
            assert ended.wait(30)
            exchange.say(["9"], pause=0.2)
        else:
            exchange.say(["The answer is ", "9."])
            ended.set()

    _, endpoint = asking(first_waits)
    branches = endpoint.generate(COUNT, search="vote:n=2,answer=number,stop=none", seed=1).search.branches
    assert sorted((branch.before, branch.text) for branch in branches) == [(0, "The answer is 9."), (1, "9")]


def test_further_texts_are_asked_for_where_the_first_wave_disagrees(asking: Any) -> None:
    def differing(exchange: Exchange) -> None:
        exchange.say(["The answer is ", "8." if exchange.n == 0 else "9."])

    server, endpoint = asking(differing)
    result = endpoint.generate(COUNT, effort="low", seed=1)
    assert result.answer == "9"
    assert result.search.agreeing == len(server.bodies) - 1 == 3


@pytest.mark.parametrize(
    ("question", "options", "note"),
    [
        ("Why is the sky blue?", {}, "the question is open"),
        (COUNT, {"temperature": 0}, "the same text each time"),
        (COUNT, {"top_p": 0}, "the same text each time"),
        (COUNT, {"fields": {"top_k": 1}}, "the same text each time"),
    ],
)
def test_where_no_vote_can_decide_one_text_answers_and_that_is_said(
    asking: Any, question: str, options: Any, note: str
) -> None:
    server, endpoint = asking(nine)
    result = endpoint.generate([{"role": "user", "content": question}], effort="high", **options)
    assert (len(server.bodies), result.answer) == (1, None)
    assert any(note in said for said in result.notes)


def test_at_the_time_limit_the_ballots_cast_decide(asking: Any) -> None:
    def slow_first(exchange: Exchange) -> None:
        exchange.say(["The answer is ", "8."] if exchange.n == 0 else ["9"], pause=30 if exchange.n == 0 else 0)

    _, endpoint = asking(slow_first, limit=2.0)
    result = endpoint.generate(COUNT, effort="medium", seed=1)
    assert (result.answer, result.text) == ("9", "9")
    assert any("time limit of 2 s" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": "huge"}, "known are none, low, medium, high"),
        ({"effort": "low", "search": "vote:n=2"}, "give effort or search, not both"),
        ({"answer": "number"}, "give effort, or a search"),
        ({"effort": "low", "answer": "nothing"}, "answer='nothing' is unknown"),
    ],
)
def test_contradictions_are_refused_before_anything_is_asked(asking: Any, options: Any, message: str) -> None:
    server, endpoint = asking(nine)
    with pytest.raises(ParameterError, match=message):
        endpoint.generate(COUNT, **options)
    assert server.bodies == []


def test_ask_prints_the_answer_of_an_endpoint_and_how_sure_it_is(fake: Start, capfd: Any) -> None:
    assert main(["ask", "--endpoint", fake(nine).url, "--seed", "1", COUNT, "How much?"]) == 0
    shown = capfd.readouterr()
    assert shown.out.count("9\n") == 2
    assert "100% sure: 3 of 3 texts agree" in shown.err
    assert "2 of 2: How much?" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time-limit", "3", "x"], "give one with --endpoint"),
        (["--endpoint", "http://localhost:1", "-p", "entropix", "x"], "does not go with --endpoint"),
        (["--endpoint", "http://localhost:1", "--threads", "2", "x"], "the endpoint has its own"),
    ],
)
def test_asks_options_of_the_wrong_place_are_refused(arguments: list[str], message: str, capfd: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ask", *arguments])
    assert ended.value.code == 2
    assert message in capfd.readouterr().err


def test_who_watches_sees_the_answers_as_they_come(asking: Any) -> None:
    _, endpoint = asking(nine)
    seen: list[list[str | None]] = []
    result = endpoint.generate(
        "How many?", effort="low", answer="number", progress=lambda texts: seen.append([t.answer for t in texts])
    )
    assert result.answer == "9"
    assert seen[0] == [None]
    assert seen[-1].count("9") >= 2
