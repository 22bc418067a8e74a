"""`entropix chat` on a script of lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import saying
from entropix.trace import read_trace


def chat(cli: Any, lines: str, *arguments: str) -> Any:
    cli.script = saying("Yes.", certainty=20)
    return cli("chat", *arguments, stdin=lines.encode())


def test_every_line_is_a_turn_and_only_answers_go_to_standard_output(cli: Any) -> None:
    outcome = chat(cli, "One?\n\nTwo?\r\nThree?")
    assert (outcome.code, outcome.out) == (0, "Yes.\n" * 3)
    assert outcome.err.count("−Σ ln p") == 3


def test_later_turns_reuse_the_cache(cli: Any) -> None:
    lines = chat(cli, "One?\nTwo?\n").err.splitlines()
    summaries = [line for line in lines if "forwarded" in line]
    assert "reused" not in summaries[0]
    assert "reused" in summaries[1]


def test_commands_change_policy_and_seed_of_the_same_conversation(cli: Any, tmp_path: Path) -> None:
    script = f"/trace {tmp_path}/t.jsonl\nOne?\n/policy sample:temperature=0.5\n/seed 5\nTwo?\n/seed\n/policy\nThree?\n"
    outcome = chat(cli, script, "--seed", "1", "--set", "candidates=2")
    assert outcome.code == 0
    results = [answer.result for answer in read_trace(tmp_path / "t.jsonl").answers]
    assert [(r.policy, r.steps[0].temperature) for r in results][1:] == [("sample", 0.5)] * 2
    assert [r.seed for r in results][:2] == [1, 5]
    assert "policy sample:temperature=0.5" in outcome.err


def test_reset_forgets_the_turns_and_keeps_the_system_message(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    chat(cli, f"One?\n/reset\nTwo?\n/save {path}\n", "--system", "Be brief.")
    assert json.loads(path.read_text("utf-8")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Yes."},
    ]


def test_a_trace_of_a_chat_has_a_prompt_and_a_result_a_turn(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    chat(cli, "One?\nTwo?\n/trace\nThree?\n", "--trace", str(path))
    trace = read_trace(path)
    assert [answer.prompt for answer in trace.answers] == ["One?", "Two?"]
    assert [answer.text for answer in trace.answers] == ["Yes.", "Yes."]
    assert trace.problems == ()


@pytest.mark.parametrize("word", ["/quit", "/exit", "/bye", "/q", "exit", "quit", "exit  "])
def test_the_words_that_leave_other_programs_leave_before_the_lines_end(cli: Any, word: str) -> None:
    outcome = chat(cli, f"One?\n{word}\nTwo?\n")
    assert (outcome.code, outcome.out) == (0, "Yes.\n")


def test_a_message_that_only_begins_with_such_a_word_is_sent(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    chat(cli, f"exit codes?\n exit\n/save {path}\n")
    said = [message["content"] for message in json.loads(path.read_text("utf-8")) if message["role"] == "user"]
    assert said == ["exit codes?", "exit"]


@pytest.mark.parametrize(("other", "ours"), [("/?", "/reset "), ("/clear", "the conversation starts anew")])
def test_other_programs_names_of_help_and_reset_are_known(cli: Any, other: str, ours: str) -> None:
    assert ours in chat(cli, f"{other}\n").err


def test_help_lists_every_command(cli: Any) -> None:
    err = chat(cli, "/help\n").err
    assert all(name in err for name in ("/help", "/reset", "/policy", "/seed", "/save", "/trace", "/quit"))


def test_a_line_that_starts_with_a_space_is_never_a_command(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    chat(cli, f" /quit\n/save {path}\n")
    assert json.loads(path.read_text("utf-8"))[0]["content"] == "/quit"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"One?\n/nonsense\nTwo?\n", "there is no command '/nonsense'; known are /help, /reset, /policy"),
        (b"One?\n/sed 5\n", "/quit; did you mean /seed? Start the line with a space"),
        (b"One?\n/exet\n", "did you mean /exit?"),
        (b"One?\n/seed x\n", "/seed takes an integer, not 'x'"),
        (b"One?\n/policy magic\n", "there is no policy 'magic'"),
        (b"One?\n/save\n", "/save needs a file name"),
        (b"One?\n/save /nowhere/c.json\n", "cannot write '/nowhere/c.json': no such file"),
        (b"One?\n/trace /nowhere/t.jsonl\n", "there is no folder '/nowhere'"),
        (b"One?\n/trace /dev/full\n", "no space left"),
        (b"One?\ncaf\xe9\n", "line 2 of standard input is not UTF-8: byte 0xe9 at offset 3"),
        (b"One?\n" + b"x" * 5000 + b"\n", "the context holds 4096"),
    ],
)
def test_a_mistake_ends_a_script_with_2_after_what_was_said(cli: Any, lines: bytes, message: str) -> None:
    cli.script = saying("Yes.", certainty=20)
    outcome = cli("chat", stdin=lines)
    assert (outcome.code, outcome.out) == (2, "Yes.\n")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
