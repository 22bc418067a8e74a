"""`entropix serve --supervised`: what a crash of the engine's process leaves to its clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from helpers.clients import until
from helpers.llama import needs_llama_cpp
from helpers.processes import SCRIPTED, Process

if not hasattr(os, "fork"):
    pytest.skip("needs Unix sockets", allow_module_level=True)

Start = Callable[..., Process]
CHAT = "/v1/chat/completions"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts supervised servers, which are stopped when the test ends and leave no process behind."""
    started: list[Process] = []
    # what is killed leaves its socket there; pytest's own folders have names too long for one
    with tempfile.TemporaryDirectory() as folder:

        def begin(*arguments: str, **environ: str) -> Process:
            given = {"DRAWS": "1", "PAUSE": "0.002", "TMPDIR": folder, **environ}
            process = Process("--supervised", *arguments, **given)
            started.append(process)
            return process

        yield begin
        for process in started:
            process.process.kill()
            process.process.wait()


def child_of(process: Process) -> int:
    """The number of the engine's process."""
    (child,) = subprocess.check_output(["pgrep", "-P", str(process.process.pid)], text=True).split()
    return int(child)


def lives(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1] not in ("", "Z")


def crash(process: Process) -> None:
    os.kill(child_of(process), signal.SIGKILL)


def body(seed: int, text: str = "hi", **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "scripted", "messages": messages, "seed": seed, "max_tokens": 20, **options}


def alone(seed: int, text: str = "hi", tokens: int = 20) -> str:
    answer: str = Model(ScriptedEngine(hashed(3.0))).generate(text, seed=seed, max_tokens=tokens).text
    return answer


def metric(process: Process, line: str) -> float:
    text = httpx.get(f"{process.url}/metrics", timeout=30).text
    return float(next(entry.rpartition(" ")[2] for entry in text.splitlines() if entry.startswith(line + " ")))


class Stream:
    """A streamed answer, as far as it has come. `error`: what ended it, None after [DONE]."""

    def __init__(self) -> None:
        self.status = 0
        self.text = ""
        self.comments = 0
        self.error: dict[str, Any] | None = None
        self.done = False

    def read(self, url: str, request: dict[str, Any]) -> Stream:
        with httpx.stream("POST", url + CHAT, json={**request, "stream": True}, timeout=60) as answer:
            self.status = answer.status_code
            for line in answer.iter_lines():
                self.comments += line.startswith(":")
                if line == "data: [DONE]":
                    self.done = True
                elif line.startswith("data: "):
                    chunk = json.loads(line[6:])
                    self.error = chunk.get("error", self.error)
                    for choice in chunk.get("choices", ()):
                        self.text += choice["delta"].get("content", "")
                elif not line.startswith(":"):
                    assert line == ""
        return self


def test_whoever_was_told_nothing_outlives_a_crash_under_load_and_a_stream_ends_with_an_error(start: Start) -> None:
    # it loads for as long as a busy machine may take to ask whether it is back
    process = start("--parallel", "4", KEEP_ALIVE="0.01", PAUSE="0.02", LOADS="3")
    streams = [Stream() for _ in range(10)]

    def post(seed: int) -> httpx.Response:
        return httpx.post(process.url + CHAT, json=body(seed), timeout=60)

    def held() -> float:
        return metric(process, "entropix_queue_length") + metric(process, "entropix_running")

    with ThreadPoolExecutor(20) as pool:
        streamed = [pool.submit(s.read, process.url, body(n)) for n, s in enumerate(streams)]
        whole = [pool.submit(post, seed) for seed in range(10, 20)]
        until(lambda: any(s.text for s in streams) and any(s.comments and not s.text for s in streams))
        until(lambda: held() >= 12)  # a busy machine sends the twenty one by one
        crash(process)
        until(lambda: httpx.get(f"{process.url}/ready").status_code == 503)
        assert "restarting" in httpx.get(f"{process.url}/ready").json()["error"]["message"]
        assert httpx.get(f"{process.url}/health").json() == {"status": "restarting", "restarts": 1}
        assert metric(process, "entropix_restarts_total") == 1
        answers = [f.result() for f in whole]
        for future in streamed:
            future.result()
    assert httpx.get(f"{process.url}/health").json() == {"status": "ok"}
    assert [a.status_code for a in answers] == [200] * 10
    assert [a.json()["choices"][0]["message"]["content"] for a in answers] == [alone(s) for s in range(10, 20)]
    cut = 0
    for seed, stream in enumerate(streams):
        assert stream.status == 200
        if stream.error is None:
            assert stream.done
            assert stream.text == alone(seed)
        else:
            cut += 1
            assert not stream.done
            assert stream.error["code"] == "engine_crashed"
            assert "SIGKILL" in stream.error["message"]
            assert alone(seed).startswith(stream.text)
    assert 1 <= cut <= 4, "only those that had a place had a token, and comments are none"
    assert metric(process, 'entropix_crashed_requests_total{outcome="cut"}') == cut
    # of the twelve at most four were cut, and four ended between the count and the crash
    assert 4 <= metric(process, 'entropix_crashed_requests_total{outcome="resent"}') <= 20 - cut
    assert metric(process, f'entropix_requests_total{{path="{CHAT}",status="200"}}') == 20


