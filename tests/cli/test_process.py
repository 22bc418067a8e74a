"""The command line as a process: Ctrl-C, a reader that leaves, a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from entropix.policies import POLICIES
from entropix.trace import read_trace
from helpers.llama import needs_llama_cpp
from helpers.terminal import Terminal

SCRIPTED = str(Path(__file__).parents[1] / "helpers" / "slow_command.py")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}


def start(*arguments: str, stdin: int = subprocess.DEVNULL, **environ: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, SCRIPTED, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1", **environ},
    )


def read_until(stream: IO[bytes], text: bytes) -> bytes:
    data = b""
    while text not in data:
        piece = os.read(stream.fileno(), 1000)
        assert piece, f"ended after {data!r}"
        data += piece
    return data


def finish(process: subprocess.Popen[bytes], before: bytes = b"") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, (before + out).decode(), err.decode()


def test_ctrl_c_keeps_the_text_finishes_the_trace_and_exits_with_130(tmp_path: Path) -> None:
    process = start("generate", "hi", "--trace", str(tmp_path / "t.jsonl"))
    assert process.stdout
    before = read_until(process.stdout, b"word w")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process, before)
    trace = read_trace(tmp_path / "t.jsonl")
    assert code == 130
    assert out.startswith("word w")
    assert len(out) < 100
    assert "cancelled" in err
    assert "Traceback" not in err
    assert trace.problems == ()
    assert trace.answers[0].result is not None
    assert trace.answers[0].result.finish_reason == "cancelled"
    assert trace.answers[0].text + "\n" == out


def test_ctrl_c_keeps_every_answer_of_a_batch(tmp_path: Path) -> None:
    process = start("generate", "hi", "ho", "--json", "--trace", str(tmp_path / "t.jsonl"), PAUSE="0.05")
    deadline = time.monotonic() + 20
    path = tmp_path / "t.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < 10:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, out, _ = finish(process)
    assert code == 130
    assert out.count('"finish_reason": "cancelled"') == 2
    assert [a.text.startswith("wor") for a in read_trace(path).answers] == [True, True]


def test_ctrl_c_twice_stops_at_once() -> None:
    process = start("generate", "hi", PAUSE="2")
    assert process.stderr
    read_until(process.stderr, b"calibrate")
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "Traceback" not in err
    assert time.monotonic() - began < 1.9


def test_a_reader_that_leaves_ends_the_run_quietly_with_a_whole_trace(tmp_path: Path) -> None:
    process = start("generate", "hi", "--trace", str(tmp_path / "t.jsonl"))
    assert process.stdout
    assert process.stderr
    read_until(process.stdout, b"word")
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=30) == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    trace = read_trace(tmp_path / "t.jsonl")
    assert trace.problems == ()
    assert trace.answers[0].text.startswith("word")


@pytest.mark.parametrize("command", [["policies"], ["models"], ["--help"], ["generate", "--help"]])
def test_a_reader_that_is_not_there_gets_no_stack_trace(command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, SCRIPTED, *command], stdout=writer, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
    )
    os.close(writer)
    assert done.returncode in (0, 141)  # argparse itself passes over a reader that is gone
    assert done.stderr == b""


def test_ctrl_c_in_a_script_of_turns_keeps_the_turn_and_ends_with_130(tmp_path: Path) -> None:
    process = start("chat", "--trace", str(tmp_path / "t.jsonl"), stdin=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"One?\nTwo?\n")
    process.stdin.close()
    process.stdin = None
    before = read_until(process.stdout, b"word w")
    process.send_signal(signal.SIGINT)
    code, out, _ = finish(process, before)
    assert code == 130
    trace = read_trace(tmp_path / "t.jsonl")
    assert len(trace.answers) == 1
    assert trace.answers[0].text + "\n" == out


class Entropix(Terminal):
    """The program, with a scripted model, on a terminal of its own."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        defaults = {**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "80"}
        super().__init__([sys.executable, SCRIPTED, *arguments], {**defaults, **environ})


