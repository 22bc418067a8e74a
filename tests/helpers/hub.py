"""A Hugging Face hub on loopback, small, that can lose connections, send damaged files and close its door."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


class FakeHub(ThreadingHTTPServer):
    """repositories: name → path → bytes. cut: bytes after which each answer with a file breaks off, 0 for never.
    damaged: files of which other bytes are sent than are listed. gated: names that need a login. asked: every
    request's method and path, and its range."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.cut = 0
        self.damaged: set[str] = set()
        self.gated: set[str] = set()
        self.asked: list[tuple[str, str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def files_sent(self) -> list[str]:
        return [path for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path, hub = unquote(urlsplit(self.path).path), self.server
        hub.asked.append((self.command, path, self.headers.get("Range")))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(tree|revision)/([^/]+))?/?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name = api[1] if api else file[1] if file else ""
        if name in hub.gated:
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "accept the conditions first"})
        elif name not in hub.repositories:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif api and api[2] == "tree":
            listed = hub.repositories[name].items()
            self.send(200, json.dumps([entry(path, data) for path, data in listed]).encode())
        elif api:
            self.send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())
        elif file and file[3] in hub.repositories[name]:
            self.send_file(file[3], hub.repositories[name][file[3]])
        else:
            self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def send_file(self, path: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', "X-Linked-Etag": f'"{digest}"'}
        headers["X-Linked-Size"] = str(len(data))
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if path in self.server.damaged:
            data = data[:-1] + b"?"
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send(206 if wanted else 200, data[start:], headers, self.server.cut)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = 0) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: cut or None])
            self.close_connection = bool(cut)

    def log_message(self, *_: Any) -> None:
        pass


def entry(path: str, data: bytes) -> dict[str, Any]:
    found = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if path.endswith(".gguf"):
        sha256 = hashlib.sha256(data).hexdigest()
        found["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(data), "pointerSize": 130}
    return found


@contextmanager
def running() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
