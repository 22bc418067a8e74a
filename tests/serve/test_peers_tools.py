"""Facts that the server tests of llama.cpp (test_tool_call) and vLLM (tests/tool_use) check of tools, on a real model
that was taught none: what it calls is what it must or what the grammar lets it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from entropix.serve.process import Background
from helpers.clients import client_of
from helpers.templates import ADD, WEATHER

QUESTION: list[Any] = [{"role": "user", "content": "What is the weather like in Dallas, Texas?"}]
ANY, NAMED = "required", {"type": "function", "function": {"name": "get_weather"}}


@pytest.fixture
def client(real_server: Background) -> openai.OpenAI:
    return client_of(real_server)


def ask(client: openai.OpenAI, messages: Any = QUESTION, **options: Any) -> Any:
    asked = {"model": "smollm2", "messages": messages, "tools": [WEATHER, ADD], "temperature": 0.0, "max_tokens": 60}
    return client.chat.completions.create(**{**asked, "parallel_tool_calls": False, **options})


@pytest.mark.parametrize("choice", [ANY, NAMED], ids=["required", "named"])
def test_a_call_that_is_wanted_is_one_of_a_tool_whose_arguments_parse(client: openai.OpenAI, choice: Any) -> None:
    (only,) = ask(client, tool_choice=choice).choices
    (call,) = only.message.tool_calls
    assert (only.finish_reason, only.message.role, call.type) == ("tool_calls", "assistant", "function")
    assert call.id
    assert call.function.name in (("get_weather", "add") if choice == ANY else ("get_weather",))
    wanted = {"get_weather": {"city": str, "days": int}, "add": {"a": int, "b": int}}[call.function.name]
    given = json.loads(call.function.arguments)
    assert given
    assert all(type(value) is wanted[name] for name, value in given.items())


def test_a_call_comes_in_pieces_that_join_to_the_whole(client: openai.OpenAI) -> None:
    whole = ask(client, tool_choice=NAMED).choices[0].message.tool_calls[0].function
    chunks = list(ask(client, tool_choice=NAMED, stream=True))
    assert {chunk.choices[0].delta.role for chunk in chunks} == {"assistant", None}
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.id is not None for call in deltas] == [True] + [False] * (len(deltas) - 1)
    assert [call.function.name for call in deltas] == [whole.name] + [None] * (len(deltas) - 1)
    assert len(deltas) > 2, "the arguments stream"
    assert "".join(call.function.arguments or "" for call in deltas) == whole.arguments
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["tool_calls"]


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_call_there_is_text_and_no_word_of_tools(client: openai.OpenAI, stream: bool) -> None:
    answer = ask(client, tool_choice="none", max_tokens=5, stream=stream)
    if stream:
        chunks = list(answer)
        assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks)
        content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        assert answer.choices[0].message.tool_calls is None
        content, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert content == ask(client, tools=None, parallel_tool_calls=None, max_tokens=5).choices[0].message.content
    assert reason == "length"


def test_a_result_is_answered(client: openai.OpenAI) -> None:
    said = ask(client, tool_choice=NAMED).choices[0].message
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": '{"temperature": 98}'}
    alone, answer = (ask(client, m, max_tokens=5) for m in (QUESTION, [*QUESTION, said.model_dump(), result]))
    assert answer.usage.prompt_tokens > alone.usage.prompt_tokens
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


@pytest.mark.parametrize(
    "options",
    [
        {"tools": None, "tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "nope"}}},
        {"tool_choice": "sometimes"},
        {"tools": [{"type": "magic", "function": {"name": "x"}}]},
    ],
    ids=str,
)
def test_a_choice_that_cannot_be_is_refused(client: openai.OpenAI, options: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(client, **options)
