"""Anthropic's Messages API: the blocks and events that its clients read, tools, thinking, counts and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import saying
from entropix.model import Model
from entropix.serve.process import Background
from helpers.clients import client_of
from helpers.confidences import calibrated, calibration
from helpers.engines import Fragile
from helpers.templates import HERMES, THINKING, WEATHER, templated

Serving = Callable[..., Background]
CALL = 'So. <tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris 🙂"}}\n</tool_call>'
FUNCTION = WEATHER["function"]
TOOL = {"name": FUNCTION["name"], "description": FUNCTION["description"], "input_schema": FUNCTION["parameters"]}
USER = [{"role": "user", "content": "hi"}]


def post(server: Background, path: str = "", **body: Any) -> httpx.Response:
    given = {"model": "scripted", "messages": USER, "max_tokens": 60, "temperature": 0, **body}
    if path:
        given = {k: v for k, v in given.items() if k not in ("max_tokens", "temperature")}
    return httpx.post(f"{server.url}/v1/messages{path}", json=given, timeout=60)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, each under its own name."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def blocks(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content that the events of a stream make, as a client puts it together."""
    content: list[dict[str, Any]] = []
    for event in stream:
        if event["type"] == "content_block_start":
            assert event["index"] == len(content), "blocks are numbered one after the other"
            content.append({**event["content_block"], "json": ""})
        elif event["type"] == "content_block_delta":
            kind, block = event["delta"]["type"], content[event["index"]]
            member = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "json"}[kind]
            block[member] += event["delta"].get("partial_json", event["delta"].get(member, ""))
    for block in content:
        text = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(text)
    return content


