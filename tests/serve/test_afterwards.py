"""What the server asks the model about an answer that has ended: of a vote's answers, and of a schema's options."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.model import Model
from entropix.serve.process import Background
from helpers.scripts import seven_or_eight

Serving = Callable[..., Background]
QUESTION = "How many are left?"
VOTE = {"search": "vote:n=5,answer=number,stop=none", "policy": "sample:temperature=1.0"}
SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["S", "M", "L"]}, "new": {"type": "boolean"}},
    "required": ["size", "new"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "shirt", "schema": SCHEMA, "strict": True}}
SPOKEN = '{"size":"M","new":true}'


def engine(script: Any = seven_or_eight, **values: Any) -> ScriptedEngine:
    return ScriptedEngine(script, **{"sequences": 24, "context": 1024, "cells": 8192, **values})


def ask(server: Background, ours: dict[str, Any], **options: Any) -> httpx.Response:
    messages = [{"role": "user", "content": QUESTION}]
    body = {
        "model": "scripted",
        "messages": messages,
        "seed": 2,
        "max_tokens": 40,
        "entropix": {"steps": False, **ours},
    }
    return httpx.post(f"{server.url}/v1/chat/completions", json={**body, **options}, timeout=60)


def choice(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["entropix"]["choices"][0]
    return found


@pytest.mark.parametrize("asked", ["self-assessment", ["self-assessment", "msp"]])
def test_self_assessment_is_what_the_library_finds(serving: Serving, asked: Any) -> None:
    found = choice(ask(serving(engine()), {**VOTE, "uncertainty": asked}))
    alone = Model(engine()).generate(QUESTION, seed=2, max_tokens=40, uncertainty=asked, **VOTE)
    said = found["result"]["uncertainties"]["self-assessment"]
    assert said == pytest.approx(alone.uncertainties["self-assessment"], abs=1e-5)
    assert set(found["vote"]["assessed"]) == set(found["vote"]["shares"])
    assert found["vote"]["assessed"][found["vote"]["answer"]] == pytest.approx(1 - said, abs=1e-5)
    assert found["result"]["ledger"]["asked"] > 0


def test_nothing_is_asked_unless_it_is_wanted(serving: Serving) -> None:
    found = choice(ask(serving(engine()), VOTE))
    assert "self-assessment" not in found["result"]["uncertainties"]
    assert "assessed" not in found["vote"]
    assert found["result"]["ledger"]["asked"] == 0


def test_a_stream_has_it_in_its_last_chunk(serving: Serving) -> None:
    text = ask(serving(engine()), {**VOTE, "uncertainty": "self-assessment"}, stream=True).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert "self-assessment" in events[-1]["entropix"]["result"]["uncertainties"]
    assert text.rstrip().endswith("data: [DONE]")


def test_many_at_a_time_beside_other_answers_all_have_it(serving: Serving) -> None:
    server = serving(engine(), places=10, kept=2)
    alone = choice(ask(server, {**VOTE, "uncertainty": "self-assessment"}))["result"]["uncertainties"]

    def one(n: int) -> httpx.Response:
        return ask(server, {**VOTE, "uncertainty": "self-assessment"} if n % 2 else {})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(16)))
    found = [choice(answer)["result"]["uncertainties"] for answer in answers]
    assert [each.get("self-assessment") for each in found[1::2]] == [alone["self-assessment"]] * 8
    assert all("self-assessment" not in each for each in found[::2])


@pytest.mark.parametrize(("kept", "stream"), [(4, False), (0, False), (4, True)])
def test_every_option_of_an_enum_has_its_exact_probability(serving: Serving, kept: int, stream: bool) -> None:
    pytest.importorskip("llguidance")
    script = saying(SPOKEN, certainty=2)
    answer = ask(serving(engine(script), kept=kept), {"options": True}, response_format=FORMAT, stream=stream)
    if stream:
        last = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")][-1]
        found = last["entropix"]
    else:
        found = choice(answer)
    model = Model(engine(script))
    alone = model.generate(QUESTION, seed=2, max_tokens=40, constraint=SCHEMA)
    expected = model.options(QUESTION, alone, SCHEMA)
    assert [tuple(each["path"]) for each in found["options"]] == list(expected) == [("size",), ("new",)]
    for each, known in zip(found["options"], expected.values(), strict=True):
        assert each["chosen"] == known.chosen
        assert each["mass"] == pytest.approx(known.mass, rel=1e-4)
        assert [option for option, _ in each["probabilities"]] == list(known.probabilities)
        assert [p for _, p in each["probabilities"]] == pytest.approx(list(known.probabilities.values()), rel=1e-4)
    assert found["result"]["ledger"]["asked"] > 0


def test_an_answer_that_was_cut_off_before_any_value_says_that_it_has_no_options(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    script = saying(SPOKEN, certainty=2)
    found = choice(ask(serving(engine(script)), {"options": True}, response_format=FORMAT, max_tokens=1))
    assert "options" not in found or found["options"] == []
    assert any(note.startswith("options: ") for note in found["result"]["notes"])


@pytest.mark.parametrize(
    ("ours", "options", "param", "said"),
    [
        ({"uncertainty": "selfassessment"}, {}, "entropix.uncertainty", "self-assessment"),
        ({"uncertainty": "self-assessment"}, {}, "entropix.uncertainty", "give effort low, medium or high"),
        ({"uncertainty": "self-assessment", "search": "tree"}, {}, "entropix.uncertainty", "give effort low"),
        ({"uncertainty": 1}, {}, "entropix.uncertainty", "it must be"),
        ({"options": True}, {}, "entropix.options", "give response_format json_schema"),
        ({"options": True}, {"response_format": {"type": "json_object"}}, "entropix.options", "json_schema"),
        ({"options": "yes"}, {}, "entropix.options", "true or false"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    serving: Serving, ours: dict[str, Any], options: dict[str, Any], param: str, said: str
) -> None:
    answer = ask(serving(engine()), ours, **options)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert said in error["message"]


def test_a_server_without_a_sequence_to_spare_says_so(serving: Serving) -> None:
    server = serving(engine(sequences=10), places=8, kept=2)
    error = ask(server, {**VOTE, "uncertainty": "self-assessment"}).json()["error"]
    assert (error["param"], "has none to spare" in error["message"]) == ("entropix.uncertainty", True)
    assert choice(ask(server, VOTE))["vote"]["ballots"] == 5


def test_at_the_time_limit_the_answer_comes_without_it_and_says_so(serving: Serving) -> None:
    slow = engine(hashed(3.0))
    server = serving(slow)
    ours = {"search": "vote:n=3,answer=text,stop=none", "policy": "sample", "uncertainty": "self-assessment"}
    interviewer = server.server._interviewer
    ask_on_time = interviewer.ask

    async def late(model: Any, job: Any, deadline: float, gone: Any) -> None:
        await ask_on_time(model, job, 0.0, gone)

    interviewer.ask = late  # type: ignore[method-assign]
    found = choice(ask(server, ours, stop=["a", "e", " ", "o"]))
    assert "self-assessment" not in found["result"]["uncertainties"]
    assert any("asking was cut off" in note for note in found["result"]["notes"])
