"""`entropix ask`, and what a vote says on the command line."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entropix.cli.votes import standings
from entropix.engines.scripted import Script, hashed, saying
from entropix.types import Array
from helpers.confidences import calibrated, calibration
from helpers.scripts import seven_or_eight, seven_or_on_and_on


@pytest.fixture
def sure(cli: Any) -> Any:
    cli.script = saying("The answer is 9.", certainty=20)
    return cli


def test_the_answer_goes_out_and_how_sure_it_is_beside_it(sure: Any) -> None:
    shown = sure("ask", "--seed", "1", "How many are left?")
    assert (shown.code, shown.out) == (0, "9\n")
    assert "100% sure: 3 of 3 texts agree" in shown.err
    assert "not calibrated" in shown.err
    assert "3 texts ·" in shown.err


def test_quiet_gives_the_answer_alone(sure: Any) -> None:
    shown = sure("ask", "-q", "How many are left?")
    assert (shown.out, shown.err) == ("9\n", "")


def test_show_gives_the_text_before_the_answer(sure: Any) -> None:
    assert sure("ask", "--show", "How many are left?").out == "The answer is 9.\n\n9\n"


def test_of_a_single_text_its_probability_is_said_unless_it_is_next_to_nothing(cli: Any) -> None:
    cli.script = seven_or_eight
    assert "1 text, of probability 52% ·" in cli("ask", "-e", "none", "-p", "greedy", "How many?").err
    cli.script = hashed(sharpness=1.0)
    assert "1 text · " in cli("ask", "-e", "none", "-n", "20", "How many?").err


@pytest.mark.parametrize(("effort", "texts"), [("none", 1), ("low", 2), ("medium", 3), ("high", 4)])
def test_effort_says_how_many_texts_must_agree(sure: Any, effort: str, texts: int) -> None:
    record = json.loads(sure("ask", "--json", "--effort", effort, "How many are left?").out)
    branches = 1 if record["search"] is None else len(record["search"]["branches"])
    assert branches == texts
    assert record["answer"] == (None if effort == "none" else "9")


def test_an_open_question_is_answered_by_one_text_and_says_so(sure: Any) -> None:
    shown = sure("ask", "Why is the sky blue?")
    assert shown.out == "The answer is 9.\n"
    assert "no vote was held, as the question is open" in shown.err
    assert "1 text, of probability 100% ·" in shown.err


def test_texts_that_answer_nothing_shortly_are_no_vote(cli: Any) -> None:
    cli.script = saying("word " * 70, certainty=20)
    shown = cli("ask", "-n", "600", "What is love?")
    assert "no vote was held, as the texts explain" in shown.err


def test_several_questions_have_a_heading_each_and_are_one_batch(sure: Any) -> None:
    shown = sure("ask", "How many?", "How much?")
    assert shown.code == 0
    assert shown.out.count("9\n") == 2
    assert "1 of 2: How many?" in shown.out
    assert "2 of 2: How much?" in shown.out


def test_arguments_files_and_standard_input_are_answered_together(sure: Any, tmp_path: Path) -> None:
    file = tmp_path / "q.txt"
    file.write_text("How old 😀?\n")
    shown = sure("ask", "--json", "--seed", "1", "How many?", "-", "-f", str(file), stdin=b"How much?\n")
    records = [json.loads(line) for line in shown.out.splitlines()]
    assert [record["prompt"] for record in records] == ["How many?", "How much?", "How old 😀?"]
    assert [record["answer"] for record in records] == ["9"] * 3


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
def test_which_of_several_questions_is_empty_is_said(sure: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "q.txt"
    file.write_text(text)
    assert f"the question in {str(file)!r} is empty" in sure("ask", "How many?", "-f", str(file)).err
    assert "question 2 is empty" in sure("ask", "How many?", text, "How much?").err
    assert sure.loads == []


def test_which_of_several_questions_is_too_long_is_said(sure: Any) -> None:
    sure.engine = {"context": 200}
    shown = sure("ask", "How many?", "x" * 300)
    assert (shown.code, shown.out) == (2, "")
    assert "prompt 2 of 2: the prompt has" in shown.err


def test_ballots_per_question_move_between_several(cli: Any) -> None:
    cli.script = saying("The answer is 9.", certainty=20)
    shown = cli("ask", "--ballots", "4", "--seed", "1", "How many?", "How much?")
    assert shown.code == 0
    assert shown.err.count("4 of 4 texts agree") == 2


def test_texts_without_an_answer_say_so(cli: Any) -> None:
    cli.script = saying("I cannot say.", certainty=20)
    shown = cli("ask", "--answer", "number", "--effort", "low", "How many?")
    assert (shown.code, shown.out) == (0, "I cannot say.\n")
    assert "no text gives an answer to count, so the likeliest text is given" in shown.err
    assert "8 texts ·" in shown.err
    record = json.loads(cli("ask", "--answer", "number", "--effort", "low", "--json", "How many?").out)
    assert (record["answer"], record["confidence"]) == (None, 0.0)
    assert record["confidence_source"].startswith("0 of 8 texts agree")


def interrupted(cli: Any, script: Script, after: int, *arguments: str) -> Any:
    """`ask` with a Ctrl-C when so many tokens have been asked for."""
    calls = itertools.count(1)

    def once(tokens: tuple[int, ...]) -> Array:
        if next(calls) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return script(tokens)

    cli.script, cli.engine = once, {"sequences": 24}
    return cli("ask", *arguments)


def test_at_ctrl_c_in_a_wave_the_texts_that_have_ended_decide_for_every_question(cli: Any) -> None:
    arguments = ("--seed", "2", "--temperature", "1", "-e", "high", "How many?", "How much?")
    shown = interrupted(cli, seven_or_on_and_on, 60, *arguments)
    assert shown.code == 130
    assert [line for line in shown.out.splitlines() if not line.startswith("──")] == ["7", "", "7"]
    assert shown.err.count("search: it was stopped; ") == 2
    assert "not whole" not in shown.err


def test_at_ctrl_c_before_any_text_has_ended_it_says_that_the_text_is_not_whole(cli: Any) -> None:
    shown = interrupted(cli, saying("The answer is 9.", certainty=20), 15, "--seed", "1", "How many?")
    assert (shown.code, "The answer".startswith(shown.out.strip())) == (130, True)
    assert "the text is not whole: cancelled" in shown.err


def test_a_text_that_reached_its_limit_is_not_whole(sure: Any) -> None:
    assert "the text is not whole: token limit" in sure("ask", "-n", "5", "Why is the sky blue?").err


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([], "thinking"),
        ([None], "1 text is being written"),
        ([None, None], "2 texts are being written"),
        (["9", None, "8", "9"], "2 of 3 texts say 9 · 1 being written"),
        (["a\x1b[2J\nb", "c"], "1 of 2 texts say a\\x1b[2J b · 0 being written"),
    ],
)
def test_the_line_of_a_vote_counts_the_texts_as_they_come_in(answers: list[str | None], line: str) -> None:
    texts = [SimpleNamespace(answer=answer) for answer in answers]
    assert standings([texts]) == line
    assert standings([texts, texts]) == f"2 questions: {line} | {line}"


def test_nothing_moves_in_a_pipe(sure: Any) -> None:
    shown = sure("ask", "--color", "always", "--seed", "1", "How many?")
    assert "being written" not in shown.err
    assert "\r" not in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--effort", "huge", "x"), "invalid choice: 'huge'"),
        (("--answer", "nothing", "x"), "invalid choice: 'nothing'"),
        (("-p", "nonsense", "x"), "nonsense"),
        (("-n", "0", "x"), "'0'"),
        (("",), "empty"),
        (("--ballots", "2", "--endpoint", "http://localhost:1/v1", "x"), "--ballots does not go with --endpoint"),
        (("--ballots", "0", "x"), "'0'"),
        (("--ballots", "17", "x"), "ballots=17 is out of range; allowed is an integer from 1 to 16"),
        (("--ballots", "2", "-e", "none", "x"), "give an effort of low, medium or high"),
    ],
)
def test_a_mistake_gets_one_message_and_no_model_is_loaded(cli: Any, arguments: Any, message: str) -> None:
    shown = cli("ask", *arguments)
    assert shown.code == 2
    assert message in shown.err
    assert cli.loads == []


def test_generate_says_what_a_vote_has_found(cli: Any) -> None:
    cli.script = hashed(sharpness=1.0)
    search = "vote:n=3,answer=text,stop=none"
    shown = cli("generate", "-p", "sample", "--seed", "1", "-n", "5", "--search", search, "hi")
    assert "vote: " in shown.err
    assert "1 of 3 texts agree" in shown.err


def test_generate_says_that_a_vote_has_found_nothing(cli: Any) -> None:
    cli.script = saying("I cannot say.", certainty=20)
    shown = cli("generate", "-p", "sample", "--seed", "1", "--search", "vote:n=3,answer=number", "hi")
    assert shown.out == "I cannot say.\n"
    assert "no text gives an answer to count" in shown.err


def test_an_answer_is_printed_only_where_its_risk_is_kept(sure: Any, tmp_path: Path) -> None:
    for threshold, out in ((0.5, "9\n"), (0.95, "not sure enough to answer at a risk of 10 %\n")):
        made = calibrated(hashed(), calibration(threshold)).profile
        file = made.save(tmp_path / "p.json")
        shown = sure("ask", "--risk", "10%", "--profile", str(file), "--seed", "1", "How many?")
        assert (shown.code, shown.out) == (0, out)
        assert "88% sure: 3 of 3 texts agree, lead:3; calibrated on 120 items of sums" in shown.err
        assert ("leading: 9" in shown.err) == (threshold == 0.95)


def test_a_wrong_risk_is_refused_before_a_model_is_loaded(cli: Any) -> None:
    shown = cli("ask", "--risk", "110%", "How many?")
    assert (shown.code, cli.loads) == (2, [])
    assert "between 0 and 1" in shown.err


def test_spans_show_the_text_with_what_is_doubtful_in_it_and_then_the_answer(cli: Any) -> None:
    cli.script = saying("In 1887, so the answer is 9.", certainty=6)
    shown = cli("ask", "--spans", "--color", "always", "--seed", "2", "How many are left?")
    assert shown.out.endswith("\n9\n")
    assert "4m1887" in shown.out
    assert "spans: 2 of 2 are less than 90% sure" in shown.err
    assert "1887 (number; " in shown.err