def test_a_message_is_the_chat_apis_answer_whole_and_in_events(serving: Serving) -> None:
    server = serving(templated(HERMES, "Hello 🙂 there."), kept=0)
    messages = [{"role": "system", "content": "Be brief."}, *USER]
    openai: Any = client_of(server).chat.completions.create(model="scripted", messages=messages, temperature=0)  # type: ignore[call-overload]
    whole = post(server, system="Be brief.").json()
    assert whole["content"] == [{"type": "text", "text": openai.choices[0].message.content}]
    assert (whole["type"], whole["role"], whole["model"]) == ("message", "assistant", "scripted")
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("end_turn", None)
    assert whole["usage"]["input_tokens"] == openai.usage.prompt_tokens
    assert whole["usage"]["output_tokens"] == openai.usage.completion_tokens
    stream = events(post(server, system=[{"type": "text", "text": "Be brief."}], stream=True))
    kinds = [event["type"] for event in stream]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[3:-3]) == {"content_block_delta"}
    assert blocks(stream) == whole["content"]
    assert stream[0]["message"]["usage"]["input_tokens"] == openai.usage.prompt_tokens
    assert stream[-2]["usage"] == whole["usage"]
    assert stream[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_why_an_answer_ended_is_said(serving: Serving) -> None:
    server = serving(templated(HERMES, "one two three"))
    cut = post(server, max_tokens=3).json()
    assert (cut["stop_reason"], cut["usage"]["output_tokens"]) == ("max_tokens", 3)
    stopped = post(server, stop_sequences=["never", " three"]).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", " three")
    assert stopped["content"][0]["text"] == "one two"


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_a_block_and_its_result_comes_back(serving: Serving, stream: bool) -> None:
    server = serving(templated(HERMES, CALL))
    answer = post(server, tools=[TOOL], stream=stream, max_tokens=200)
    told = events(answer) if stream else [answer.json()]
    content = blocks(told) if stream else told[0]["content"]
    assert [block["type"] for block in content] == ["text", "tool_use"]
    assert content[0]["text"].strip() == "So."
    assert (content[1]["name"], content[1]["input"]) == ("get_weather", {"city": "Paris 🙂"})
    reason = told[-2]["delta"]["stop_reason"] if stream else told[0]["stop_reason"]
    assert reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": content[1]["id"], "content": [{"type": "text", "text": "21 °C"}]}
    said = [*USER, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    server.server.scheduler.model.engine.script = templated(HERMES, "Warm.").script  # type: ignore[attr-defined]
    assert post(server, messages=said, tools=[TOOL]).json()["content"] == [{"type": "text", "text": "Warm."}]
    theirs = [
        *USER,
        {
            "role": "assistant",
            "content": content[0]["text"],
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris 🙂"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "name": "get_weather", "content": "21 °C"},
    ]
    openai: Any = client_of(server).chat.completions.create(model="scripted", messages=theirs, tools=[WEATHER])  # type: ignore[call-overload]
    counted = post(server, "/count_tokens", messages=said, tools=[TOOL]).json()
    assert counted == {"input_tokens": openai.usage.prompt_tokens}
    silent = [[*said[:-1], {"role": "user", "content": [{**result, "content": none}]}] for none in (None, "", [])]
    assert len({post(server, "/count_tokens", messages=one, tools=[TOOL]).text for one in silent}) == 1


@pytest.mark.parametrize(
    ("choice", "calls"),
    [({"type": "auto"}, True), ({"type": "any"}, True), ({"type": "tool", "name": "get_weather"}, True),
     ({"type": "none"}, False)],
    ids=["auto", "any", "tool", "none"],
)  # fmt: skip
def test_the_choice_of_a_tool_holds(serving: Serving, choice: Any, calls: bool) -> None:
    server = serving(templated(HERMES, CALL.removeprefix("So. ")))
    content = post(server, tools=[TOOL], tool_choice=choice, max_tokens=200).json()["content"]
    assert any(block["type"] == "tool_use" for block in content) == calls


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_a_block_of_its_own_and_comes_back_to_the_template(serving: Serving, stream: bool) -> None:
    server = serving(templated(THINKING, "Hm.</think>Yes."))
    answer = post(server, thinking={"type": "enabled", "budget_tokens": 1024}, stream=stream)
    content = blocks(events(answer)) if stream else answer.json()["content"]
    assert content == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "Yes."},
    ]
    again = [*USER, {"role": "assistant", "content": content}, {"role": "user", "content": "sure?"}]
    assert post(server, messages=again).status_code == 200


def test_the_beginning_of_an_answer_is_gone_on_with(serving: Serving) -> None:
    server = serving(templated(HERMES, "Hello there."))
    begun = [*USER, {"role": "assistant", "content": "Hel"}]
    whole, rest = post(server, "/count_tokens").json(), post(server, "/count_tokens", messages=begun).json()
    assert rest["input_tokens"] == whole["input_tokens"] + 3, "the text of the assistant stands behind the template"


def test_what_we_know_stands_beside_the_content(serving: Serving) -> None:
    server = serving(templated(HERMES, "Hello there."))
    ours = post(server, entropix={"policy": "entropix"}, temperature=None, seed=7).json()["entropix"]["choices"][0]
    assert ours["result"]["seed"] == 7
    assert len(ours["steps"]) > 3
    assert ours["result"]["policy"] == "entropix"
    last = events(post(server, entropix={"policy": "entropix"}, temperature=None, stream=True))[-2]
    assert last["entropix"]["choices"][0]["result"]["policy"] == "entropix"


def test_effort_and_risk_hold_a_vote_here_too() -> None:
    from entropix.serve.settings import Settings

    model = calibrated(saying("The answer is 9.", certainty=20), calibration(), sequences=24)
    count = [{"role": "user", "content": "How many are left?"}]
    with Background(model, Settings(port=0, places=8)) as server:
        body: dict[str, Any] = {"messages": count, "temperature": None, "entropix": {"risk": 0.1, "steps": False}}
        told = post(server, output_config={"effort": "medium"}, **body).json()["entropix"]["choices"][0]
        assert (told["vote"]["answer"], told["result"]["risk_bound"]) == ("9", 0.1)


def test_a_schema_is_kept_to(serving: Serving) -> None:
    server = serving(templated(HERMES, '{"a": 2}'))
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    found = post(server, output_config={"format": {"type": "json_schema", "schema": schema}}).json()
    assert json.loads(found["content"][0]["text"]) == {"a": 2}


@pytest.mark.parametrize(
    ("body", "status", "kind", "part"),
    [
        ({"model": "other"}, 404, "not_found_error", "other"),
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens: it must be an integer"),
        ({"max_tokens": 0}, 400, "invalid_request_error", "max_tokens: it must be at least 1"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, 400,
         "invalid_request_error", "'image' is unknown; allowed are"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, 400, "invalid_request_error", "tools"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, 400, "invalid_request_error", "no tool 'x'"),
        ({"mcp_servers": [{}]}, 400, "invalid_request_error", "mcp_servers: unknown field"),
        ({"temperature": 3}, 400, "invalid_request_error", "temperature"),
        ({"stop_sequences": [""] * 17}, 400, "invalid_request_error", "stop_sequences"),
    ],
    ids=str,
)  # fmt: skip
def test_an_error_has_the_shape_that_its_clients_read(
    serving: Serving, body: Any, status: int, kind: str, part: str
) -> None:
    answer = post(serving(templated(HERMES, "x")), **body)
    found = answer.json()
    assert (answer.status_code, found["type"], found["error"]["type"]) == (status, "error", kind)
    assert part in found["error"]["message"]


def test_what_concerns_their_service_alone_changes_nothing(serving: Serving) -> None:
    server = serving(templated(HERMES, "Hi."))
    cached = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
    body: dict[str, Any] = {"messages": [{"role": "user", "content": cached}], "metadata": {"user_id": "a"}}
    assert post(server, service_tier="auto", **body).json()["content"][0]["text"] == "Hi."


def test_a_key_comes_in_their_header_too(serving: Serving) -> None:
    server = serving(templated(HERMES, "Hi."), keys=("secret-of-sixteen",))
    url, body = f"{server.url}/v1/messages", {"model": "scripted", "messages": USER, "max_tokens": 9}
    assert httpx.post(url, json=body, headers={"x-api-key": "secret-of-sixteen"}).status_code == 200
    for headers in ({}, {"x-api-key": "wrong"}):
        refused = httpx.post(url, json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")


def test_an_answer_that_fails_in_a_stream_ends_with_an_error_event(serving: Serving) -> None:
    said = Model(Fragile()).generate("hi", policy="greedy", max_tokens=12).tokens
    server = serving(Fragile(poison=bytes(token % 256 for token in said[6:9])))
    stream = events(post(server, stream=True))
    assert "content_block_delta" in [event["type"] for event in stream]
    assert (stream[-1]["type"], stream[-1]["error"]["type"]) == ("error", "api_error")
    assert "failed on this request" in stream[-1]["error"]["message"]


def test_smollm2_answers_in_events(real_server: Background) -> None:
    body = {"model": "smollm2", "messages": USER, "max_tokens": 8, "stream": True, "top_k": 5}
    stream = events(httpx.post(f"{real_server.url}/v1/messages", json=body, timeout=60))
    assert blocks(stream)[0]["text"]
    assert stream[-2]["usage"]["output_tokens"] <= 8
