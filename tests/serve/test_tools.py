"""Tools over HTTP, with OpenAI's client: calls, choices, history, streams, and how sure a call is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.serve.process import Background
from entropix.serve.schema import ChatRequest
from helpers.clients import MESSAGES, client_of
from helpers.templates import (
    ADD,
    GEMMA,
    GEMMA_4,
    HERMES,
    LLAMA_3,
    MISTRAL,
    MISTRAL_ARGS,
    PLAIN,
    THINKING,
    WEATHER,
    templated,
)

Serving = Callable[..., Background]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris 🙂", "days": 3}}\n</tool_call>'
ARGUMENTS = {"city": "Paris 🙂", "days": 3}


def ask(client: openai.OpenAI, messages: Any = MESSAGES, **options: Any) -> Any:
    asked = {"model": "scripted", "messages": messages, "max_tokens": 300, "temperature": 0, "tools": [WEATHER, ADD]}
    return client.chat.completions.create(**{**asked, **options})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (HERMES, CALL),
        (PLAIN, CALL),
        (HERMES, '```json\n{"name": "get_weather", "arguments": {"city": "Paris 🙂", "days": 3}}\n```'),
        (HERMES, '<tools>\n{"name": "get_weather", "arguments": {"city": "Paris 🙂", "days": 3}}\n</tools>'),
        (HERMES, '{"name": "get_weather", "arguments": {"city": "Paris 🙂", "days": 3}}'),
        (LLAMA_3, '{"name": "get_weather", "parameters": {"city": "Paris 🙂", "days": 3}}'),
        (MISTRAL, '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris 🙂", "days": 3}}]'),
        (MISTRAL_ARGS, '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris 🙂", "days": 3}'),
        (GEMMA, "<start_function_call>call:get_weather{city:<escape>Paris 🙂<escape>,days:3}<end_function_call>"),
    ],
    ids=["hermes", "generic", "fence", "tools", "bare", "llama3", "mistral", "mistral-args", "gemma"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_read_in_the_format_of_the_template(serving: Serving, template: str, text: str, stream: bool) -> None:
    client = client_of(serving(templated(template, text)))
    answer = ask(client, stream=stream)
    if stream:
        name, arguments, content, reason = "", "", "", ""
        for chunk in answer:
            reason = chunk.choices[0].finish_reason or reason
            content += chunk.choices[0].delta.content or ""
            for delta in chunk.choices[0].delta.tool_calls or []:
                assert delta.index == 0
                assert bool(delta.id) == bool(delta.function.name)
                name += delta.function.name or ""
                arguments += delta.function.arguments or ""
    else:
        (call,) = answer.choices[0].message.tool_calls
        name, arguments, reason = call.function.name, call.function.arguments, answer.choices[0].finish_reason
        content = answer.choices[0].message.content or ""
    assert (name, json.loads(arguments), content, reason) == ("get_weather", ARGUMENTS, "", "tool_calls")


def test_text_before_a_call_is_content_and_text_alone_makes_no_call(serving: Serving) -> None:
    answer = ask(client_of(serving(templated(HERMES, f"Let me look. {CALL}")))).choices[0]
    assert answer.message.content == "Let me look."
    assert len(answer.message.tool_calls) == 1
    said = 'I mean <b>, {"name": "x"} and ```json\n{"name": "Bob"}\n``` by it.'
    answer = ask(client_of(serving(templated(HERMES, said)))).choices[0]
    assert (answer.message.content, answer.message.tool_calls, answer.finish_reason) == (said, None, "stop")


def test_several_calls_come_at_a_time_unless_that_is_not_wanted(serving: Serving) -> None:
    second = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": -2}}\n</tool_call>'
    client = client_of(serving(templated(HERMES, f"{CALL}\n{second}")))
    calls = ask(client).choices[0].message.tool_calls
    assert [c.function.name for c in calls] == ["get_weather", "add"]
    assert json.loads(calls[1].function.arguments) == {"a": 1, "b": -2}
    assert len({c.id for c in calls}) == 2
    assert len(ask(client, parallel_tool_calls=False).choices[0].message.tool_calls) == 1


@pytest.mark.parametrize("template", [HERMES, PLAIN, LLAMA_3, MISTRAL, MISTRAL_ARGS, GEMMA])
def test_a_required_or_named_call_is_made_by_a_model_that_would_say_anything(serving: Serving, template: str) -> None:
    engine = templated(template, "")
    engine.script = hashed(1.5)
    client = client_of(serving(engine))
    integers = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"]}
    tools = [{"type": "function", "function": {"name": n, "parameters": integers}} for n in ("one", "two")]
    for choice in ("required", {"type": "function", "function": {"name": "two"}}):
        answer = ask(
            client, tools=tools, tool_choice=choice, temperature=1.0, seed=1, parallel_tool_calls=False
        ).choices[0]
        (call,) = answer.message.tool_calls
        assert call.function.name == "two" or choice == "required"
        assert json.loads(call.function.arguments)["n"] in (1, 2, 3)
        assert answer.finish_reason == "tool_calls"


def test_tool_choice_none_says_nothing_of_tools_and_reads_no_calls(serving: Serving) -> None:
    client = client_of(serving(templated(HERMES, CALL)))
    answer = ask(client, tool_choice="none")
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content == CALL
    assert answer.usage.prompt_tokens < ask(client).usage.prompt_tokens


def test_arguments_keep_to_the_schema_whatever_the_model_would_write(serving: Serving) -> None:
    small = {"enum": [1, 2]}
    schema = {"type": "object", "properties": {"a": small, "b": small}, "required": ["a", "b"]}
    tool = {"type": "function", "function": {"name": "add", "parameters": schema}}
    said = '<tool_call>\n{"name": "add", "arguments": {"a": "one", "c": 2}}\n</tool_call>'
    call = ask(client_of(serving(templated(HERMES, said))), tools=[tool]).choices[0].message.tool_calls[0]
    found = json.loads(call.function.arguments)
    assert set(found) == {"a", "b"}
    assert set(found.values()) <= {1, 2}


def test_one_tool_s_pattern_that_the_matcher_does_not_know_refuses_no_request(serving: Serving) -> None:
    parameters = {"type": "object", "properties": {"to": {"type": "string", "pattern": "^(?!-)[a-z]+$"}}}
    mail: Any = {"type": "function", "function": {"name": "send", "parameters": parameters}}
    client = client_of(
        serving(templated(HERMES, '<tool_call>\n{"name": "send", "arguments": {"to": "ann"}}\n</tool_call>'))
    )
    for choice in ("auto", "required"):
        answer = ask(client, tools=[ADD, mail], tool_choice=choice)
        assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"to": "ann"}
        assert "'^(?!-)[a-z]+$': look-around" in str(answer.model_extra["entropix"]["choices"][0]["result"]["notes"])
    strict: Any = {"type": "function", "function": {**mail["function"], "strict": True}}
    with pytest.raises(openai.BadRequestError, match="look-around"):
        ask(client, tools=[ADD, strict])


def test_a_call_that_is_cut_off_ends_with_length(serving: Serving) -> None:
    answer = ask(client_of(serving(templated(HERMES, CALL))), max_tokens=70).choices[0]
    assert answer.finish_reason == "length"
    assert answer.message.tool_calls[0].function.arguments.startswith('{"city"')


@pytest.mark.parametrize("template", [HERMES, PLAIN, LLAMA_3, MISTRAL, MISTRAL_ARGS, GEMMA])
def test_the_whole_loop_of_call_and_result_is_shown_to_the_model(serving: Serving, template: str) -> None:
    server = serving(templated(template, "It is 21 degrees."))
    client = client_of(server)
    call = {"id": "call_with_a_long_id", "type": "function"}
    call["function"] = {"name": "get_weather", "arguments": '{"city": "Zagreb"}'}  # type: ignore[assignment]
    history = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "21 °C <end> in Zagreb"},
    ]
    answer = ask(client, history)
    assert answer.choices[0].message.content == "It is 21 degrees."
    tokenizer = server.server.reader.model.tokenizer
    body: Any = {"model": "scripted", "messages": history, "tools": [WEATHER]}
    tokens = server.server.reader.chat(ChatRequest.model_validate(body)).requests[0].tokens
    seen = b"".join(map(tokenizer.piece, tokens)).decode()
    for part in ("get_weather", "Zagreb", "21 °C <end> in Zagreb"):
        assert part in seen, seen


@pytest.mark.parametrize("template", [HERMES, LLAMA_3, MISTRAL, GEMMA, GEMMA_4, PLAIN])
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("", "{}"),
        (" ", "{}"),
        ("null", "{}"),
        (None, "{}"),
        ({"city": "東京"}, "東京"),
        ("[1]", "1"),
        ("[" * 5000, "[["),
        ('{"city": "東京"}', "東京"),
        ('{"city": "Par', "Par"),
        ('{"city": "\\ud83d"}', "?"),
    ],
)
def test_a_call_comes_back_whatever_its_arguments_are(
    serving: Serving, template: str, arguments: Any, shown: str
) -> None:
    server = serving(templated(template, "ok", context=16_384))
    function = {"name": "get_weather", **({} if arguments is None else {"arguments": arguments})}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    history = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "no such city"}
    body = {"model": "scripted", "messages": [*history, result], "tools": [WEATHER]}
    tokens = server.server.reader.chat(ChatRequest.model_validate(body)).requests[0].tokens
    seen = b"".join(map(server.server.scheduler.model.tokenizer.piece, tokens)).decode()
    assert shown in seen[seen.rindex("get_weather") :]


@pytest.mark.parametrize("template", [HERMES, GEMMA, PLAIN])
def test_half_a_character_in_a_tool_or_a_call_is_refused_where_it_stands(serving: Serving, template: str) -> None:
    server = serving(templated(template, "ok"))

    def refusal(**body: Any) -> dict[str, Any]:
        content = json.dumps({"model": "scripted", "messages": MESSAGES, "tools": [ADD], **body}).encode()
        answer = httpx.post(
            f"{server.url}/v1/chat/completions", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400
        error: dict[str, Any] = answer.json()["error"]
        return error

    for change in (
        {"description": "\ud800"},
        {"parameters": {"type": "object", "properties": {"\ud800": {}}}},
        {"parameters": {"type": "object", "properties": {"a": {"enum": ["b", "\ud800"]}}}},
    ):
        told = refusal(tools=[WEATHER, {"type": "function", "function": {**ADD["function"], **change}}])
        assert told["param"] == "tools"
        assert "tools.1.function" in told["message"]
    for function in ({"name": "add", "arguments": '{"a": "\ud800"}'}, {"name": "\ud800", "arguments": "{}"}):
        called = {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "function": function}]}
        assert "message 1" in refusal(messages=[*MESSAGES, called, *MESSAGES])["message"]


def test_a_call_has_probabilities_of_being_made_of_its_name_and_of_each_argument(serving: Serving) -> None:
    client = client_of(serving(templated(HERMES, CALL)))
    answer = ask(client)
    (call,) = answer.entropix["choices"][0]["calls"]
    assert call["id"] == answer.choices[0].message.tool_calls[0].id
    p = call["probability"]
    assert 0.9 < p["call"] < 1
    assert 0.9 < p["name"] <= 1
    assert set(p["arguments"]) == {"city", "days"}
    assert all(0.9 < value <= 1 for value in p["arguments"].values())
    required = ask(client, tool_choice="required").entropix["choices"][0]["calls"][0]
    assert required["probability"]["call"] is None
    none = ask(client_of(serving(templated(HERMES, "Hello."))))
    assert none.entropix["choices"][0]["calls"] == []
    assert 0 <= none.entropix["choices"][0]["calling"] < 0.5, "that its first token would have begun one"
    assert "calling" not in ask(client, tools=None).entropix["choices"][0]


def test_what_is_wrong_with_tools_is_named(serving: Serving) -> None:
    client = client_of(serving(templated(HERMES, "x")))
    for options, part in (
        ({"tool_choice": {"type": "function", "function": {"name": "nope"}}}, "no tool 'nope'.*get_weather, add"),
        ({"tools": [], "tool_choice": "required"}, "there are no tools"),
        ({"tools": [WEATHER, WEATHER]}, "two tools called 'get_weather'"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, r"tools\.0"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"not": {}}}}]},
            "not",
        ),
        ({"extra_body": {"chat_template_kwargs": {"messages": []}}}, "chat_template_kwargs: 'messages'"),
        ({"messages": [{"role": "tool", "content": "x", "tool_calls": [1]}]}, "messages"),
    ):
        with pytest.raises(openai.BadRequestError, match=f"(?s){part}"):
            ask(client, **options)


def test_a_schema_of_the_answer_and_tools_go_together(serving: Serving) -> None:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "strict": True, "schema": ADD["function"]["parameters"]},
    }
    said = '{"a": 1, "b": 2}'
    answer = ask(client_of(serving(templated(HERMES, said))), response_format=form).choices[0]
    assert (answer.message.content, answer.finish_reason) == (said, "stop")
    answer = ask(client_of(serving(templated(HERMES, CALL))), response_format=form).choices[0]
    assert answer.message.tool_calls[0].function.name == "get_weather"


def test_reasoning_stands_apart_from_content(serving: Serving) -> None:
    client = client_of(serving(templated(THINKING, "I think\nso.</think>\n\nYes.")))
    answer = ask(client, tools=None)
    assert answer.choices[0].message.content == "Yes."
    assert answer.choices[0].message.reasoning_content == "I think\nso."
    deltas = [c.choices[0].delta.model_dump() for c in ask(client, tools=None, stream=True)]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "I think\nso."
    assert "".join(d.get("content") or "" for d in deltas) == "Yes."
    client = client_of(serving(templated(THINKING, "Yes.")))
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    assert ask(client, tools=None, extra_body=off).choices[0].message.content == "Yes."


def test_an_assistants_last_message_is_continued_unless_that_is_not_wanted(serving: Serving) -> None:
    server = serving(ScriptedEngine(hashed(3.0), sequences=24))
    client = client_of(server)
    begun = [*MESSAGES, {"role": "assistant", "content": "Once upon"}]
    asked = {"tools": None, "max_tokens": 3, "seed": 1}
    whole = ask(client, begun, **asked)
    explicit = ask(client, begun, **asked, extra_body={"continue_final_message": True, "add_generation_prompt": False})
    other = ask(client, begun, **asked, extra_body={"continue_final_message": False})
    assert whole.usage.prompt_tokens == explicit.usage.prompt_tokens == other.usage.prompt_tokens - 2
    assert whole.choices[0].message.content == explicit.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="last message must be an assistant's"):
        ask(client, **asked, extra_body={"continue_final_message": True})


@pytest.mark.parametrize("stream", [False, True])
def test_smollm2_calls_a_tool_that_it_must_call(real_server: Background, stream: bool) -> None:
    client = client_of(real_server)
    options: Any = {"model": "smollm2", "tool_choice": "required", "parallel_tool_calls": False, "stream": stream}
    answer = ask(client, [{"role": "user", "content": "What is 2 + 3? 🙂"}], tools=[ADD], **options)
    if stream:
        deltas = [d for c in answer for d in c.choices[0].delta.tool_calls or []]
        arguments = "".join(d.function.arguments or "" for d in deltas)
    else:
        arguments = answer.choices[0].message.tool_calls[0].function.arguments
    assert set(json.loads(arguments)) == {"a", "b"}