def test_a_request_that_crashes_it_every_time_is_refused_and_those_beside_it_are_not(start: Start) -> None:
    process = start()

    def post(path: str, request: dict[str, Any]) -> httpx.Response:
        return httpx.post(process.url + path, json=request, timeout=60)

    with ThreadPoolExecutor(8) as pool:
        poisoned = pool.submit(post, CHAT, body(1, "POISON"))
        healthy = [pool.submit(post, CHAT, body(s, f"hello {s}", max_tokens=60)) for s in range(5)]
        refused = poisoned.result()
        texts = [f.result().json()["choices"][0]["message"]["content"] for f in healthy]
    assert texts == [alone(s, f"hello {s}", 60) for s in range(5)]
    assert refused.status_code == 500
    assert refused.json()["error"]["code"] == "engine_crashed"
    assert "4 times with this request in it, last by signal SIGSEGV" in refused.json()["error"]["message"]
    assert metric(process, "entropix_restarts_total") == 4
    assert metric(process, 'entropix_crashed_requests_total{outcome="refused"}') == 1


@pytest.mark.parametrize(
    ("path", "token", "end"),
    [
        ("/v1/messages", "content_block_delta", 'event: error\ndata: {"type": "error", "error": {"type": "overloaded'),
        ("/api/chat", '"done": false', '{"error": "the engine\'s process has crashed'),
    ],
)  # fmt: skip
def test_a_cut_stream_ends_with_an_error_as_its_api_has_it(start: Start, path: str, token: str, end: str) -> None:
    process = start()
    got = ""
    with httpx.stream("POST", process.url + path, json=body(1, max_tokens=400, stream=True), timeout=60) as answer:
        for piece in answer.iter_text():
            crash(process) if token in piece and token not in got else None
            got += piece
    assert end in got.strip().rpartition("\n\n" if path == "/v1/messages" else "\n")[2]
    assert "signal SIGKILL" in got


def test_a_process_that_is_stopped_is_started_again_and_its_requests_are_answered(start: Start) -> None:
    process = start("--hang-limit", "2.5", "--parallel", "2", PAUSE="0.02")
    stream = Stream()
    with ThreadPoolExecutor(4) as pool:
        streaming = pool.submit(stream.read, process.url, body(1, max_tokens=400))
        until(lambda: bool(stream.text))
        waiting = [pool.submit(httpx.post, process.url + CHAT, json=body(s), timeout=60) for s in (2, 3)]
        os.kill(child := child_of(process), signal.SIGSTOP)
        answers = [f.result() for f in waiting]
        streaming.result()
    assert [a.json()["choices"][0]["message"]["content"] for a in answers] == [alone(2), alone(3)]
    assert stream.error is not None
    assert "no progress for 2.5 s" in stream.error["message"]
    assert not lives(child)
    assert child_of(process) != child
    assert [e["how"] for e in process.log if e.get("event") == "engine_ended"] == ["no progress for 2.5 s"]


