"""What the model is asked about an answer that has ended, by the name of the estimator that needs it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import entropix
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import ParameterError
from entropix.search import Vote
from entropix.trace.records import result_from, result_record, to_json
from helpers.scripts import seven_or_eight

QUESTION = "How many are left?"
VOTE = {"search": "vote:n=5,answer=number,stop=none", "policy": "sample:temperature=1.0", "seed": 2, "max_tokens": 40}


def model(**values: Any) -> entropix.Model:
    return entropix.Model(ScriptedEngine(seven_or_eight, **{"sequences": 8, "context": 512, "cells": 4096, **values}))


def test_it_is_what_the_model_gives_the_votes_answer_among_all_of_them() -> None:
    asked = model()
    result = asked.generate(QUESTION, uncertainty="self-assessment", **VOTE)
    assert result.search is not None
    assert result.answer is not None
    answers = list(result.search.shares)
    assert len(answers) == 2
    alone = asked.assess(QUESTION, answers)
    assert result.uncertainties["self-assessment"] == pytest.approx(1 - alone.by_answer[result.answer], abs=1e-12)
    assert 0 < result.ledger.asked <= alone.tokens
    assert result.notes == model().generate(QUESTION, **VOTE).notes


def test_nobody_is_asked_who_does_not_want_it_and_the_answer_is_the_same() -> None:
    plain = model().generate(QUESTION, **VOTE)
    asked = model().generate(QUESTION, uncertainty=["self-assessment", "msp"], **VOTE)
    assert "self-assessment" not in plain.uncertainties
    assert plain.ledger.asked == 0
    assert asked.ledger.forwarded == plain.ledger.forwarded + asked.ledger.asked
    assert asked.text == plain.text
    assert {**asked.uncertainties, "self-assessment": 0} == {**plain.uncertainties, "self-assessment": 0}


def test_every_engine_can_be_asked(engine: Engine) -> None:
    vote = Vote(n=3, answer=lambda text: str(len(text) % 2), stop="none")
    result = entropix.Model(engine).generate(
        QUESTION, policy="sample", search=vote, seed=1, max_tokens=6, stop=[" "], uncertainty="self-assessment"
    )
    assert result.answer is not None
    assert 0 <= result.uncertainties["self-assessment"] <= 1
    assert engine.cells_used() == 0


def test_several_prompts_and_asyncio_have_it_too() -> None:
    questions = [QUESTION, "How many were there?"]
    both = model(sequences=12).generate(questions, uncertainty="self-assessment", **VOTE)
    alone = [model().generate(question, uncertainty="self-assessment", **VOTE) for question in questions]
    known = [result.uncertainties["self-assessment"] for result in both]
    assert known == [result.uncertainties["self-assessment"] for result in alone]

    async def later() -> entropix.Result:
        return await model().agenerate(QUESTION, uncertainty="self-assessment", **VOTE)

    assert asyncio.run(later()).uncertainties["self-assessment"] == known[0]


def test_asking_takes_no_more_sequences_than_the_vote_had_and_gives_them_back() -> None:
    asked = model(sequences=5)
    result = asked.generate([QUESTION] * 3, uncertainty="self-assessment", **VOTE)
    assert all("self-assessment" in each.uncertainties for each in result)
    assert asked.engine.cells_used() == 0


def test_an_open_question_and_texts_without_an_answer_say_why_there_is_none() -> None:
    asked = entropix.Model(ScriptedEngine(saying("I cannot say.", certainty=20), sequences=8))
    for question, options in (("Why is the sky blue?", {}), (QUESTION, {"answer": "number"})):
        result = asked.ask(question, seed=1, max_tokens=20, uncertainty="self-assessment", **options)
        assert "self-assessment" not in result.uncertainties
        assert any("no vote was held or it found none" in note for note in result.notes)


def test_a_question_that_leaves_no_room_is_a_note_and_the_answer_stays() -> None:
    asked = model(context=140, cells=1024)
    result = asked.generate("How many are left? " * 5, uncertainty="self-assessment", **{**VOTE, "max_tokens": 20})
    assert result.answer in ("7", "8")
    assert any(note.startswith("self-assessment: ") for note in result.notes)
    assert asked.engine.cells_used() == 0


@pytest.mark.parametrize("options", [{}, {"effort": "none"}, {"search": "tree"}])
def test_without_a_vote_it_is_refused_before_anything_is_decoded(options: dict[str, Any]) -> None:
    asked = model()
    with pytest.raises(ParameterError, match="self-assessment is of a vote's answers: give effort low"):
        asked.generate(QUESTION, uncertainty="self-assessment", **options)
    assert asked.engine.forwards == 0  # type: ignore[attr-defined]


def test_a_name_that_there_is_not_names_those_that_there_are() -> None:
    with pytest.raises(ParameterError, match="self-assessment"):
        model().generate(QUESTION, uncertainty="selfassessment")


def test_records_keep_what_was_said() -> None:
    result = model().generate(QUESTION, uncertainty="self-assessment", **VOTE)
    record = json.loads(to_json(result_record(result)))
    assert record["uncertainties"]["self-assessment"] == pytest.approx(
        result.uncertainties["self-assessment"], abs=1e-5
    )
    assert record["ledger"]["asked"] == result.ledger.asked > 0
    assert result_from(record, {}, result.steps).ledger == result.ledger


def test_a_cancelled_answer_is_not_asked_about() -> None:
    asked = entropix.Model(ScriptedEngine(hashed(3), sequences=8))
    stream = asked.stream(QUESTION, uncertainty="self-assessment", **VOTE)
    stream.watch = lambda: False
    with stream:
        for _ in stream:
            pass
    assert stream.result.ledger.asked == 0
    assert "self-assessment" not in stream.result.uncertainties
