"""Ballots that move between the questions of a call, live: the rule's, whatever the batch looked like."""

from __future__ import annotations

from typing import Any

import pytest

import entropix
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.errors import ParameterError
from entropix.search.moving import Question, allot
from entropix.search.stopping import standing

QUESTIONS = ["How many?", "How much?", "How old?", "Who is it?", "Where?"]
OPTIONS: dict[str, Any] = {
    "effort": "low",
    "answer": lambda text: "even" if len(text) % 2 == 0 else "odd",
    "policy": "sample:temperature=1.0",
    "max_tokens": 12,
    "seed": 5,
    "stop": list("aeiou \x00\x10 @P`p"),
}
"""Two answers, so that texts agree now and then; most texts stop by themselves."""


def ballots(result: entropix.Result) -> list[tuple[list[int], str | None, str]]:
    assert result.search is not None
    return [([step.token for step in b.steps], b.answer, b.ended) for b in result.search.branches]


def asked(each: int, questions: list[str] = QUESTIONS, **engine: Any) -> list[entropix.Result]:
    model = entropix.Model(ScriptedEngine(hashed(3), context=256, **engine))
    results = model.generate(questions, ballots=each, **OPTIONS)
    assert model.engine.cells_used() == 0
    return results


@pytest.mark.parametrize("each", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("sequences", [3, 4, 7, 32])
def test_the_ballots_are_those_of_the_rule_whatever_the_batch_looks_like(each: int, sequences: int) -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), context=256, sequences=32))
    search = entropix.search.Vote(n=8, answer=OPTIONS["answer"], stop="none", first="greedy")
    plain = {k: v for k, v in OPTIONS.items() if k not in ("effort", "answer")}
    whole = [ballots(r) for r in model.generate(QUESTIONS, search=search, **plain)]
    leads = [[standing([a for _, a, _ in w[:n]], [e for *_, e in w[:n]], 1).lead for n in range(1, 9)] for w in whole]
    cast, _ = allot([Question(of_one) for of_one in leads], each * len(QUESTIONS), 8, min(2, each))
    found = [ballots(result) for result in asked(each, sequences=sequences)]
    assert found == [w[:n] for w, n in zip(whole, cast, strict=True)]


def test_few_cells_change_no_ballot() -> None:
    assert list(map(ballots, asked(4, sequences=8, cells=80))) == list(map(ballots, asked(4, sequences=32)))


def test_ballots_move_on_every_engine(engine: Engine) -> None:
    results = entropix.Model(engine).generate(["Say a.", "Say b."], ballots=3, **OPTIONS)
    assert sum(len(ballots(result)) for result in results) == 6


def test_an_open_question_takes_one_text_and_leaves_the_others_the_rest() -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), context=256, sequences=16))
    options = {**OPTIONS, "answer": None}
    results = model.generate(["Explain why the sky is blue.", "Which is it? A. x B. y"], ballots=3, **options)
    assert results[0].search is None
    assert len(ballots(results[1])) >= 2


def test_questions_that_agree_from_the_first_spend_the_budget_evenly() -> None:
    model = entropix.Model(ScriptedEngine(saying("The answer is 9.", certainty=20), sequences=8))
    results = model.ask(QUESTIONS[:3], "medium", ballots=4, seed=1)
    assert [(r.answer, len(ballots(r))) for r in results] == [("9", 4)] * 3


def test_questions_whose_texts_explain_end_with_their_first_ballots_and_hold_up_no_other() -> None:
    model = entropix.Model(
        ScriptedEngine(saying("one two three four five six seven eight nine ten eleven twelve"), sequences=8)
    )
    results = model.ask(["What is it like?", "What is that like?"], "low", ballots=4, seed=1, max_tokens=80)
    assert [len(ballots(r)) for r in results] == [2, 2]
    assert all(any("no vote was held" in note for note in r.notes) for r in results)


def test_a_question_that_fails_holds_up_no_other() -> None:
    def answer(text: str) -> str | None:
        seen.append(text)
        if len(seen) == 3:
            raise RuntimeError("broken")
        return "same"

    seen: list[str] = []
    model = entropix.Model(ScriptedEngine(hashed(3), context=256, sequences=16))
    with model.stream(QUESTIONS, ballots=3, **{**OPTIONS, "answer": answer}) as stream, pytest.raises(RuntimeError):
        list(stream)
    assert [r.finish_reason for r in stream.results].count("error") == 1
    assert all(r.finish_reason for r in stream.results)


def test_a_closed_stream_ends_those_that_wait() -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), context=256, sequences=4))
    with model.stream(QUESTIONS, ballots=6, **OPTIONS) as stream:
        steps = iter(range(9))
        stream.watch = lambda: next(steps, None) is not None
        list(stream)
    assert all(result.finish_reason for result in stream.results)
    assert model.engine.cells_used() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ballots": 0, "effort": "low"}, "allowed is an integer from 1 to 8"),
        ({"ballots": 9, "effort": "low"}, "allowed is an integer from 1 to 8"),
        ({"ballots": 2.5, "effort": "low"}, "allowed is an integer from 1 to 8"),
        ({"ballots": 2}, "give an effort of low, medium or high"),
        ({"ballots": 2, "effort": "none"}, "give an effort of low, medium or high"),
    ],
)
def test_budgets_that_no_vote_can_keep_are_refused(options: dict[str, Any], message: str) -> None:
    model = entropix.Model(ScriptedEngine())
    with pytest.raises(ParameterError, match=message):
        model.generate(QUESTIONS, **options)
