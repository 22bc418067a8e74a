"""`entropix generate --endpoint`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.cli import main
from entropix.trace import read_trace
from entropix.trace.html import document
from helpers.endpoint import Behaviour, Exchange, Fake

Start = Callable[[Behaviour], Fake]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["generate", *arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        return code, *capfd.readouterr()

    return command


def numbers(exchange: Exchange) -> None:
    exchange.say(["It is ", ("7", {"8": 0.4})] if exchange.n != 1 else ["It is ", "8"])


def test_a_vote_is_printed_with_its_tree_and_traced_as_truncated(fake: Start, run: Any, tmp_path: Path) -> None:
    server, trace = fake(numbers), tmp_path / "t.jsonl"
    code, out, err = run(
        "--endpoint", server.url, "--search", "vote:n=3,answer=number,stop=none", "--show-tree", "--trace", str(trace),
        "-p", "sample:temperature=0.7,top_k=5", "--seed", "4", "?",
    )  # fmt: skip
    assert (code, out) == (0, "It is 7\n")
    assert "3 ballots: 7 67%, 8 33%" in err
    assert "20 likeliest tokens" in err
    assert server.bodies[0]["temperature"] == 0.7
    assert server.bodies[0]["top_k"] == 5
    assert "min_p" not in server.bodies[0]
    read = read_trace(trace)
    assert read.problems == ()
    assert [s.truncated for s in read.answers[0].steps] == [2, 2]
    assert (read.header["engine"], read.header["model"]) == ("endpoint", "fake")
    assert read.answers[0].result.search.ballots == 3
    assert "2" in document(read)
    assert main(["trace", str(trace), "--table"]) == 0
    assert main(["trace", str(trace), "--tree"]) == 0


def test_json_has_every_token(fake: Start, run: Any) -> None:
    code, out, _ = run("--endpoint", fake(numbers).url, "--json", "one", "two")
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [a["text"] for a in answers] == ["It is 7", "It is 8"]
    assert answers[0]["tokens"][1]["leading"][0][1:] == ["7", pytest.approx(0.6), None]


def test_what_was_answered_before_a_failure_is_shown(fake: Start, run: Any) -> None:
    def once(exchange: Exchange) -> None:
        if exchange.n == 0:
            exchange.say(["hello"])
        else:
            exchange.refuse(400, "not that")

    code, out, err = run("--endpoint", fake(once).url, "one", "two")
    assert code == 2
    assert "hello" in out
    assert "not that" in err


def test_the_key_comes_from_a_file_and_is_in_no_trace(fake: Start, run: Any, tmp_path: Path) -> None:
    server, key, trace = fake(numbers), tmp_path / "key", tmp_path / "t.jsonl"
    key.write_text("sk-secret\n")
    assert run("--endpoint", server.url, "--api-key-file", str(key), "--trace", str(trace), "?")[0] == 0
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in trace.read_text()
    for mode, warned in ((0o644, True), (0o600, False)):
        key.chmod(mode)
        assert ("chmod 600" in run("--endpoint", server.url, "--api-key-file", str(key), "?")[2]) == warned
    key.write_text("two words")
    code, _, err = run("--endpoint", server.url, "--api-key-file", str(key), "?")
    assert code == 2
    assert "holds no key" in err
    assert "two words" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-p", "entropix"], "policy 'entropix' does not go with --endpoint"),
        (["-p", "sample:control=random"], "control"),
        (["--attention"], "no endpoint shows attention"),
        (["--regex", "a"], "a constraint needs the logits"),
        (["--threads", "2"], "the endpoint has its own"),
        (["--set", "temperature=1"], "needs --policy sample"),
        (["--search", "lookahead"], "there are tree, vote, best"),
        (["--time-limit", "0"], "limit=0.0"),
        (["--api-key-file", "/nowhere/key"], "/nowhere/key"),
    ],
)
def test_what_an_endpoint_cannot_do_is_refused_with_the_reason(run: Any, arguments: list[str], says: str) -> None:
    code, out, err = run("--endpoint", "http://localhost:9", *arguments, "?")
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_options_of_an_endpoint_need_one(run: Any) -> None:
    code, _, err = run("--time-limit", "3", "?")
    assert code == 2
    assert "--endpoint" in err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_shows_what_was_said_and_leaves_nothing_running(fake: Start, tmp_path: Path) -> None:
    server, trace = fake(lambda exchange: exchange.say(["word "] * 3000, pause=0.01)), tmp_path / "t.jsonl"
    arguments = ["--endpoint", server.url, "--search", "vote:n=3,answer=text", "-n", "3000", "--trace", str(trace), "?"]
    running = subprocess.Popen(
        [sys.executable, "-m", "entropix", "generate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 20
    while server.active < 3:
        assert time.monotonic() < deadline, "nothing was asked"
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert out.startswith("word word ")
    assert "Traceback" not in err
    while server.active:
        assert time.monotonic() < deadline, "a request was left open"
        time.sleep(0.02)
    assert read_trace(trace).answers[0].result.finish_reason == "cancelled"
