"""Effort: a level is a vote with a rule, about what the question and its texts look like."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

import entropix
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.errors import ParameterError, PromptError
from entropix.search.ballots import ONE_VOTE
from entropix.search.effort import LEVELS, plan_effort
from helpers.scripts import one_after_the_other, seven_or_on_and_on


def model(text: str, **values: Any) -> entropix.Model:
    return entropix.Model(ScriptedEngine(saying(text, certainty=20), **values))


def test_texts_that_agree_end_the_vote_at_the_lead_of_the_level() -> None:
    for level, found in LEVELS.items():
        result = model("The answer is 9.").ask("How many are left?", level, seed=1)  # type: ignore[arg-type]
        texts = 1 if result.search is None else len(result.search.branches)
        assert texts == (1 if found is None else found[0])
        if found is not None:
            assert (result.answer, result.confidence) == ("9", 1.0)
            assert result.confidence_source == f"{texts} of {texts} texts agree; share of the ballots, not calibrated"


def test_every_question_of_a_batch_is_recognised_by_its_own_texts() -> None:
    results = model("The answer is 9.").ask(["How many?", "Why is the sky blue?", "Who is it?"], "low", seed=1)
    assert [result.answer for result in results] == ["9", None, "9"]
    assert results[1].search is None
    assert any("the question is open" in note for note in results[1].notes)


def test_it_is_stated_what_the_answers_of_a_vote_are_read_as() -> None:
    results = model("The answer is 9.").ask(["How many?", "Who is it?", "Why is it so?"], "low", seed=1)
    stated = [[note for note in result.notes if "read as" in note] for result in results]
    assert stated == [
        ["vote: answers are read as number, since the question asks for a number"],
        ["vote: answers are read as short, since the texts are short"],
        [],
    ]


def test_a_given_kind_of_answer_overrides_what_is_recognised() -> None:
    result = model("The answer is 9.").ask("Why is the sky blue?", "low", answer="text", seed=1)
    assert result.answer == "The answer is 9."
    assert not any("read as" in note for note in result.notes)


def test_the_first_text_is_the_greedy_one_and_the_rest_are_drawn(engine: Engine) -> None:
    asked = entropix.Model(engine)
    greedy = asked.generate("How many legs has a dog?", policy="greedy", max_tokens=8)
    result = asked.ask("How many legs has a dog?", "low", seed=3, max_tokens=8)
    assert result.search is not None
    assert result.search.branches[0].text == greedy.text
    assert result.policy == "sample"


def test_a_policy_of_the_users_draws_the_ballots() -> None:
    assert model("9").ask("How many?", "low", policy="entropix", seed=1).policy == "entropix"


def test_an_engine_that_cannot_go_back_draws_all_ballots_at_once() -> None:
    engine = ScriptedEngine(saying("The answer is 9.", certainty=20), sequences=6)
    engine.capabilities = replace(engine.capabilities, rewind=False)
    result = entropix.Model(engine).ask("How many?", "medium", seed=1)
    assert result.search is not None
    assert (len(result.search.branches), result.answer) == (6, "9")


def test_without_room_for_a_vote_one_text_answers_and_that_is_said() -> None:
    result = model("The answer is 9.", sequences=2).ask("How many?", "low", seed=1)
    assert result.search is None
    assert any("there is room for 2" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": "huge"}, "known are none, low, medium, high"),
        ({"effort": ["low"]}, "known are none, low, medium, high"),
        ({"effort": "none", "answer": "nothing"}, "answer='nothing' is unknown"),
        ({"effort": "low", "search": "tree"}, "give effort or search, not both"),
        ({"answer": "number"}, "give effort, or a search"),
        ({"effort": "low", "answer": "nothing"}, "answer='nothing' is unknown"),
    ],
)
def test_contradictions_are_refused_before_anything_is_decoded(options: dict[str, Any], message: str) -> None:
    asked = model("9")
    with pytest.raises(ParameterError, match=message):
        asked.generate("How many?", **options)
    assert asked.engine.forwards == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "greedy"},
        {"temperature": 0},
        {"policy": "sample:temperature=0"},
        {"policy": "entropix:temperature=0"},
        {"top_k": 1},
        {"top_p": 0.0},
        {"filters": "top_k=1"},
        {"policy": "entropix", "filters": "min_p=1"},
    ],
)
def test_a_policy_that_draws_the_same_text_each_time_holds_no_vote_and_says_so(options: dict[str, Any]) -> None:
    result = model("The answer is 9.").ask("How many?", "low", seed=1, **options)
    assert result.search is None
    assert any("draws the same text each time" in note for note in result.notes)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.1}, {"top_k": 2}, {"policy": "entropix", "top_k": 1}])
def test_a_policy_that_may_draw_another_text_holds_a_vote(options: dict[str, Any]) -> None:
    assert model("The answer is 9.").ask("How many?", "low", seed=1, **options).search is not None


def test_effort_none_reads_no_answer_and_says_so_where_one_is_wanted() -> None:
    result = model("The answer is 9.").ask("How many?", "none", answer="number", seed=1)
    assert (result.answer, result.search) == (None, None)
    assert any("no answer is read out of it" in note for note in result.notes)


def test_effort_none_is_one_text_as_the_policy_decodes_it() -> None:
    assert plan_effort("none", "How many?") == (None, ())
    plain = model("Hello").generate("How many?", seed=1)
    assert model("Hello").generate("How many?", seed=1, effort="none").tokens == plain.tokens


@pytest.mark.parametrize("options", [{"effort": "high"}, {"search": "vote:n=8,answer=number,first=greedy"}])
def test_of_a_vote_that_is_stopped_the_texts_that_have_ended_decide_and_that_is_said(options: dict[str, Any]) -> None:
    engine = ScriptedEngine(seven_or_on_and_on, sequences=9)
    stream = entropix.Model(engine).stream("How many?", seed=2, policy="sample", **options)
    looks = itertools.count()
    stream.watch = lambda: next(looks) < 8
    for _ in stream:
        pass
    result = stream.result
    assert (result.answer, result.text, result.finish_reason) == ("7", "7", "end")
    assert any("it was stopped; " in note and "had ended, and they decided" in note for note in result.notes)
    assert engine.cells_used() == 0


def test_of_a_vote_that_is_stopped_before_any_text_has_ended_there_is_what_the_first_one_said() -> None:
    engine = ScriptedEngine(saying("The answer is 9.", certainty=20))
    stream = entropix.Model(engine).stream("How many?", effort="low", seed=1)
    looks = itertools.count()
    stream.watch = lambda: next(looks) < 5
    for _ in stream:
        pass
    result = stream.result
    assert (result.answer, result.finish_reason) == (None, "cancelled")
    assert "The answer is 9.".startswith(result.text)
    assert not any("it was stopped" in note for note in result.notes)


def test_who_watches_a_vote_changes_nothing_of_what_is_said_of_it() -> None:
    """While one text of three has ended, one ballot alone votes; that is not said of the vote in the end."""
    stream = entropix.Model(ScriptedEngine(one_after_the_other, sequences=9)).stream(
        "How many?", seed=2, effort="low", answer="number"
    )
    notes: list[tuple[str, ...]] = []
    stream.watch = lambda: not notes.extend(s.notes for s in stream.searches if s is not None)
    for _ in stream:
        pass
    assert any(ONE_VOTE in said for said in notes)
    assert stream.result.search is not None
    assert (stream.result.search.ballots > 1, stream.result.search.notes) == (True, ())


def test_a_prompt_that_is_none_is_refused_with_effort_as_without() -> None:
    with pytest.raises(PromptError):
        model("9").generate(5, effort="low")  # type: ignore[call-overload]


def test_short_answers_that_are_asked_for_are_read_by_their_question() -> None:
    result = model("Hamlet was written by William Shakespeare.").ask("Who wrote Hamlet?", "low", answer="short", seed=1)
    assert result.answer == "william shakespeare"
