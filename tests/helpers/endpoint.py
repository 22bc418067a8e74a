"""A tiny OpenAI-compatible server that behaves as a test says, well or badly."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Exchange"], None]

ENDS = {"type": "invalid_request_error", "code": None, "param": None}


class Exchange:
    """One request and what is sent back. n: how many came before it, the list of models not counted."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], n: int) -> None:
        self.handler, self.body, self.n = handler, body, n
        self.path = handler.path

    @property
    def prefix(self) -> str:
        """The text the answer is to begin with."""
        if "prompt" in self.body:
            return str(self.body["prompt"])
        last = self.body["messages"][-1]
        return str(last["content"]) if last["role"] == "assistant" else ""

    def json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.handler.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.handler.send_header(name, value)
        self.handler.send_header("content-length", str(len(data)))
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.json(status, {"error": {"message": message, **ENDS}}, names)

    def begin(self) -> None:
        self.handler.send_response(200)
        self.handler.send_header("content-type", "text/event-stream")
        self.handler.send_header("connection", "close")
        self.handler.end_headers()
        self.handler.close_connection = True

    def event(self, data: Any) -> None:
        """Send an event; raises BrokenPipeError or ConnectionResetError when the client is gone."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.handler.wfile.write(f"data: {text}\n\n".encode())
        self.handler.wfile.flush()

    def token(self, text: str, logprobs: Any) -> None:
        key = {"text": text} if "prompt" in self.body else {"delta": {"content": text}}
        self.event({"choices": [{"index": 0, **key, "logprobs": logprobs, "finish_reason": None}]})

    def end(self, finish: str = "stop", prompt: int = 10, cached: int = 0) -> None:
        key = {"text": ""} if "prompt" in self.body else {"delta": {}}
        self.event({"choices": [{"index": 0, **key, "finish_reason": finish}]})
        self.event(
            {"choices": [], "usage": {"prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": cached}}}
        )
        self.event("[DONE]")

    def say(self, tokens: Sequence[Any], *, pause: float = 0.0, finish: str = "stop", **usage: int) -> None:
        """Answer with tokens: texts the model is sure of, or (text, {other: probability}). Keeps to max_tokens."""
        self.begin()
        most = self.body.get("max_tokens", len(tokens))
        for token in tokens[:most]:
            text, others = (token, {}) if isinstance(token, str) else token
            time.sleep(pause)
            self.token(text, content(text, others))
        self.end("length" if len(tokens) > most else finish, **usage)


def content(text: str, others: dict[str, float] | None = None, data: bytes | None = None) -> dict[str, Any]:
    """Log-probabilities of one token in the shape of chat completions."""
    others = others or {"?": 0.001}
    likely = {text: 1 - sum(others.values()), **others}
    top = [
        {"token": t, "logprob": math.log(p), "bytes": list(data if t == text and data is not None else t.encode())}
        for t, p in likely.items()
    ]
    return {"content": [{**top[0], "top_logprobs": top}]}


class Fake:
    """The server. behaviour answers each request; bodies are what came; gone counts clients that closed early."""

    def __init__(self, behaviour: Behaviour, models: Sequence[str] = ("fake",)) -> None:
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = 0
        self.active = self.peak = 0
        lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                Exchange(self, {}, 0).json(200, {"data": [{"id": name} for name in models]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    n = len(fake.bodies)
                    fake.bodies.append(body)
                    fake.headers.append({k.lower(): v for k, v in self.headers.items()})
                    fake.active += 1
                    fake.peak = max(fake.peak, fake.active)
                try:
                    fake.behaviour(Exchange(self, body, n))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                    with lock:
                        fake.gone += 1
                finally:
                    with lock:
                        fake.active -= 1

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A client that goes away between two requests is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
