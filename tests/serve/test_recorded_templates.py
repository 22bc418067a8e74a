"""Chat templates as models have them: tools are shown, and a call that the template itself writes is read as that."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.model import Model
from entropix.serve.asking import Reader
from entropix.serve.process import Background
from entropix.serve.schema import ChatRequest
from entropix.serve.settings import Settings
from entropix.serve.tools.formats import format_of
from helpers.clients import client_of
from helpers.templates import ADD, GEMMA, GEMMA_4, HERMES, LLAMA_3, MISTRAL, MISTRAL_ARGS, WEATHER, templated

Serving = Callable[..., Background]
HERE = Path(__file__).parent / "templates"
FORMATS = {
    "qwen2.5": "hermes",
    "qwen3": "hermes",
    "mistral-nemo": "mistral",
    "Qwen-Qwen2.5-7B-Instruct": "hermes",
    "Qwen-QwQ-32B": "hermes",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
    "meta-llama-Llama-3.1-8B-Instruct": "llama3",
    "meta-llama-Llama-3.2-3B-Instruct": "llama3",
    "meta-llama-Llama-3.3-70B-Instruct": "llama3",
    "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
    "Mistral-Small-3.2-24B-Instruct-2506": "mistral-args",
    "google-gemma-4-31B-it": "gemma4",
}
"""The format of each template that is recorded here or that ENTROPIX_TEMPLATES has."""

MINIMAL = {"hermes": HERMES, "llama3": LLAMA_3, "mistral": MISTRAL, "mistral-args": MISTRAL_ARGS, "gemma": GEMMA}
MINIMAL["gemma4"] = GEMMA_4
RECORDED = {
    file.stem: file.read_text(encoding="utf-8")
    for folder in (HERE, *map(Path, filter(None, [os.environ.get("ENTROPIX_TEMPLATES")])))
    for file in sorted(folder.glob("*.jinja"))
    if file.stem in FORMATS
}
ARGUMENTS = {"city": "Paris 🙂", "days": 3}
ENDS = re.compile(r"<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|\[TOOL_RESULTS\]|</s>|<\|tool_response>|<turn\|>")
ASKED = {"role": "user", "content": "How is the weather in Paris?"}
CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "abcdef123",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps(ARGUMENTS)},
        }
    ],
}
RESULT = {"role": "tool", "tool_call_id": "abcdef123", "content": '{"weather": "rain"}'}


def prompt(template: str, *messages: dict[str, Any], tools: Any = (WEATHER, ADD)) -> str:
    """What the model is shown, as text."""
    model = Model(templated(template, "x"))
    reader = Reader(model, Settings(port=0), keep=False, places=4)
    body = {"model": "scripted", "messages": list(messages), "tools": list(tools)}
    (request,) = reader.chat(ChatRequest.model_validate(body)).requests
    return b"".join(map(model.tokenizer.piece, request.tokens)).decode()


@pytest.fixture(params=[*RECORDED, *MINIMAL])
def named(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A template and the format it has."""
    name = request.param
    return (RECORDED[name], FORMATS[name]) if name in RECORDED else (MINIMAL[name], name)


def test_the_format_is_seen_in_the_template(named: tuple[str, str]) -> None:
    template, expected = named
    assert format_of(template).name == expected


def test_the_template_shows_the_tools(named: tuple[str, str]) -> None:
    shown, plain = prompt(named[0], ASKED), prompt(named[0], ASKED, tools=())
    assert "get_weather" in shown
    assert "get_weather" not in plain


def answer(template: str) -> str:
    """What stands behind the question where it was answered by a call: the call, and its result."""
    shown, before = prompt(template, ASKED, CALLED, RESULT), prompt(template, ASKED)
    same = next((n for n, (a, b) in enumerate(zip(shown, before, strict=False)) if a != b), len(before))
    begun = re.search(r"<[^<>]*$", shown[:same])  # a mark that only begins alike
    return shown[begun.start() if begun else same :]


def test_a_call_and_its_result_are_shown(named: tuple[str, str]) -> None:
    behind = answer(named[0])
    assert behind.index("get_weather") < behind.index("Paris 🙂") < behind.index("rain")


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_template_writes_for_a_call_is_read_as_that_call(
    serving: Serving, named: tuple[str, str], stream: bool
) -> None:
    template, _ = named
    text = ENDS.split(answer(template))[0].strip()
    if prompt(template, ASKED).rstrip().endswith("<think>"):  # the model has to end its reasoning first
        text = f"It rains.\n</think>\n\n{text}"
    client = client_of(serving(templated(template, text)))
    messages: Any = [ASKED]
    tools: Any = [WEATHER, ADD]
    options: dict[str, Any] = {"model": "scripted", "messages": messages, "tools": tools, "max_tokens": 200, "seed": 1}
    if stream:
        deltas = [c.choices[0].delta for c in client.chat.completions.create(stream=True, **options) if c.choices]
        calls = [call for delta in deltas for call in delta.tool_calls or []]
        name = "".join(call.function.name or "" for call in calls)
        arguments = "".join(call.function.arguments or "" for call in calls)
        content = "".join(delta.content or "" for delta in deltas)
    else:
        message = client.chat.completions.create(**options).choices[0].message
        (call,) = message.tool_calls
        name, arguments, content = call.function.name, call.function.arguments, message.content or ""
    assert (name, json.loads(arguments), content) == ("get_weather", ARGUMENTS, "")
