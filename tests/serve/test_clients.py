"""Clients as they are: they send back what they were sent, ask for all that OpenAI allows, and run in browsers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, get_type_hints

import httpx
import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsBase as CompletionParams

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.serve.process import Background
from helpers.clients import MESSAGES, client_of

Serving = Callable[..., Background]


def ask(client: openai.OpenAI, messages: Any = MESSAGES, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "scripted", "messages": messages, "max_tokens": 6, **options})


def notes_of(answer: Any) -> list[str]:
    notes: list[str] = answer.entropix["choices"][0]["result"]["notes"]
    return notes


@pytest.mark.parametrize("form", ["object", "model_dump", "sent"])
def test_the_message_that_was_sent_is_accepted_back(client: openai.OpenAI, form: str) -> None:
    message = ask(client).choices[0].message
    echo = {"object": message, "model_dump": message.model_dump(), "sent": message.to_dict()}[form]
    ask(client, [*MESSAGES, echo, {"role": "user", "content": "more"}])


def test_the_deltas_of_a_stream_are_accepted_back_as_one_message(client: openai.OpenAI) -> None:
    message: dict[str, Any] = {}
    for chunk in ask(client, stream=True):
        delta = chunk.choices[0].delta.model_dump(exclude_none=False)
        message |= {k: v for k, v in delta.items() if k not in message or message[k] is None}
        message["content"] = (message["content"] or "") + (delta["content"] or "")
    ask(client, [*MESSAGES, message, {"role": "user", "content": "more"}])


@pytest.mark.parametrize(
    "extra",
    [
        {"refusal": None},
        {"refusal": ""},
        {"annotations": []},
        {"annotations": None},
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "x", "title": "x"}}]},
        {"provider_specific_fields": {"citations": None}},
        {"audio": None},
        {"function_call": None},
        {"tool_calls": []},
        {"tool_calls": None, "name": None},
        {"reasoning_content": None},
        {"reasoning_content": "because"},
        {"reasoning": ""},
        {"parsed": {"a": 1}},
        {"content": None},
        {"content": ""},
        {"content": []},
        {"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
        {"content": [{"type": "text", "text": "yes", "cache_control": {"type": "ephemeral"}}]},
        {"content": None, "refusal": "I may not say that."},
    ],
    ids=str,
)
def test_what_asks_for_nothing_in_an_assistants_message_is_accepted(client: openai.OpenAI, extra: Any) -> None:
    message = {"role": "assistant", "content": "yes", **extra}
    ask(client, [*MESSAGES, message, {"role": "user", "content": "more"}])


def test_a_refusal_that_comes_back_is_what_the_assistant_said(client: openai.OpenAI) -> None:
    more = {"role": "user", "content": "more"}
    refused = ask(client, [*MESSAGES, {"role": "assistant", "content": None, "refusal": "No."}, more], seed=1)
    said = ask(client, [*MESSAGES, {"role": "assistant", "content": "No."}, more], seed=1)
    assert refused.usage.prompt_tokens == said.usage.prompt_tokens
    assert refused.choices[0].message.content == said.choices[0].message.content


def test_null_or_empty_fields_of_any_message_ask_for_nothing(client: openai.OpenAI) -> None:
    ask(client, [{"role": "user", "content": "hi", "name": None, "tool_calls": [], "annotations": None, "x": None}])


def test_what_is_kept_beside_a_message_or_a_tool_changes_nothing(client: openai.OpenAI) -> None:
    cached = {"cache_control": {"type": "ephemeral"}, "provider_specific_fields": {"a": 1}, "id": "m1"}
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    called = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    kept = {**called, "provider_specific_fields": None, "extra_content": {}, "index": 0}
    kept["function"] = {**called["function"], "parsed_arguments": {}}  # type: ignore[dict-item]

    def tokens(more: dict[str, Any], call: dict[str, Any]) -> int:
        said = {"role": "assistant", "content": "", "tool_calls": [call], **more}
        result = {"role": "tool", "tool_call_id": "abcdefghi", "content": [{"type": "text", "text": "1", **more}]}
        system = {"role": "system", "content": "Be brief.", **more}
        tools: Any = [{"type": "function", "function": function, **more}]
        used: int = ask(client, [system, *MESSAGES, said, {**result, **more}], tools=tools).usage.prompt_tokens
        return used

    assert tokens(cached, kept) == tokens({}, called)


@pytest.mark.parametrize(("path", "params"), [("chat/completions", ChatParams), ("completions", CompletionParams)])
def test_every_field_of_openais_client_may_be_null(server: Background, path: str, params: type) -> None:
    body: dict[str, Any] = dict.fromkeys(get_type_hints(params))
    needed = {"messages": MESSAGES} if path.startswith("chat") else {"prompt": "hi"}
    answer = httpx.post(f"{server.url}/v1/{path}", json={**body, "model": "scripted", "max_tokens": 3, **needed})
    assert answer.status_code == 200, answer.text
    assert len(body) > 15


def test_null_fields_of_our_object_ask_for_nothing_either(client: openai.OpenAI) -> None:
    ask(client, extra_body={"entropix": {"policy": None, "parameters": None, "steps": None, "leading": None}})


def test_what_our_object_states_is_accepted_back(client: openai.OpenAI, server: Background) -> None:
    first = ask(client, extra_body={"entropix": {"search": "vote:n=2"}})
    result = first.entropix["choices"][0]["result"]
    ours = {"policy": result["policy"], "profile": result["profile"], "search": result["search"]["spec"]}
    again = ask(client, model=first.model, seed=result["seed"], extra_body={"entropix": ours})
    assert again.choices[0].message.content == first.choices[0].message.content
    info = httpx.get(f"{server.url}/entropix/info").json()
    ask(client, extra_body={"entropix": {name: info[name] for name in ("policy", "search", "profile")}})
    for policy in info["policies"]:
        parameters = {parameter["name"]: parameter["default"] for parameter in policy["parameters"]}
        ask(client, extra_body={"entropix": {"policy": policy["name"], "parameters": parameters}})


@pytest.mark.parametrize(
    ("asked", "value", "used"),
    [
        ("temperature", 2.0, "1.5"),
        ("top_p", 0.01, "0.1"),
        ("top_p", 0.0, "0.1"),
        ("max_tokens", 1_000_000, "4096"),
        ("max_completion_tokens", 1_000_000, "4096"),
    ],
)
def test_what_openai_allows_and_the_policy_does_not_is_limited_with_a_note(
    serving: Serving, asked: str, value: float, used: str
) -> None:
    answer = ask(client_of(serving(ScriptedEngine(hashed(3.0)))), **{"max_tokens": None, "stop": "e", asked: value})
    assert any(asked.removeprefix("max_completion_") in note and used in note for note in notes_of(answer))
    assert not any("was asked for" in note for note in notes_of(ask(client_of(serving()), temperature=1.0)))


def test_a_limited_temperature_decodes_as_the_limit_itself(client: openai.OpenAI) -> None:
    hot, limit = ask(client, temperature=1.9, seed=4), ask(client, temperature=1.5, seed=4)
    assert hot.choices[0].message.content == limit.choices[0].message.content


def test_more_answers_than_the_server_gives_are_limited_with_a_note(serving: Serving) -> None:
    client = client_of(serving(max_choices=4))
    answer = ask(client, n=100)
    assert len(answer.choices) == 4
    assert "n: 100 was asked for and 4 is used" in notes_of(answer)[-1]
    two = client.completions.create(model="scripted", prompt=["a", "b"], n=3, max_tokens=2)
    assert len(two.choices) == 4


def test_a_browser_may_send_the_clients_headers_and_read_ours(serving: Serving) -> None:
    server = serving(origins=("https://chat.example.org",))
    url, origin = f"{server.url}/v1/chat/completions", {"origin": "https://chat.example.org"}
    wanted = "authorization,content-type,x-stainless-os,x-stainless-retry-count,openai-organization"
    preflight = httpx.options(
        url, headers={**origin, "access-control-request-method": "POST", "access-control-request-headers": wanted}
    )
    assert preflight.status_code == 200
    allowed = {name.strip() for name in preflight.headers["access-control-allow-headers"].lower().split(",")}
    assert set(wanted.split(",")) <= allowed
    body = {"model": "scripted", "messages": MESSAGES, "max_tokens": 2}
    exposed = httpx.post(url, headers=origin, json=body).headers["access-control-expose-headers"].lower()
    assert {"x-request-id", "retry-after"} <= {name.strip() for name in exposed.split(",")}


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_a_huge_text_is_refused_without_being_tokenised(server: Background, monkeypatch: Any, path: str) -> None:
    tokenizer = server.server.reader.model.tokenizer
    seen: list[int] = []
    encode = tokenizer.encode
    monkeypatch.setattr(
        tokenizer, "encode", lambda text, **options: (seen.append(len(text)), encode(text, **options))[1]
    )
    text = "A" * 3_900_000
    asked = {"messages": [{"role": "user", "content": text}]} if path.startswith("chat") else {"prompt": text}
    answer = httpx.post(f"{server.url}/v1/{path}", json={"model": "scripted", **asked}, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "3900000 characters" in answer.json()["error"]["message"]
    capabilities = server.server.reader.model.engine.capabilities
    assert 0 < sum(seen) < 2 * capabilities.context + 8192


def test_many_long_messages_are_refused_by_their_sum(server: Background) -> None:
    messages = [{"role": "user", "content": "ab " * 1000}] * 1000
    answer = httpx.post(f"{server.url}/v1/chat/completions", json={"model": "scripted", "messages": messages})
    assert answer.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("header", ["host", "authorization", "origin"])
def test_a_header_that_says_who_asks_comes_once(server: Background, header: str) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    first = f"Host: {host}\r\n" if header == "host" else f"Host: {host}\r\n{header}: {server.url}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nConnection: close\r\n{first}{header}: other.example\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 400")
    assert f"several {header} headers" in answer


@pytest.mark.parametrize(
    "asked",
    [
        {"stop": ""},
        {"stop": [""]},
        {"stop": ["", None]},
        {"stream_options": {}},
        {"logprobs": False},
        {"stream_options": []},  # how PHP writes an empty object
        {"logit_bias": []},
        {"response_format": {}},
        {"entropix": []},
        {"min_tokens": 0},
        {"ignore_eos": False},
        {"skip_special_tokens": True, "spaces_between_special_tokens": True, "include_stop_str_in_output": False},
        {"stop_token_ids": [], "use_beam_search": False, "length_penalty": 1.0, "cache_prompt": True},
        {"n": 1.0},
        {"max_tokens": 6.0},
        {"seed": 3.0},
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_what_asks_for_nothing_and_whole_numbers_are_accepted(
    client: openai.OpenAI, path: str, asked: dict[str, Any]
) -> None:
    prompt = {"messages": MESSAGES} if path == "chat/completions" else {"prompt": "Hi"}
    usual = {"model": "scripted", "max_tokens": 6, "seed": 3, **prompt}
    url = f"{client.base_url}{path}"
    wanted, answer = httpx.post(url, json=usual), httpx.post(url, json={**usual, **asked})
    assert answer.status_code == 200, answer.text
    told = [reply.json()["choices"][0] for reply in (wanted, answer)]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "asked", [{"n": 1.5}, {"seed": 1e30}, {"max_tokens": True}, {"stop": [1]}, {"logit_bias": [1]}]
)
def test_what_is_no_whole_number_and_no_object_is_refused(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    body = {"model": "scripted", "messages": MESSAGES, "max_tokens": 2, **asked}
    assert httpx.post(f"{client.base_url}chat/completions", json=body).status_code == 400


def test_what_a_stream_is_asked_for_nothing_with_is_accepted(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {"include_usage": True, "continuous_usage_stats": False}
    assert list(ask(client, stream=True, stream_options=options))[-1].usage
    with pytest.raises(openai.BadRequestError, match="continuous_usage_stats"):
        ask(client, stream=True, stream_options={**options, "continuous_usage_stats": True})


def test_a_number_of_thousands_of_digits_is_said_to_be_one(client: openai.OpenAI) -> None:
    body = b'{"model": "scripted", "messages": [], "seed": ' + b"9" * 5000 + b"}"
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{client.base_url}chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert "thousands of digits" in answer.json()["error"]["message"]
    assert "sys." not in answer.text