def test_a_thread_that_is_stuck_counts_as_a_hang_and_one_that_computes_for_long_or_waits_does_not(
    start: Start, tmp_path: Path
) -> None:
    limit = 2.5
    process = start("--hang-limit", str(limit), "--time-limit", "60", HUNG=str(tmp_path / "hung"), LONG=str(2 * limit))

    def post(text: str, tokens: int) -> httpx.Response:
        return httpx.post(process.url + CHAT, json=body(1, text, max_tokens=tokens), timeout=60)

    assert post("LONG", 1).status_code == 200
    time.sleep(1.5 * limit)
    assert httpx.get(f"{process.url}/health").json() == {"status": "ok"}
    assert metric(process, "entropix_restarts_total") == 0
    assert post("STUCK", 20).json()["choices"][0]["message"]["content"] == alone(1, "STUCK")
    assert metric(process, "entropix_restarts_total") == 1


def test_limits_keys_and_departures_are_as_without_and_killed_it_leaves_no_engine(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\nanother-key-of-some-length\n")
    keys.chmod(0o600)
    origin = "https://chat.example.org"
    process = start("--max-body", "2000", "--api-key-file", str(keys), "--allow-origin", origin)
    key = {"Authorization": "Bearer a-key-of-some-length", "Origin": origin}
    with httpx.Client(base_url=process.url, headers=key, timeout=30) as client:
        large = client.post(CHAT, json=body(1, "x" * 3000))
        assert large.status_code == 413
        chunked = client.post(CHAT, content=(b"x" * 1000 for _ in range(4)))
        assert chunked.status_code == 413
        assert httpx.post(process.url + CHAT, json=body(1)).status_code == 401
        answer = client.post("/v1/responses", json={"model": "scripted", "input": "hi", "max_output_tokens": 3})
        assert answer.headers.get_list("access-control-allow-origin") == [origin]
        assert len(answer.headers.get_list("date")) == 1
        assert client.get(f"/v1/responses/{answer.json()['id']}").status_code == 200
        other = {"Authorization": "Bearer another-key-of-some-length"}
        assert client.get(f"/v1/responses/{answer.json()['id']}", headers=other).status_code == 404
        number = answer.headers["x-request-id"]
        until(lambda: any(e.get("id") == number for e in process.log))
        assert [e["status"] for e in process.log if e.get("id") == number] == [200], "one line, of who answered"
        ollama = client.post("/api/chat", content=(b"x" * 1000 for _ in range(4)))
        assert ollama.status_code == 413
        assert "too large" in ollama.json()["error"]
        with client.stream("POST", CHAT, json=body(1, max_tokens=4000, stream=True)) as stream:
            next(stream.iter_lines())

        def departed() -> bool:
            return "entropix_disconnects_total 1.0" in client.get("/metrics").text

        until(departed)
    child = child_of(process)
    process.process.kill()
    process.process.wait()
    until(lambda: not lives(child))


def test_it_ends_in_order_and_the_engine_with_it(start: Start) -> None:
    process = start("--parallel", "1")
    child = child_of(process)
    stream = Stream()
    reading = threading.Thread(target=stream.read, args=(process.url, body(1, max_tokens=400)))
    reading.start()
    until(lambda: bool(stream.text))
    # a service manager may send it to every process
    os.kill(child, signal.SIGTERM)
    process.process.send_signal(signal.SIGTERM)
    until(lambda: httpx.get(f"{process.url}/ready").status_code == 503)
    refused = httpx.post(process.url + CHAT, json=body(1))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    reading.join()
    assert stream.done
    assert process.end() == 0
    assert not lives(child)


def test_a_second_ctrl_c_ends_it_at_once_with_130(start: Start) -> None:
    process = start("--grace", "3000", SAYS="word " * 800, PAUSE="0.05")
    child = child_of(process)
    stream = Stream()
    reading = threading.Thread(target=stream.read, args=(process.url, body(1, max_tokens=4000)))
    reading.start()
    until(lambda: bool(stream.text))
    process.process.send_signal(signal.SIGINT)
    until(lambda: httpx.get(f"{process.url}/ready").status_code == 503)
    process.process.send_signal(signal.SIGINT)
    assert process.end() == 130
    reading.join()
    assert stream.error is not None
    assert stream.error["code"] == "shutting_down"
    assert not lives(child)


def test_a_mistake_in_what_was_given_is_one_message_and_2() -> None:
    command = [sys.executable, SCRIPTED, "serve", "--port", "0", "--supervised", "--policy", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "there is no policy" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_read_is_one_message_and_2(tmp_path: Path) -> None:
    needs_llama_cpp()
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + b"\x00" * 100)
    command = [sys.executable, "-m", "entropix", "serve", "--supervised", "--port", "0", "-m", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("entropix: ") == 1
    assert "broken.gguf" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_process_in_front_loads_neither_model_nor_framework() -> None:
    heavy = ("fastapi", "pydantic", "entropix.model", "llguidance", "torch", "xllamacpp", "llama_cpp")
    code = f"import sys, entropix.serve.supervised.running; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_default_model_answers_after_a_crash_as_if_there_had_been_none(smollm2: Path) -> None:
    needs_llama_cpp()
    from entropix import load

    process = Process(
        "--supervised", "--threads", "1", "--context", "1024", "--reproducible", program=("-m", "entropix")
    )
    try:
        questions = ["Name a river.", "Why is the sky blue?", "Count to ten."]
        request = {"max_tokens": 16, "model": "smollm2"}
        watched = Stream()
        with ThreadPoolExecutor(4) as pool:
            streaming = pool.submit(
                watched.read, process.url, body(1, "Tell a story.", **{**request, "max_tokens": 400})
            )
            answers = [
                pool.submit(httpx.post, process.url + CHAT, json=body(1, q, **request), timeout=120) for q in questions
            ]
            until(lambda: bool(watched.text), 60)
            crash(process)
            texts = [f.result().json()["choices"][0]["message"]["content"] for f in answers]
            streaming.result()
        assert watched.error is not None
        assert watched.error["code"] == "engine_crashed"
        with load("smollm2", threads=1, context=1024) as model:
            expected = [model.generate(q, seed=1, max_tokens=16, reproducible=True).text for q in questions]
        assert texts == expected
    finally:
        process.process.send_signal(signal.SIGTERM)
        assert process.end() == 0


class TestSupervisor:
    """The engine's process as such, which here is a few lines of Python."""

    def run(self, monkeypatch: pytest.MonkeyPatch, code: str, **patches: Any) -> Any:
        from entropix.serve.supervised import supervisor

        for name, value in patches.items():
            monkeypatch.setattr(supervisor, name, value)

        async def main() -> Any:
            said: list[Any] = []
            program = f"import os, socket, sys; s = socket.socket(fileno=int(sys.argv[-1].split(',')[1])); {code}"
            watched = supervisor.Supervisor([sys.executable, "-S", "-c", program], 4, said.append, lambda: None)
            await asyncio.wait_for(watched.run(), 30)
            return watched, said

        return asyncio.run(main())

    def test_it_gives_up_when_it_does_not_start_again(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        mark = str(tmp_path / "mark")
        code = f"os.path.exists({mark!r}) and sys.exit(3); open({mark!r}, 'w'); s.sendall(b'{{}}\\n'); os.abort()"
        watched, said = self.run(monkeypatch, code, FIRST_PAUSE=0.001, STARTS=3)
        assert said == [{}]
        assert (watched.code, watched.alive, watched.restarts) == (3, False, 3)
        assert "did not start 3 times in a row (exit code 3)" in caplog.text

    def test_a_signal_at_the_first_start_is_the_end_with_its_exit_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        watched, said = self.run(monkeypatch, "os.kill(os.getpid(), 11)")
        assert (said, watched.code, watched.restarts) == ([], 139, 0)

    def test_what_waits_for_it_is_bounded_in_number_and_time(self) -> None:
        from entropix.serve.errors import ApiError
        from entropix.serve.supervised.supervisor import Supervisor

        async def main() -> None:
            watched = Supervisor(["/nonexistent/python"], 1, lambda _: None, lambda: None)
            loop = asyncio.get_running_loop()
            first = asyncio.create_task(watched.engine(loop.time() + 0.2, again=False))
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as full:
                await watched.engine(loop.time() + 60, again=False)
            assert full.value.status_code == 503
            assert full.value.headers
            assert full.value.headers["Retry-After"]
            with pytest.raises(ApiError, match="time limit"):
                await watched.engine(loop.time(), again=True)
            with pytest.raises(ApiError, match="time limit"):
                await first
            await watched.run()
            assert watched.code == 1

        asyncio.run(main())
