"""Who may ask: keys, names of this machine, origins; and what never shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, saying
from entropix.errors import ParameterError
from entropix.serve.logs import JsonLines
from entropix.serve.process import Background
from entropix.serve.settings import Settings, read_keys
from helpers.clients import MESSAGES, client_of, until

Serving = Callable[..., Background]
KEYS = ("first-key-0123456789", "second-key-0123456789")
OPEN = ("/health", "/ready", "/openapi.json")
CLOSED = ("/v1/models", "/metrics", "/entropix/info", "/nonsense")


def test_without_a_key_only_the_pages_files_and_the_probes_are_there(serving: Serving) -> None:
    server = serving(keys=KEYS)
    assert [httpx.get(server.url + path).status_code for path in OPEN] == [200] * len(OPEN)
    for path in CLOSED:
        for headers in ({}, {"authorization": "Bearer wrong-key-0123456789"}, {"authorization": KEYS[0]}):
            answer = httpx.get(server.url + path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        client_of(server, api_key="wrong-key-0123456789").models.list()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_opens(serving: Serving, key: str) -> None:
    assert [m.id for m in client_of(serving(keys=KEYS), api_key=key).models.list()] == ["scripted"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1].evil"])
def test_a_name_that_was_made_to_point_here_gets_nothing(serving: Serving, host: str) -> None:
    answer = httpx.get(f"{serving().url}/v1/models", headers={"host": host})
    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_the_names_of_this_machine_are_answered(serving: Serving, host: str) -> None:
    assert httpx.get(f"{serving().url}/v1/models", headers={"host": host}).status_code == 200


def test_pages_of_other_origins_are_refused_unless_allowed(serving: Serving) -> None:
    server = serving(origins=("https://chat.example",))
    url = f"{server.url}/v1/models"
    allowed = httpx.get(url, headers={"origin": "https://chat.example"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://chat.example"
    preflight = httpx.options(url, headers={"origin": "https://chat.example", "access-control-request-method": "POST"})
    assert preflight.status_code == 200
    for origin in ("https://evil.example", "null"):
        refused = httpx.get(url, headers={"origin": origin})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
    assert httpx.get(url, headers={"origin": server.url}).status_code == 200
    assert "access-control-allow-origin" not in httpx.get(f"{serving().url}/v1/models").headers


@pytest.mark.parametrize(
    "origin", ["*", "chat.example", "https://chat.example/", "https://Chat.example", "null", "", "https://*.example"]
)
def test_an_origin_that_no_browser_sends_is_refused_at_once(origin: str) -> None:
    with pytest.raises(ParameterError, match="SCHEME://HOST"):
        Settings(origins=(origin,))


def test_other_machines_need_a_key() -> None:
    with pytest.raises(ParameterError, match="--api-key-file"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", keys=KEYS).keys == KEYS
    assert all(Settings(host=host).is_local for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"))


def test_keys_are_read_from_a_file_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# mine\n{KEYS[0]}\n\n  {KEYS[1]}  \n")
    assert read_keys(file) == KEYS


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), (b"", "holds no key"), (b"# only\n", "holds no key"), (b"\xff", "text")],
)
def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ParameterError, match=says):
        read_keys(file)


def test_a_weak_key_is_refused_without_showing_it() -> None:
    with pytest.raises(ParameterError, match="too short") as raised:
        Settings(keys=("short-secret",))
    assert "short-secret" not in str(raised.value)
    assert KEYS[0] not in repr(Settings(keys=KEYS))


def test_logs_are_json_lines_without_prompts_answers_or_keys(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving(ScriptedEngine(sequences=24), keys=KEYS)
    with caplog.at_level(logging.DEBUG):
        answer = client_of(server, api_key=KEYS[0]).chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "a secret question"}], max_tokens=30, seed=1
        )
        httpx.get(f"{server.url}/v1/models?key={KEYS[0]}")
        httpx.get(f"{server.url}/private/{KEYS[0]}")
        # a line is written when its answer has been sent
        until(lambda: sum(r.name == "entropix.serve" for r in caplog.records) >= 3)
    ours = [r for r in caplog.records if r.name == "entropix.serve"]
    lines = [JsonLines().format(record) for record in ours]
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {"event": "request", "path": "/v1/chat/completions", "status": 200, "completion_tokens": 30}.items() <= {
        **told[0]
    }.items()
    assert [t["status"] for t in told] == [200, 401, 401]
    for secret in ("secret question", KEYS[0], answer.choices[0].message.content[:6]):
        assert all(secret not in line for line in lines)


def test_answers_say_what_they_are_and_have_a_number(serving: Serving) -> None:
    answer = httpx.get(f"{serving().url}/v1/models")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.headers["x-request-id"]) == 16
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/page/../settings.py", "/page/%2e%2e/settings.py", "/page/..%2f..%2fmodel.py"])
def test_nothing_outside_the_page_is_served(serving: Serving, path: str) -> None:
    assert httpx.get(serving().url + path).status_code == 404


def test_metrics_count_what_happened(serving: Serving) -> None:
    server = serving(ScriptedEngine(saying("x" * 50), sequences=24))
    client = client_of(server)
    client.chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=7, n=2)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=MESSAGES)
    httpx.get(f"{server.url}/nonsense")
    lines = dict(line.rsplit(" ", 1) for line in httpx.get(f"{server.url}/metrics").text.splitlines() if line[0] != "#")
    assert lines["entropix_tokens_total"] == "14.0"
    assert lines["entropix_entropy_nats_count"] == "14.0"
    assert lines["entropix_first_token_seconds_count"] == "2.0"
    assert lines["entropix_between_tokens_seconds_count"] == "12.0"
    assert sum(float(v) for k, v in lines.items() if k.startswith("entropix_regime_tokens_total")) == 14
    assert lines['entropix_requests_total{path="/v1/chat/completions",status="200"}'] == "1.0"
    assert lines['entropix_requests_total{path="/v1/chat/completions",status="404"}'] == "1.0"
    assert lines['entropix_requests_total{path="other",status="404"}'] == "1.0"
    assert lines["entropix_running"] == "0.0"
    assert lines['entropix_branches{status="running"}'] == "0.0"
    assert sum(name.startswith("entropix_branches{") for name in lines) == 5
    assert float(lines["entropix_kv_cells_used"]) > 0


def test_d26_an_origin_null_is_refused_for_the_true_reason() -> None:
    with pytest.raises(ParameterError, match=r"origin 'null' is that of every file and of every sandboxed frame"):
        Settings(origins=("null",))
