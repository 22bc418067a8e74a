"""`entropix serve` as a process: signals, and what is wrong before it begins."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.clients import MESSAGES, until
from helpers.llama import needs_llama_cpp
from helpers.processes import SCRIPTED, Process

CHAT = {"model": "scripted", "messages": MESSAGES, "entropix": {"policy": "greedy", "steps": False}}


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.process.kill()
        process.process.wait()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTED, "serve", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("level", "logged"), [("info", {"/v1/models"}), ("debug", {"/v1/models", "/ready"})])
def test_probes_do_not_fill_the_log(processes: list[Process], level: str, logged: set[str]) -> None:
    process = Process("--log-level", level)
    processes.append(process)  # which asks /ready until it is
    assert httpx.get(f"{process.url}/v1/models").status_code == 200
    until(lambda: any(line.get("path") == "/v1/models" for line in process.log))
    assert {line["path"] for line in process.log if line.get("event") == "request"} == logged


def test_sigterm_lets_an_answer_end_and_exits_with_0(processes: list[Process]) -> None:
    process = Process(SAYS="word " * 8, PAUSE="0.03")
    processes.append(process)
    with httpx.stream("POST", f"{process.url}/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
        lines = stream.iter_lines()
        next(lines)
        process.process.send_signal(signal.SIGTERM)
        text = "\n".join(lines)
    assert text.count("content") >= 30
    assert text.rstrip().endswith("data: [DONE]")
    assert process.end() == 0
    assert [entry["status"] for entry in process.log if entry.get("path") == "/v1/chat/completions"] == [200]


def test_after_the_grace_time_an_answer_is_cut_with_an_error(processes: list[Process]) -> None:
    process = Process("--grace", "0.3", SAYS="word " * 400, PAUSE="0.03")
    processes.append(process)
    with httpx.stream("POST", f"{process.url}/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
        lines = stream.iter_lines()
        next(lines)
        process.process.send_signal(signal.SIGTERM)
        text = "\n".join(lines)
    assert "shutting down" in text
    assert process.end() == 0


def test_a_second_signal_ends_it_at_once_and_ctrl_c_is_130(processes: list[Process]) -> None:
    process = Process(SAYS="word " * 400, PAUSE="0.03")
    processes.append(process)
    with httpx.stream("POST", f"{process.url}/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
        lines = stream.iter_lines()
        next(lines)
        began = time.monotonic()
        process.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.process.send_signal(signal.SIGINT)
        assert process.end() == 130
    assert time.monotonic() - began < 5


def test_a_port_in_use_is_said_in_one_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "--api-key-file"),
        (["--api-key-file", "/nonexistent/keys"], "cannot be read"),
        (["--port", "70000"], "65535"),
        (["--policy", "nonsense"], "there is no policy"),
        (["--search", "maze"], "maze"),
        (["--queue", "-1"], "queue"),
        (["--host", "203.0.113.1", "--api-key-file", "KEYS"], "cannot listen on 203.0.113.1"),
    ],
)
def test_a_mistake_in_what_was_given_is_one_message_and_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    done = run(*[str(keys) if a == "KEYS" else a for a in arguments])
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_read_is_one_message_and_2(tmp_path: Path) -> None:
    needs_llama_cpp()
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + b"\x00" * 100)
    done = subprocess.run(
        [sys.executable, "-m", "entropix", "serve", "--port", "0", "-m", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "broken.gguf" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_default_model_answers_two_at_a_time_as_alone(processes: list[Process], smollm2: Path) -> None:
    needs_llama_cpp()
    from entropix import load

    process = Process("--threads", "1", "--context", "1024", program=("-m", "entropix"))
    processes.append(process)
    questions = ["Name a river.", "Why is the sky blue?"]
    answers: dict[str, str] = {}

    def ask(question: str) -> None:
        messages = [{"role": "user", "content": question}]
        body = {"model": "smollm2", "messages": messages, "seed": 1, "max_tokens": 24}
        answer = httpx.post(f"{process.url}/v1/chat/completions", json=body, timeout=120).json()
        answers[question] = answer["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=ask, args=(q,)) for q in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0
    with load("smollm2", threads=1, context=1024) as model:
        assert answers == {q: model.generate(q, seed=1, max_tokens=24).text for q in questions}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--search", "tree:max_sequences=99", "--parallel", "4"],
        ["--search", "vote:n=5", "--parallel", "4"],
        ["--effort", "low", "--parallel", "2"],
        ["--policy", "greedy", "--search", "branch:max_sequences=8", "--parallel", "2"],
    ],
)
def test_a_search_that_no_request_could_get_is_refused_before_the_server_is_ready(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "at a time" in done.stderr
    assert " at http://" not in done.stderr
    assert "Traceback" not in done.stderr


def test_while_answers_end_the_server_says_that_it_is_not_ready(processes: list[Process]) -> None:
    process = Process(SAYS="word " * 12, PAUSE="0.03")
    processes.append(process)
    with httpx.stream("POST", f"{process.url}/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
        lines = stream.iter_lines()
        next(lines)
        process.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{process.url}/ready").status_code == 503)
        assert "shutting down" in httpx.get(f"{process.url}/ready").text
        refused = httpx.post(f"{process.url}/v1/chat/completions", json=CHAT)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        text = "\n".join(lines)
    assert text.rstrip().endswith("data: [DONE]")
    assert process.end() == 0


def test_a_key_file_that_others_can_read_is_named_in_a_warning(processes: list[Process], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    for mode, warned in ((0o644, True), (0o600, False)):
        keys.chmod(mode)
        process = Process("--api-key-file", str(keys))
        processes.append(process)
        assert any("chmod 600" in line for line in process.lines) == warned
