"""response_format: what was asked for is what comes, through the official client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

pytest.importorskip("llguidance")

from helpers.clients import MESSAGES

RIVER = {
    "type": "object",
    "properties": {"name": {"enum": ["Rhine", "Nile"]}, "long": {"type": "boolean"}},
    "required": ["name", "long"],
    "additionalProperties": False,
}


def ask(client: openai.OpenAI, response_format: Any, **options: Any) -> Any:
    return client.chat.completions.create(
        **{
            "model": "scripted",
            "messages": MESSAGES,
            "max_tokens": 200,
            "seed": 3,
            "response_format": response_format,
            **options,
        }
    )


def schema(of: dict[str, Any], strict: bool | None = None) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "river", "schema": of, "strict": strict}}


def test_every_choice_keeps_the_schema(client: openai.OpenAI) -> None:
    answer = ask(client, schema(RIVER, strict=True), n=3, extra_body={"entropix": {"policy": "sample:temperature=1"}})
    for choice in answer.choices:
        said = json.loads(choice.message.content)
        assert said["name"] in ("Rhine", "Nile")
        assert isinstance(said["long"], bool)
        assert choice.finish_reason == "stop"


def test_a_stream_and_a_search_keep_the_schema_too(client: openai.OpenAI) -> None:
    chunks = ask(client, schema(RIVER), stream=True, extra_body={"entropix": {"search": "vote:n=3"}})
    assert set(json.loads("".join(c.choices[0].delta.content or "" for c in chunks))) == {"name", "long"}


def test_an_object_that_was_cut_off_is_not_called_whole(client: openai.OpenAI) -> None:
    choice = ask(client, {"type": "json_object"}, max_tokens=3).choices[0]
    assert choice.message.content.lstrip().startswith("{")
    assert choice.finish_reason == "length"


def test_what_a_strict_schema_asks_for_in_vain_is_named_and_otherwise_noted(client: openai.OpenAI) -> None:
    odd = {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3, "uniqueItems": True}
    with pytest.raises(openai.BadRequestError, match=r"response_format: .*uniqueItems") as refused:
        ask(client, schema(odd, strict=True))
    assert refused.value.param == "response_format"
    notes = ask(client, schema(odd)).entropix["choices"][0]["result"]["notes"]
    assert any("uniqueItems" in note for note in notes)


def test_a_schema_that_is_none_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="response_format"):
        ask(client, schema({"type": "nonsense"}))
