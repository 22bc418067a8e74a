"""Whatever a client gets wrong, it is told what, in OpenAI's shape."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import ScriptedEngine
from entropix.policies import POLICIES, Greedy
from entropix.serve.errors import ApiError
from entropix.serve.process import Background
from entropix.serve.refusals import validated
from entropix.serve.schema import ChatRequest
from helpers.clients import MESSAGES

CHAT = {"model": "scripted", "messages": MESSAGES, "max_tokens": 4}


def post(server: Background, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
    return httpx.post(server.url + path, timeout=30, **options)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    assert "File " not in answer.text
    error: dict[str, Any] = body["error"]
    return error


def test_a_policy_that_needs_what_the_model_does_not_show_is_refused_by_both_names(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looks(Greedy):
        name = "looks"
        needs = frozenset({"attention"})

    monkeypatch.setitem(POLICIES, "looks", Looks)
    server = serving(ScriptedEngine(attention=False))
    answer = post(server, json={**CHAT, "entropix": {"policy": "looks"}})
    assert answer.status_code == 400
    assert "policy 'looks' needs attention, and the engine of 'scripted'" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role", "system"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "string"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "messages", "context"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"temperature": 2.5}, "temperature", "2"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens", "differ"),
        ({"n": 0}, "n", "1"),
        ({"n": 129}, "n", "128"),
        ({"n": True}, "n", "an integer"),
        ({"stop": 5}, "stop", "a string or a list"),
        ({"entropix": "greedy"}, "entropix", "an object"),
        ({"entropix": {"parameters": {"candidates": [1]}}}, "entropix.parameters.candidates", "a number or a string"),
        ({"messages": "hi"}, "messages", "a list"),
        ({"messages": None}, "messages", "a list"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role", "missing"),
        ({"response_format": {"type": "xml"}}, "response_format", "'json_schema'"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
            "missing",
        ),
        (
            {"messages": [{"role": "user", "content": ["hi", {"type": "text", "text": "a"}]}]},
            "messages.0.content.0",
            "an object",
        ),
        ({"messages": [{"role": "user", "content": "hi", "colour": "red"}]}, "messages.0.colour", "unknown"),
        ({"messages": [{"role": "user", "content": "hi", "refusal": "no"}]}, "messages.0.refusal", "unknown"),
        ({"stop": ["a"] * 17}, "stop", "16"),
        ({"stop": ["a", 1]}, "stop.1", "a string"),
        ({"logit_bias": {"999": 1}}, "logit_bias", "259"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "token"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "100"),
        ({"top_logprobs": 3}, "top_logprobs", "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "20"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
        ({"tools": [{"type": "function"}]}, "tools.0.function", "missing"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.function", "missing"),
        ({"tool_choice": "any"}, "tool_choice", "'required'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0.type",
            "reads text only",
        ),
        ({"presence_penalty": 3}, "presence_penalty", "at most 2"),
        ({"functions": [{}]}, "functions", "not support"),
        ({"min_tokens": 3}, "min_tokens", "not support"),
        ({"ignore_eos": True}, "ignore_eos", "not support"),
        ({"colour": "red"}, "colour", "unknown"),
        ({"entropix": {"colour": "red"}}, "entropix.colour", "unknown"),
        ({"entropix": {"policy": "nonsense"}}, "entropix.policy", "greedy"),
        ({"entropix": {"policy": "sample:heat=1"}}, "entropix.policy", "temperature"),
        ({"entropix": {"parameters": {"candidates": 99}}}, "entropix.parameters", "16"),
        ({"entropix": {"search": "maze"}}, "entropix.search", "tree"),
        ({"entropix": {"search": "vote:n=9"}}, "entropix.search", "8"),
        ({"entropix": {"profile": "/etc/passwd"}}, "entropix.profile", "known are"),
    ],
)
def test_a_mistake_is_named(server: Background, change: dict[str, Any], param: str, says: str) -> None:
    answer = post(server, json={**CHAT, **change})
    error = error_of(answer)
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [300]}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
    ],
)
def test_a_mistake_in_a_completion_is_named(server: Background, change: dict[str, Any], param: str) -> None:
    answer = post(server, "/v1/completions", json={"model": "scripted", **change})
    assert answer.status_code == 400
    assert error_of(answer)["param"] == param


@pytest.mark.parametrize("prompt", [["a", 1], [1, "a"], ["a", [1]], [[1], ["a"]], [[1], [True]], [1, None], 5, {}])
def test_a_prompt_of_mixed_kinds_is_told_every_kind_there_is(server: Background, prompt: Any) -> None:
    error = error_of(post(server, "/v1/completions", json={"model": "scripted", "prompt": prompt}))
    assert error["param"] == "prompt"
    assert "a string, a list of strings, a list of tokens" in error["message"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"n": 1' + b"0" * 5000 + b"}", "digits"),
        (b'{"model": "\xff"}', "not UTF-8"),
    ],
)
def test_a_body_that_python_cannot_parse_is_told_why(server: Background, content: bytes, says: str) -> None:
    answer = post(server, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert says in error_of(answer)["message"]


def test_a_model_that_is_not_served_is_404(server: Background) -> None:
    asked = post(server, json={**CHAT, "model": "gpt-4"})
    looked_up = httpx.get(f"{server.url}/v1/models/gpt-4")
    for answer in (asked, looked_up):
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "model_not_found"
        assert "scripted" in error_of(answer)["message"]
    assert len(httpx.get(f"{server.url}/v1/models/{'x' * 5000}").text) < 500


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"\xff\xfe",
        b'{"model": "scripted", "messages": [[',
        b"[" * 100_000,
        b'{"n": NaN}',
    ],
)
def test_a_body_that_is_no_request_is_400(server: Background, content: bytes) -> None:
    answer = post(server, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error_of(answer)


def test_broken_json_is_told_where_it_breaks(server: Background) -> None:
    answer = post(server, content=b'{"model": }', headers={"content-type": "application/json"})
    assert error_of(answer)["message"] == "the body is not JSON: Expecting value, at character 10"


def test_a_body_of_another_type_is_told_which_one_is_wanted(server: Background) -> None:
    answer = post(server, content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert "application/json" in error_of(answer)["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "GZIP", "identity, gzip"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_a_compressed_body_is_refused_by_that_name(server: Background, encoding: str, path: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    answer = httpx.post(server.url + path, content=gzip.compress(json.dumps(CHAT).encode()), headers=headers)
    assert answer.status_code == 415
    assert f"Content-Encoding: {encoding.lower()}" in answer.text
    assert answer.headers["accept-encoding"] == "identity"
    as_it_is = {**headers, "content-encoding": "identity"}
    assert post(server, content=json.dumps(CHAT).encode(), headers=as_it_is).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "assistant", "content": "\ud800"}]}, "messages"),
        ("/v1/chat/completions", {**CHAT, "chat_template_kwargs": {"a": "\ud800"}}, "chat_template_kwargs"),
        ("/v1/completions", {"prompt": "\ud800"}, "prompt"),
        ("/tokenize", {"prompt": "\ud800"}, "prompt"),
        ("/tokenize", {"content": "\ud800"}, "content"),
        ("/tokenize", {"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
    ],
    ids=str,
)
def test_half_a_character_is_refused_where_it_stands(
    server: Background, path: str, body: dict[str, Any], param: str
) -> None:
    content = json.dumps({"model": "scripted", **body}).encode()
    answer = post(server, path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["param"] == param
    assert "lone surrogate at character 0" in error["message"]


def test_a_huge_number_is_400(server: Background) -> None:
    huge = b'{"model": "scripted", "messages": [{"role": "user", "content": "a"}], "seed": 1' + b"0" * 400 + b"}"
    answer = post(server, content=huge, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error_of(answer)


def test_a_body_that_is_too_large_is_413(server: Background) -> None:
    answer = post(server, json={**CHAT, "messages": [{"role": "user", "content": "x" * (5 << 20)}]})
    assert answer.status_code == 413
    assert "large" in error_of(answer)["message"]
    in_chunks = post(server, content=(b"x" * (1 << 20) for _ in range(5)), headers={"content-type": "application/json"})
    assert in_chunks.status_code == 413
    assert "large" in error_of(in_chunks)["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("GET", "/v1/completions", 405)])
def test_paths_and_methods_that_do_not_exist_say_so(server: Background, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == status
    assert ("/v1/chat/completions" if status == 404 else "POST") in error_of(answer)["message"]
    if status == 405:
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/responses", "/v1/responses"),
        ("/v1/chat/completions/chat/completions", "/chat/completions"),
        ("/ollama/api/chat", "/api/chat"),
    ],
)
def test_a_base_url_that_is_too_long_is_told_which_path_there_is(server: Background, path: str, meant: str) -> None:
    answer = httpx.post(server.url + path, json=CHAT)
    assert answer.status_code == 404
    assert f", but {meant} without what stands before it" in error_of(answer)["message"]
    assert "without what" not in error_of(httpx.post(f"{server.url}/v2/nothing", json=CHAT))["message"]


def test_emoji_and_control_characters_go_through(server: Background) -> None:
    messages = [{"role": "user", "content": "😀\x00\u2028<|im_end|>\x1b[31m"}]
    assert post(server, json={**CHAT, "messages": messages}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/models", "/"])
def test_head_is_answered_as_get_without_the_body(server: Background, path: str) -> None:
    head, get = (httpx.request(method, server.url + path) for method in ("HEAD", "GET"))
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert httpx.head(f"{server.url}/v1/completions").status_code == 405


def raw(server: Background, *parts: bytes) -> httpx.Response:
    """What the server answers to bytes, before it closes the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                sock.sendall(part)
        with contextlib.suppress(ConnectionError):
            while data := sock.recv(65536):
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return httpx.Response(int(status.split()[1]), headers=[line.split(": ") for line in lines], content=body)


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: "


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ((b"NONSENSE\r\n\r\n",), "Invalid HTTP"),
        ((b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",), "Invalid HTTP"),
        ((b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",), "Invalid HTTP"),
        ((HEAD, *[b"a" * 300_000] * 3), "65536 bytes"),
    ],
)
def test_what_is_no_request_is_told_so_in_openais_shape(
    server: Background, parts: tuple[bytes, ...], says: str
) -> None:
    answer = raw(server, *parts)
    assert answer.status_code == 400
    assert says in error_of(answer)["message"]


def test_a_head_that_does_not_come_ends_the_connection(server: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entropix.serve.connection.HEAD_SECONDS", 0.2)
    assert "did not come within 0.2 s" in error_of(raw(server, HEAD))["message"]
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answers = raw(server, whole + HEAD)  # a second request on a connection that was good
    assert answers.status_code == 200
    assert b"did not come within" in answers.content


def test_a_slow_answer_is_not_taken_for_a_slow_head(server: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entropix.serve.connection.HEAD_SECONDS", 0.05)
    text = post(server, json={**CHAT, "max_tokens": 2000, "stream": True}).text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"messages": []}, "input", "input: it has 0 items; at least 1 is needed (messages)"),
        ({"temperature": 3.0}, "temperature", "temperature: it must be at most 2"),
        ({"seed": "x"}, "seed", "seed: it must be an integer"),
        ({"model": None}, "model", "model: it must be a string"),
    ],
)
def test_what_is_wrong_in_another_apis_request_is_said_in_the_same_words_by_its_names(
    change: dict[str, Any], param: str, message: str
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **change}
    with pytest.raises(ApiError) as refused:
        validated(ChatRequest, body, {"messages": "input"})
    error = json.loads(refused.value.body)["error"]
    assert (error["param"], error["message"].removesuffix(".0")) == (param, message)


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/responses", {"input": "x" * 5000}, "input"),
        ("/v1/responses", {"input": "hi", "instructions": "x" * 5000}, "input"),
        ("/v1/messages", {"max_tokens": 2, "messages": [{"role": "user", "content": "x" * 5000}]}, "messages"),
        ("/api/generate", {"prompt": "x" * 5000}, "prompt"),
        ("/api/generate", {"prompt": "x" * 5000, "raw": True}, "prompt"),
        ("/api/chat", {"messages": [{"role": "user", "content": "x" * 5000}]}, "messages"),
    ],
)
def test_a_prompt_that_is_too_long_is_named_as_its_api_calls_it(
    server: Background, path: str, body: dict[str, Any], name: str
) -> None:
    answer = post(server, path, json={"model": "scripted", **body})
    error = answer.json()["error"]
    assert answer.status_code == 400
    if path == "/v1/responses":
        assert (error["param"], error["code"]) == (name, "context_length_exceeded")
    assert (error if isinstance(error, str) else error["message"]).startswith(f"{name}: the prompt has ")
