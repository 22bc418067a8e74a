"""Ollama's API: the objects its clients read, lines of a stream, tools, formats and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from entropix.serve.ollama.reading import chat_of
from entropix.serve.ollama.schema import OllamaChat
from entropix.serve.process import Background
from helpers.clients import MESSAGES, client_of
from helpers.templates import HERMES, THINKING, WEATHER, templated

Serving = Callable[..., Background]
CALL = 'So. <tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris 🙂"}}\n</tool_call>'


def post(server: Background, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{server.url}/api/{path}", json={"model": "scripted", **body}, timeout=60)
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_chat_is_the_chat_apis_answer_whole_and_in_lines(serving: Serving) -> None:
    server = serving(templated(HERMES, "Hello 🙂 there."))
    options = {"num_predict": 40, "temperature": 0, "seed": 3, "unknown_option": 1}
    (whole,) = post(server, "chat", messages=MESSAGES, stream=False, options=options)
    openai: Any = client_of(server).chat.completions.create(model="scripted", messages=MESSAGES, temperature=0)  # type: ignore[call-overload]
    assert whole["message"] == {"role": "assistant", "content": openai.choices[0].message.content}
    assert (whole["done"], whole["done_reason"], whole["model"]) == (True, "stop", "scripted")
    assert whole["prompt_eval_count"] == openai.usage.prompt_tokens
    assert whole["eval_count"] == openai.usage.completion_tokens
    lines = post(server, "chat", messages=MESSAGES, options=options)
    assert "".join(line["message"]["content"] for line in lines) == "Hello 🙂 there."
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    (cut,) = post(server, "chat", messages=MESSAGES, stream=False, options={"num_predict": 3, "temperature": 0})
    assert (cut["done_reason"], cut["eval_count"]) == ("length", 3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_has_its_arguments_as_an_object_and_its_result_comes_back(serving: Serving, stream: bool) -> None:
    server = serving(templated(HERMES, CALL))
    asked: dict[str, Any] = {"tools": [WEATHER], "options": {"temperature": 0}, "stream": stream}
    lines = post(server, "chat", messages=MESSAGES, **asked)
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    assert [call["function"] for call in calls] == [{"name": "get_weather", "arguments": {"city": "Paris 🙂"}}]
    assert calls[0]["id"]
    assert "".join(line["message"]["content"] for line in lines) == "So."
    said = {"role": "assistant", "content": "", "tool_calls": calls}
    result = {"role": "tool", "tool_name": "get_weather", "content": "21 °C"}
    server.server.scheduler.model.engine.script = templated(HERMES, "Warm.").script  # type: ignore[attr-defined]
    (answer,) = post(server, "chat", messages=[*MESSAGES, said, result], **{**asked, "stream": False})
    assert answer["message"]["content"] == "Warm."


@pytest.mark.parametrize(
    "named", [{"tool_call_id": "b"}, {"tool_name": "second"}, {"tool_call_id": "b", "tool_name": "second"}]
)
def test_a_result_is_of_the_call_that_it_names_whatever_the_order(named: dict[str, str]) -> None:
    calls = [{"id": i, "function": {"name": n, "arguments": {}}} for i, n in (("a", "first"), ("b", "second"))]
    said = {"role": "assistant", "tool_calls": calls}
    results = [{"role": "tool", "content": "2", **named}, {"role": "tool", "content": "1"}]
    asked = OllamaChat.model_validate({"model": "m", "messages": [*MESSAGES, said, *results]})
    second, first = chat_of(asked).messages[-2:]
    assert (second.tool_call_id, second.name, second.content) == ("b", "second", "2")
    assert (first.tool_call_id, first.name, first.content) == ("a", "first", "1")


def test_prompts_are_answered_continued_and_thought_about(serving: Serving) -> None:
    server = serving(templated(THINKING, "Hm.</think>Yes."))
    options = {"temperature": 0}
    (found,) = post(server, "generate", prompt="hi", system="Be brief.", stream=False, options=options)
    assert (found["response"], found["thinking"]) == ("Yes.", "Hm.")
    (raw,) = post(server, "generate", prompt="hi", raw=True, stream=False, options={"num_predict": 4})
    assert raw["prompt_eval_count"] == 2
    assert raw["eval_count"] <= 4
    (loaded,) = post(server, "generate")
    assert loaded["done_reason"] == "load"


def test_a_format_is_kept_to(serving: Serving) -> None:
    server = serving(templated(HERMES, "whatever"))
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    options = {"temperature": 0, "num_predict": 300}
    (found,) = post(server, "chat", messages=MESSAGES, format=schema, stream=False, options=options)
    assert found["done_reason"] == "length" or json.loads(found["message"]["content"])["a"] in (1, 2)


def test_models_are_listed_and_shown_by_ollamas_names(serving: Serving) -> None:
    server = serving(templated(HERMES, "x"), aliases=("small",))
    names = [model["name"] for model in httpx.get(f"{server.url}/api/tags").json()["models"]]
    assert names == ["scripted:latest", "small:latest"]
    assert post(server, "chat", messages=MESSAGES, model="small:latest", stream=False)[0]["done"]
    assert "tools" in httpx.post(f"{server.url}/api/show", json={"model": "small:latest"}).json()["capabilities"]
    assert httpx.get(f"{server.url}/api/version").json()["version"]
    assert len(httpx.get(f"{server.url}/api/ps").json()["models"]) == 2


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("chat", {"model": "other", "messages": MESSAGES}, "other"),
        ("chat", {"messages": [{"role": "user", "content": "x", "images": ["eA=="]}]}, "text only"),
        ("chat", {"messages": MESSAGES, "options": {"top_p": -1}}, "top_p"),
        ("chat", {"messages": MESSAGES, "tools": [{"type": "magic"}]}, "tools"),
        ("generate", {"prompt": "x", "suffix": "y"}, "filling a hole"),
        ("show", {"model": "other"}, "other"),
    ],
    ids=str,
)
def test_an_error_is_a_text_as_ollamas_clients_read_it(serving: Serving, path: str, body: Any, part: str) -> None:
    server = serving(templated(HERMES, "x"))
    answer = httpx.post(f"{server.url}/api/{path}", json={"model": "scripted", **body})
    assert answer.status_code in (400, 404)
    assert part in answer.json()["error"]


def test_smollm2_answers_in_lines(real_server: Background) -> None:
    lines = post(real_server, "chat", model="smollm2", messages=MESSAGES, options={"num_predict": 8, "top_k": 5})
    assert "".join(line["message"]["content"] for line in lines)
    assert lines[-1]["eval_count"] <= 8
