"""The Responses API with OpenAI's client: answers, events, tools, and what is remembered of whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.serve.process import Background
from entropix.serve.responses.memory import Memory
from helpers.clients import client_of
from helpers.templates import HERMES, THINKING, WEATHER, templated

Serving = Callable[..., Background]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris 🙂"}}\n</tool_call>'
TOOL: dict[str, Any] = {"type": "function", **WEATHER["function"], "strict": False}


def ask(client: openai.OpenAI, given: Any = "hi", **options: Any) -> Any:
    return client.responses.create(**{"model": "scripted", "input": given, "temperature": 0, **options})


def test_an_answer_is_what_the_chat_api_gives(serving: Serving) -> None:
    client = client_of(serving(ScriptedEngine(hashed(3.0), sequences=24)))
    options: Any = {"model": "scripted", "temperature": 1.0}
    found = client.responses.create(
        input="hi", instructions="Be brief.", max_output_tokens=9, extra_body={"seed": 3}, **options
    )
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    chat = client.chat.completions.create(messages=messages, max_tokens=9, seed=3, **options)
    assert found.output_text == chat.choices[0].message.content
    assert found.usage.input_tokens == chat.usage.prompt_tokens  # type: ignore[union-attr]
    assert found.usage.output_tokens == 9  # type: ignore[union-attr]
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")  # type: ignore[union-attr]
    assert found.entropix["choices"][0]["result"]["seed"] == 3  # type: ignore[attr-defined]


def test_sampling_fields_hold_here_too(serving: Serving) -> None:
    client = client_of(serving(ScriptedEngine(hashed(1.0), sequences=24)))
    usual: dict[str, Any] = {"temperature": 1.0, "max_output_tokens": 12}
    greedy = ask(client, **{**usual, "temperature": 0}).output_text
    for field in ({"top_k": 1}, {"min_p": 1.0}):
        assert ask(client, **usual, extra_body={"seed": 3, **field}).output_text == greedy
    assert ask(client, **usual, extra_body={"seed": 3}).output_text != greedy


def test_the_events_of_a_stream_add_up_to_the_response(serving: Serving) -> None:
    client = client_of(serving(templated(THINKING, "Hm 🙂</think>\n\nSo: <x> 🙂.")))
    with client.responses.stream(model="scripted", input="hi", temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [e.type for e in events[:3]] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert events[-1].type == "response.completed"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "So: <x> 🙂."
    assert "".join(e.delta for e in events if e.type == "response.reasoning_text.delta") == "Hm 🙂"
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == "So: <x> 🙂."


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_and_its_result_go_round(serving: Serving, stream: bool) -> None:
    server = serving(templated(HERMES, f"Wait. {CALL}"))
    client = client_of(server)
    if stream:
        events = list(ask(client, tools=[TOOL], stream=True))
        found = events[-1].response
        deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
        (done,) = [e for e in events if e.type == "response.function_call_arguments.done"]
        assert "".join(deltas) == done.arguments
    else:
        found = ask(client, tools=[TOOL])
    text, call = found.output
    assert (text.type, text.content[0].text) == ("message", "Wait.")
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Paris 🙂"})
    assert found.entropix["choices"][0]["calls"][0]["id"] == call.call_id
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21 °C"}
    server.server.scheduler.model.engine.script = templated(HERMES, "It is warm.").script  # type: ignore[attr-defined]
    remembered = ask(client, [result], tools=[TOOL], previous_response_id=found.id)
    assert remembered.output_text == "It is warm."
    sent = ask(
        client, [{"role": "user", "content": "hi"}, *(o.model_dump() for o in found.output), result], tools=[TOOL]
    )
    assert sent.output_text == "It is warm."
    assert sent.usage.input_tokens == remembered.usage.input_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_tool_of_a_group_names_the_group(serving: Serving, stream: bool) -> None:
    server = serving(templated(HERMES, CALL.replace("get_weather", "mcp__weather__get_weather")))
    client = client_of(server)
    group: dict[str, Any] = {"type": "namespace", "name": "mcp__weather", "description": "Weather.", "tools": [TOOL]}
    answer = ask(client, tools=[group], stream=stream)
    events = list(answer) if stream else []
    found = events[-1].response if stream else answer
    (call,) = found.output
    assert (call.namespace, call.name, json.loads(call.arguments)) == (
        "mcp__weather",
        "get_weather",
        {"city": "Paris 🙂"},
    )
    for event in events:
        if event.type == "response.output_item.added":
            assert (event.item.namespace, event.item.name) == ("mcp__weather", "get_weather")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21 °C"}
    server.server.scheduler.model.engine.script = templated(HERMES, "Warm.").script  # type: ignore[attr-defined]
    items = [{"role": "user", "content": "hi"}, call.model_dump(), result]
    sent = ask(client, items, tools=[group])
    remembered = ask(client, [result], tools=[group], previous_response_id=found.id)
    assert sent.output_text == remembered.output_text == "Warm."
    assert sent.usage.input_tokens == remembered.usage.input_tokens


def test_tools_that_are_no_functions_are_left_out_and_that_is_said(serving: Serving) -> None:
    engine = templated(HERMES, CALL)
    tools: list[Any] = [{"type": "web_search"}, {"type": "custom", "name": "patch", "format": {"type": "text"}}]
    items: list[Any] = [
        {"type": "additional_tools", "role": "developer", "tools": [TOOL, {"type": "local_shell"}]},
        {"role": "user", "content": "hi"},
    ]
    found = ask(client_of(serving(engine)), items, tools=tools, extra_body={"client_metadata": {"a": "b"}})
    assert found.output[0].name == "get_weather", "a function in the input may be called, too"
    notes = found.entropix["choices"][0]["result"]["notes"]
    assert [note.partition(";")[0] for note in notes if note.startswith("tools")] == [
        "tools: web_search, custom, local_shell left out"
    ]
    with pytest.raises(openai.BadRequestError, match=r"web_search, custom left out.*strict"):
        ask(client_of(serving(templated(HERMES, "x"), strict=True)), tools=tools)


def test_answers_are_remembered_shown_and_forgotten(serving: Serving) -> None:
    client = client_of(serving(templated(HERMES, "Yes.")))
    first = ask(client)
    assert client.responses.retrieve(first.id).output_text == "Yes."
    second = ask(client, "and?", previous_response_id=first.id, instructions="Other.")
    third = ask(client, [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Yes."},
                         {"role": "user", "content": "and?"}], instructions="Other.")  # fmt: skip
    assert second.usage.input_tokens == third.usage.input_tokens
    client.responses.delete(first.id)
    for name in (first.id, ask(client, store=False).id):
        with pytest.raises(openai.NotFoundError, match="there is no response"):
            ask(client, previous_response_id=name)


def test_one_client_cannot_continue_the_answer_of_another(serving: Serving) -> None:
    server = serving(templated(HERMES, "Secret."), keys=("a" * 20, "b" * 20))
    one, other = (client_of(server, api_key=key * 20) for key in "ab")
    found = ask(one)
    assert ask(one, previous_response_id=found.id).output_text == "Secret."
    with pytest.raises(openai.NotFoundError):
        ask(other, previous_response_id=found.id)
    with pytest.raises(openai.NotFoundError):
        other.responses.retrieve(found.id)


def test_memory_keeps_the_newest_within_its_limits() -> None:
    memory = Memory(most=3, characters=1000)
    for n in range(5):
        memory.keep(f"r{n}", "me", [{"role": "user", "content": "x"}], {})
    assert [n for n in range(5) if f"r{n}" in memory._kept] == [2, 3, 4]
    memory.keep("large", "me", [{"role": "user", "content": "x" * 2000}], {})
    assert not memory._kept
    assert memory._size == 0


def test_a_schema_and_effort_are_translated(serving: Serving) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    form: Any = {"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}}
    client = client_of(serving(ScriptedEngine(hashed(2.0), sequences=24)))
    assert json.loads(ask(client, text=form, max_output_tokens=300).output_text)["a"] in (1, 2)
    client = client_of(serving(ScriptedEngine(saying("The answer is 7.", certainty=20), sequences=24)))
    asked: dict[str, Any] = {"temperature": None, "max_output_tokens": 40}
    for effort, texts in (("low", 2), ("medium", 3), ("none", 0)):
        told = ask(client, "How many are 3 + 4?", reasoning={"effort": effort}, **asked).entropix["choices"][0]
        assert told.get("vote", {"agreeing": 0})["agreeing"] == texts


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"tools": [{"name": "f"}]}, r"tools\.0\.type"),
        ({"tools": [{"type": "namespace", "name": "m"}]}, r"tools\.0\.tools"),
        ({"tools": [{"type": "namespace", "name": "m", "tools": [{"type": "function"}]}]}, r"tools\.0\.tools\.0\.name"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "there are no tools"),
        ({"tool_choice": {"type": "function", "name": "nope"}}, "no tool 'nope'"),
        ({"previous_response_id": "resp_x"}, "no response 'resp_x'"),
        ({"background": True}, "background"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
        ({"text": {"format": {"type": "grammar"}}}, "format"),
        ({"model": "other"}, "other"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(serving: Serving, options: Any, part: str) -> None:
    client = client_of(serving(templated(HERMES, "x")))
    with pytest.raises(openai.APIStatusError, match=part):
        client.responses.create(**{"model": "scripted", "input": "hi", **options})


def test_smollm2_answers(real_server: Background) -> None:
    client = client_of(real_server)
    found = client.responses.create(model="smollm2", input="Say hello. 🙂", max_output_tokens=12, temperature=0)
    assert found.output_text
    again = client.responses.create(
        model="smollm2", input="Again.", previous_response_id=found.id, max_output_tokens=4, temperature=0
    )
    assert again.usage.input_tokens > found.usage.total_tokens  # type: ignore[union-attr]