@pytest.mark.parametrize(("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours_unless_it_does_not_want_any(environ: Mapping[str, str], colored: bool) -> None:
    terminal = Entropix("generate", "hi", SAYS="abc\x1b[2J", PAUSE="0", **environ)
    code = terminal.end()
    assert code == 0
    assert ("injected text" in terminal.seen) is colored
    assert ("\x1b[" in terminal.seen) is colored
    assert "\x1b[2J" not in terminal.seen
    assert "\\x1b" in terminal.seen


@pytest.mark.parametrize(("columns", "first"), [(40, 8), (72, 14)])
def test_a_narrow_terminal_cuts_no_cell_of_a_table_off(columns: int, first: int) -> None:
    terminal = Entropix("policies", NO_COLOR="1", COLUMNS=str(columns))
    assert terminal.end() == 0
    assert "…" not in terminal.seen
    lines = terminal.seen.splitlines()
    assert max(map(len, lines)) <= columns
    assert "".join(POLICIES) in "".join(line[:first].strip() for line in lines)


def test_a_chat_on_a_terminal_survives_ctrl_c_and_mistakes_and_ends_with_ctrl_d() -> None:
    terminal = Entropix("chat", NO_COLOR="1")
    terminal.wait_for("> ")
    terminal.type("One?\n")
    terminal.wait_for("word w")
    terminal.type("\x03")
    terminal.wait_for("cancelled")
    terminal.wait_for("> ")
    terminal.type("/nonsense\n")
    terminal.wait_for("there is no command")
    terminal.wait_for("> ")
    terminal.type("Two?\n")
    terminal.wait_for("word w")
    terminal.type("\x03")
    terminal.wait_for("reused")
    terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize(("command", "said"), [("generate", "Yes."), ("ask", "3 texts · ")])
def test_a_terminal_shows_how_much_of_a_long_prompt_has_been_read(command: str, said: str) -> None:
    terminal = Entropix(command, "x" * 3000, SAYS="Yes.", PAUSE="0.1", COLUMNS="120")
    terminal.wait_for("reading the prompt: ")
    terminal.wait_for(" of 3,")
    assert terminal.end() == 0
    assert said in terminal.seen


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_shows_that_texts_are_being_written(environ: Mapping[str, str]) -> None:
    terminal = Entropix("ask", "What is 3 + 4?", SAYS="It is 7.", PAUSE="0.05", **environ)
    terminal.wait_for("texts are being written")
    assert terminal.end() == 0
    assert "3 of 3 texts agree" in terminal.seen


def test_a_short_prompt_and_a_terminal_without_colours_show_nothing_of_it() -> None:
    for prompt, environ in (("hi", {}), ("x" * 3000, {"TERM": "dumb"})):
        terminal = Entropix("generate", prompt, SAYS="Yes.", PAUSE="0.02", **environ)
        assert terminal.end() == 0
        assert "reading" not in terminal.seen


def test_ctrl_c_at_the_prompt_leaves_a_chat() -> None:
    terminal = Entropix("chat", NO_COLOR="1")
    terminal.wait_for("> ")
    time.sleep(0.3)  # line editing must be waiting, or it waits for another key before it sees the signal
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("command", ["generate", "ask"])
def test_the_prompt_is_not_waited_for_on_a_terminal_without_one(command: str) -> None:
    terminal = Entropix(command, COLUMNS="120")
    assert terminal.end() == 2
    assert f'there is no prompt; give one, as in: entropix {command} "' in terminal.seen


@pytest.mark.slow
def test_the_default_model_answers_stops_at_ctrl_c_and_keeps_its_trace(smollm2: Path, tmp_path: Path) -> None:
    needs_llama_cpp()
    path = tmp_path / "t.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "entropix", "generate", "Tell a long story.", "--seed", "1", "--trace", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout
    before = os.read(process.stdout.fileno(), 1000)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process, before)
    assert code == 130
    assert "cancelled" in err
    answer = read_trace(path).answers[0]
    assert answer.result is not None
    assert answer.text.strip() == out.strip()


def test_an_output_that_cannot_be_written_is_said_and_exits_with_2() -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "entropix", "policies"], stdout=sink, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
