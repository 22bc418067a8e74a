"""A stand-in for the server, for what a real one does not do on demand: errors, cuts, pauses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from entropix.engines import Engine
from entropix.engines.scripted import Script, ScriptedEngine, saying
from entropix.model import Model
from entropix.serve.page import SECURITY, files
from entropix.trace import result_record, step_record, thresholds_record, to_json


def unsure(text: str) -> Script:
    """A model that says `text` with any policy, but of some letters is surer than of others."""
    plain = saying(text, certainty=1.0)

    def logits(tokens: tuple[int, ...]) -> Any:
        certainty = (30.0, 9.0, 8.0, 12.0, 8.5)[len(tokens) % 5]
        out = np.asarray(plain(tokens)) * certainty
        out[97:105] += certainty / 3
        return out

    return logits


@dataclass
class Double:
    """Answers as the server would, unless told otherwise.

    fail: (status, message, headers) of every answer while it is set; cut: end streams after so many steps, with an
    event of the error `cut_by` if that is set; pause: seconds a step; key: the API key it wants. asked: what it was
    asked, gone: answers whose reader went away."""

    says: str = "The answer is 42, I think."
    fail: tuple[int, str, dict[str, str]] | None = None
    cut: int | None = None
    cut_by: str = ""
    pause: float = 0.0
    key: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    gone: int = 0
    address: str = ""

    @property
    def model(self) -> Model:
        return Model(ScriptedEngine(unsure(self.says)))

    def info(self) -> dict[str, Any]:
        model = self.model
        temperature = {"name": "temperature", "default": 0.666, "low": 0, "high": 1.5, "doc": "of the base"}
        inject = {"name": "inject", "default": "...", "low": None, "high": None, "doc": "a text"}
        width = {"name": "max_sequences", "default": 0, "low": 0, "high": 1024, "doc": "most branches"}
        return {
            "model": "scripted",
            "fingerprint": model.info.fingerprint,
            "engine": "ScriptedEngine",
            "profile": model.profile.name,
            "thresholds": thresholds_record(model.profile.thresholds),
            "notes": [],
            "policy": "entropix:temperature=0.666",
            "search": None,
            "policies": [
                {"name": "entropix", "summary": "five regimes", "parameters": [temperature, inject]},
                {"name": "greedy", "summary": "the likeliest", "parameters": []},
            ],
            "searches": [{"name": "tree", "summary": "forks", "parameters": [width]}],
            "limits": {"max_tokens": 4096},
            "key_needed": bool(self.key),
        }


class Handler(BaseHTTPRequestHandler):
    double: Double

    def log_message(self, *_: Any) -> None: ...

    def send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, headers: dict[str, str]) -> None:
        record = {"error": {"message": message, "type": "x", "param": None, "code": None}}
        self.send(status, "application/json", json.dumps(record).encode(), headers)

    def admitted(self) -> bool:
        wanted = f"Bearer {self.double.key}"
        if self.double.key and self.headers.get("Authorization") != wanted:
            self.refuse(401, "an API key is needed", {})
            return False
        return True

    def do_GET(self) -> None:
        page = files()
        if self.path == "/entropix/info" and self.admitted():
            self.send(200, "application/json", json.dumps(self.double.info()).encode())
        elif self.path in page:
            self.send(200, *page[self.path], headers=SECURITY)
        elif self.path != "/entropix/info":
            self.refuse(404, "no such path", {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.admitted():
            return
        self.double.asked.append(request)
        if self.double.fail:
            self.refuse(*self.double.fail)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.stream(request)
        except (BrokenPipeError, ConnectionResetError):
            self.double.gone += 1

    def stream(self, request: dict[str, Any]) -> None:
        ours = request["entropix"]
        options = {"policy": ours["policy"], "seed": request["seed"], "max_tokens": request["max_tokens"]}
        search = None if ours["search"] == "none" else ours["search"]
        stream = self.double.model.stream(request["messages"], search=search, **options, **ours["parameters"])
        self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for n, token in enumerate(stream):
            if n == self.double.cut:
                if self.double.cut_by:
                    self.event({"error": {"message": self.double.cut_by, "type": "x", "param": None, "code": None}})
                return
            self.wfile.write(b": keep-alive\n\n")
            time.sleep(self.double.pause)
            steps = [step_record(token.step)]
            self.event(
                {
                    "choices": [{"index": 0, "delta": {"content": token.text}}],
                    "entropix": {"index": 0, "steps": steps},
                }
            )
        record = {k: v for k, v in result_record(stream.result).items() if k != "text"}
        self.event({"choices": [{"index": 0, "delta": {}}], "entropix": {"index": 0, "result": record}})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, record: dict[str, Any]) -> None:
        self.wfile.write(f"data: {to_json(record)}\n\n".encode())
        self.wfile.flush()


class DoubleServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a browser asks for every file of the page at once, and beyond five were reset


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    server = DoubleServer(("127.0.0.1", 0), type("DoubleHandler", (Handler,), {"double": double}))
    double.address = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield double
    server.shutdown()
    server.server_close()


@pytest.fixture
def serving() -> Iterator[Callable[..., str]]:
    """Serves a model in a thread of this process and gives the address of the page."""
    pytest.importorskip("fastapi", reason="needs the server: pip install 'entropix-llm[serve]'")
    from entropix.serve.app import Server
    from entropix.serve.listening import listen, url_of
    from entropix.serve.process import make_uvicorn
    from entropix.serve.settings import Settings

    running: list[tuple[Any, threading.Thread]] = []

    def serve(engine: Engine | Model, **changes: Any) -> str:
        settings = Settings(**{"port": 0, "places": 8, "kept": 2, "grace": 1.0, **changes})
        sock = listen(settings)
        model = engine if isinstance(engine, Model) else Model(engine)
        uvicorn = make_uvicorn(Server(model, settings))
        thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        running.append((uvicorn, thread))
        while not uvicorn.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return url_of(sock)

    yield serve
    for uvicorn, thread in running:
        uvicorn.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
