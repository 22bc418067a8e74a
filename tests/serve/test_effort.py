"""Effort over HTTP: as many texts as an answer needs, asked for in OpenAI's own field or in ours."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import ParameterError
from entropix.model import Model
from entropix.serve.app import Server
from entropix.serve.process import Background
from entropix.serve.schema import ChatRequest, Message
from entropix.serve.settings import Settings
from helpers.clients import client_of, until
from helpers.scripts import seven_or_on_and_on

Serving = Callable[..., Background]
COUNT, OPEN = "How many are left?", "Why is the sky blue?"


def nine(text: str = "The answer is 9.", **values: Any) -> ScriptedEngine:
    return ScriptedEngine(saying(text, certainty=20), **{"sequences": 24, **values})


def ask(server: Background, question: str = COUNT, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": question}]
    return client_of(server).chat.completions.create(
        **{"model": "scripted", "messages": messages, "max_tokens": 60, "seed": 1, **options}
    )


def ours(**extension: Any) -> dict[str, Any]:
    return {"extra_body": {"entropix": {"steps": False, **extension}}}


def told(answer: Any, choice: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = answer.entropix["choices"][choice]
    return found


@pytest.mark.parametrize(
    ("given", "texts"), [("minimal", 2), ("low", 2), ("medium", 3), ("high", 4), ("xhigh", 4), ("max", 4)]
)
def test_reasoning_effort_says_how_many_texts_must_agree(serving: Serving, given: Any, texts: int) -> None:
    answer = ask(serving(nine()), reasoning_effort=given)
    assert answer.choices[0].message.content == "The answer is 9."
    assert told(answer)["vote"] == {
        "answer": "9",
        "confidence": 1.0,
        "confidence_source": f"{texts} of {texts} texts agree; share of the ballots, not calibrated",
        "shares": {"9": 1.0},
        "agreeing": texts,
        "ballots": texts,
    }
    renamed = any(note.startswith("reasoning_effort") for note in told(answer)["result"]["notes"])
    assert renamed == (given in ("minimal", "xhigh", "max"))


@pytest.mark.parametrize("options", [{}, {"reasoning_effort": None}, {"reasoning_effort": "none"}, ours(effort="none")])
def test_a_request_that_asks_for_no_effort_is_answered_as_ever(serving: Serving, options: Any) -> None:
    answer = ask(serving(nine()), **options)
    assert "vote" not in told(answer)
    assert (told(answer)["result"]["search"], told(answer)["result"]["policy"]) == (None, "entropix")


def test_effort_answers_as_the_library_does_for_the_same_seed(serving: Serving) -> None:
    answer = ask(serving(nine()), **ours(effort="low"))
    alone = Model(nine()).ask(COUNT, "low", seed=1, max_tokens=60)
    assert alone.search is not None
    texts = [branch["text"] for branch in told(answer)["result"]["search"]["branches"]]
    assert texts == [branch.text for branch in alone.search.branches]
    assert told(answer)["vote"]["answer"] == alone.answer


def test_a_stream_has_its_text_and_the_vote_at_the_end(serving: Serving) -> None:
    chunks = list(ask(serving(nine()), reasoning_effort="low", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "The answer is 9."
    assert chunks[-1].entropix["vote"]["answer"] == "9"


def test_every_choice_has_a_vote_of_its_own_and_recognises_its_own_texts(serving: Serving) -> None:
    server = serving(nine())
    several = ask(server, n=3, reasoning_effort="low")
    assert [told(several, n)["vote"]["answer"] for n in range(3)] == ["9"] * 3
    body = ChatRequest(model="scripted", messages=[Message(role="user", content=COUNT)], n=3, reasoning_effort="low")
    plans: list[Any] = [request.search for request in server.server.reader.chat(body).requests]
    assert len({id(plan.decider.answer) for plan in plans}) == 3


def test_an_open_question_is_answered_by_one_text_with_a_note(serving: Serving) -> None:
    answer = ask(serving(nine()), OPEN, reasoning_effort="high")
    assert "vote" not in told(answer)
    assert any("the question is open" in note for note in told(answer)["result"]["notes"])


def test_the_answers_kind_may_be_given(serving: Serving) -> None:
    answer = ask(serving(nine()), OPEN, **ours(effort="low", answer="text"))
    assert told(answer)["vote"]["answer"] == "The answer is 9."


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0}, {"top_p": 0}, {"extra_body": {"top_k": 1}}, ours(policy="sample:temperature=0")],
)
def test_temperature_0_leaves_nothing_to_vote_about_and_that_is_said(serving: Serving, options: Any) -> None:
    answer = ask(serving(nine()), reasoning_effort="low", **options)
    assert told(answer)["result"]["search"] is None
    assert any("draws the same text each time" in note for note in told(answer)["result"]["notes"])


def test_an_answer_that_effort_none_does_not_read_is_noted(serving: Serving) -> None:
    answer = ask(serving(nine()), **ours(effort="none", answer="number"))
    assert any("entropix.answer: effort none" in note for note in told(answer)["result"]["notes"])


def test_a_completion_may_have_effort_too_by_text_or_tokens(serving: Serving) -> None:
    server = serving(ScriptedEngine(saying(" 9.", certainty=20, after=b"left?"), sequences=24))
    client = client_of(server)
    tokens = list(COUNT.encode())
    for prompt in (COUNT, tokens, [COUNT, COUNT]):
        answer: Any = client.completions.create(model="scripted", prompt=prompt, seed=1, **ours(effort="low"))
        assert [told(answer, n)["vote"]["answer"] for n in range(len(answer.choices))] == ["9"] * len(answer.choices)


def test_the_servers_own_effort_is_for_requests_that_say_nothing_of_effort_or_search(serving: Serving) -> None:
    server = serving(nine(), effort="low")
    assert told(ask(server))["vote"]["ballots"] == 2
    assert told(ask(server, reasoning_effort="high"))["vote"]["ballots"] == 4
    assert told(ask(server, **ours(answer="text")))["vote"]["answer"] == "The answer is 9."
    for off in ({"reasoning_effort": "none"}, ours(effort="none"), ours(search="none")):
        assert told(ask(server, **off))["result"]["search"] is None
    search = told(ask(server, **ours(search="vote:n=3,answer=number,stop=none")))["result"]["search"]
    assert len(search["branches"]) == 3
    assert httpx.get(f"{server.url}/entropix/info").json()["effort"] == "low"


def test_places_limit_the_sequences_of_a_level_and_too_few_hold_no_vote(serving: Serving) -> None:
    vote = told(ask(serving(nine(), places=3), reasoning_effort="high"))
    assert vote["vote"]["ballots"] == 4
    one = told(ask(serving(nine(), places=2), reasoning_effort="high"))
    assert "vote" not in one
    assert any("there is room for 2" in note for note in one["result"]["notes"])


def test_a_server_whose_own_effort_has_no_room_does_not_start() -> None:
    with pytest.raises(ParameterError, match="at most 2; give it more places"):
        Server(Model(nine()), Settings(port=0, places=2, effort="low"))
    with pytest.raises(ParameterError, match="give effort or search, not both"):
        Settings(effort="low", search="tree")
    with pytest.raises(ParameterError, match="known are none, low"):
        Settings(effort="huge")


@pytest.mark.parametrize(
    ("options", "param", "says"),
    [
        ({"reasoning_effort": "huge"}, "reasoning_effort", "'xhigh'"),
        ({"reasoning_effort": 3}, "reasoning_effort", "'low'"),
        ({"entropix": {"effort": "xhigh"}}, "entropix.effort", "'high'"),
        ({"entropix": {"effort": "low"}, "reasoning_effort": "high"}, "entropix.effort", "'low' and reasoning_effort"),
        ({"entropix": {"search": "vote:n=2"}, "reasoning_effort": "low"}, "reasoning_effort", "entropix.search and"),
        ({"entropix": {"search": "vote:n=2", "effort": "low"}}, "entropix.effort", "entropix.search and"),
        ({"entropix": {"answer": "number"}}, "entropix.answer", "give entropix.effort"),
        ({"entropix": {"answer": "nothing", "effort": "low"}}, "entropix.answer", "'nothing' is unknown"),
    ],
)
def test_contradictions_are_refused_by_name(server: Background, options: Any, param: str, says: str) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": COUNT}], "max_tokens": 4, **options}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert says in error["message"]


def test_effort_in_both_fields_alike_is_no_contradiction(serving: Serving) -> None:
    answer = ask(serving(nine()), reasoning_effort="xhigh", **ours(effort="high"))
    assert told(answer)["vote"]["ballots"] == 4


def test_at_the_time_limit_the_ballots_cast_decide_and_that_is_said(serving: Serving) -> None:
    engine = ScriptedEngine(seven_or_on_and_on, sequences=24, context=100_000, cells=1_000_000)
    server = serving(engine, time_limit=2.0, max_tokens=50_000)
    answer = ask(server, seed=4, max_tokens=50_000, temperature=1.0, reasoning_effort="high")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("7", "stop")
    notes = told(answer)["result"]["notes"]
    assert any("time limit of 2 s" in note for note in notes)
    assert any("had ended, and they decided" in note for note in notes)


def test_a_client_that_goes_away_within_a_wave_gives_every_sequence_back(serving: Serving) -> None:
    engine = ScriptedEngine(seven_or_on_and_on, sequences=24, context=100_000, cells=1_000_000)
    server = serving(engine, max_tokens=50_000, kept=0)
    with pytest.raises(openai.APITimeoutError):
        ask(server, seed=4, max_tokens=50_000, reasoning_effort="high", timeout=0.5)
    until(lambda: engine.cells_used() == 0)


def test_openais_own_client_and_field_get_a_vote_of_a_real_model(real_server: Background) -> None:
    answer = ask(
        real_server, "What is 2 + 2? Answer with a number.", model="smollm2", max_tokens=24, reasoning_effort="low"
    )
    vote = told(answer)["vote"]
    assert 2 <= vote["ballots"] <= 8
    assert vote["answer"] is None or vote["answer"] in answer.choices[0].message.content.replace(",", "")
    assert sum(vote["shares"].values()) <= 1 + 1e-9


def move(server: Background, questions: list[str], **extension: Any) -> Any:
    return client_of(server).completions.create(
        model="scripted", prompt=questions, max_tokens=12, seed=5, **ours(effort="low", answer="text", **extension)
    )


def test_ballots_move_between_the_questions_of_a_request_as_in_one_call(serving: Serving) -> None:
    questions = ["How many?", "How much?", "How old?", "Who is it?"]
    answer = move(serving(ScriptedEngine(hashed(1.5), sequences=24)), questions, ballots=3)
    model = Model(ScriptedEngine(hashed(1.5), sequences=24))
    options: dict[str, Any] = {"effort": "low", "answer": "text", "ballots": 3, "max_tokens": 12, "raw": True}
    alone = model.generate(questions, seed=5, **options)
    assert [c.text for c in answer.choices] == [r.text for r in alone]
    cast = [r.search.ballots for r in alone if r.search is not None]
    assert [told(answer, n)["vote"]["ballots"] for n in range(4)] == cast
    assert sum(cast) == 12


def test_requests_with_moving_ballots_do_not_wait_for_each_other_for_ever(serving: Serving) -> None:
    server = serving(ScriptedEngine(hashed(1.5), sequences=8), places=8)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: move(server, [f"How many {n}?", "b", "c", "d"], ballots=2), range(6)))
    assert all(len(answer.choices) == 4 and all(c.finish_reason for c in answer.choices) for answer in found)


@pytest.mark.parametrize(
    ("questions", "extension", "message"),
    [
        (5, {"ballots": 2}, "ask at most 4 at once"),
        (1, {"ballots": 9}, "from 1 to 8"),
        (1, {"ballots": 2, "effort": "none"}, "give an effort"),
    ],
)
def test_ballots_that_cannot_move_are_refused(
    serving: Serving, questions: int, extension: dict[str, Any], message: str
) -> None:
    server = serving(ScriptedEngine(hashed(), sequences=8), places=8)
    with pytest.raises(openai.BadRequestError, match=message):
        client_of(server).completions.create(
            model="scripted", prompt=["How many?"] * questions, extra_body={"entropix": {"effort": "low", **extension}}
        )
