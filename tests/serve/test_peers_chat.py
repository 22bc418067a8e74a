"""Facts that the server tests of llama.cpp (tools/server/tests) and vLLM (tests/entrypoints/openai) check of OpenAI's
chat API, on a real model. docs/serving.md lists what of them does not apply."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from entropix.serve.process import Background
from helpers.clients import client_of

MESSAGES: list[Any] = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is 1+1?"},
]


@pytest.fixture
def client(real_server: Background) -> openai.OpenAI:
    return client_of(real_server)


def ask(client: openai.OpenAI, **options: Any) -> Any:
    asked = {"model": "smollm2", "messages": MESSAGES, "max_completion_tokens": 5, "temperature": 0.0, **options}
    return client.chat.completions.create(**asked)


def test_an_answer_has_an_id_a_fingerprint_one_choice_and_a_usage_that_adds_up(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert "cmpl" in answer.id
    assert answer.system_fingerprint
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0


def test_text_parts_are_the_text_they_join_to(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "1+1?"}]
    in_parts = ask(client, messages=[MESSAGES[0], {"role": "user", "content": parts}])
    assert in_parts.usage.prompt_tokens == ask(client).usage.prompt_tokens
    assert in_parts.choices[0].message.content == ask(client).choices[0].message.content


def test_a_stream_has_one_id_the_role_first_and_one_finish_reason_last(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    assert len({c.id for c in chunks}) == 1
    assert [c.choices[0].delta.role for c in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == ask(client).choices[0].message.content


def test_the_chunk_with_the_finish_reason_has_no_text_as_openais_own(client: openai.OpenAI) -> None:
    last = list(ask(client, stream=True))[-1].choices[0]
    assert last.finish_reason == "length"
    assert last.delta.content is None


@pytest.mark.parametrize("stream", [False, True])
def test_token_texts_join_to_the_answer(client: openai.OpenAI, stream: bool) -> None:
    answer = ask(client, logprobs=True, top_logprobs=10, stream=stream)
    chunks = list(answer) if stream else [answer]
    tokens = [t for c in chunks if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    text = "".join((c.choices[0].delta if stream else c.choices[0].message).content or "" for c in chunks)
    assert "".join(t.token for t in tokens) == text
    assert all(t.logprob <= 0 and t.bytes is not None and len(t.top_logprobs) == 10 for t in tokens)


@pytest.mark.parametrize(("asked", "shown"), [(0, 0), (5, 5), (20, 20)])
def test_as_many_leading_tokens_as_asked(client: openai.OpenAI, asked: int, shown: int) -> None:
    content = ask(client, logprobs=True, top_logprobs=asked).choices[0].logprobs.content
    assert {len(token.top_logprobs) for token in content} == {shown}


def test_without_logprobs_there_are_none(client: openai.OpenAI) -> None:
    assert ask(client, logprobs=False).choices[0].logprobs is None


@pytest.mark.parametrize("stream", [False, True])
def test_too_many_logprobs_are_refused_and_the_server_works_on(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError):
        list(ask(client, logprobs=True, top_logprobs=21, stream=stream))
    assert ask(client).choices


def test_usage_comes_last_and_alone_in_a_stream_only_if_asked(client: openai.OpenAI) -> None:
    assert all(c.usage is None for c in ask(client, stream=True, stream_options={"include_usage": False}))
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert [bool(c.usage) for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


@pytest.mark.parametrize("options", [{"include_usage": None}, {"include_usage": True}])
def test_stream_options_need_a_stream(client: openai.OpenAI, options: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(client, stream=False, stream_options=options)


def test_several_turns_go_on(client: openai.OpenAI) -> None:
    said = ask(client).choices[0].message
    answer = ask(client, messages=[*MESSAGES, said, {"role": "user", "content": "Express it as JSON."}])
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    "messages",
    [None, "string", [123], [{}], [{"role": 123}], [{"role": "system", "content": 123}], [*MESSAGES, {}], []],
    ids=str,
)
def test_messages_that_are_none_are_refused(real_server: Background, messages: Any) -> None:
    answer = httpx.post(f"{real_server.url}/v1/chat/completions", json={"model": "smollm2", "messages": messages})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("form", [{"type": "sound"}, {"type": "json_schema"}, {"type": "json_object", "schema": 123}])
def test_response_formats_that_are_none_are_refused(client: openai.OpenAI, form: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(client, response_format=form)


def test_a_json_schema_is_kept(client: openai.OpenAI) -> None:
    schema = {"name": "x", "schema": {"const": "foooooo"}}
    answer = ask(client, response_format={"type": "json_schema", "json_schema": schema}, max_completion_tokens=10)
    assert json.loads(answer.choices[0].message.content) == "foooooo"


def test_logit_bias_forbids_and_forces_tokens(client: openai.OpenAI, real_server: Background) -> None:
    tokenizer = real_server.server.reader.model.tokenizer
    (token,) = tokenizer.encode(" river")
    assert ask(client, logit_bias={str(token): 100}).choices[0].message.content == " river" * 5
    first = ask(client, logprobs=True).choices[0].logprobs.content[0]
    (banned,) = tokenizer.encode(first.token)
    again = ask(client, logprobs=True, logit_bias={str(banned): -100}).choices[0].logprobs.content[0]
    assert again.token != first.token


@pytest.mark.parametrize("bias", [{"notatoken": 1}, {"99999999": 1}, {"1": 101}, {"-1": 1}])
def test_a_bias_out_of_range_is_refused(client: openai.OpenAI, bias: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(client, logit_bias=bias)


def test_several_choices_differ_and_are_numbered(client: openai.OpenAI) -> None:
    story = [{"role": "user", "content": "Tell me a story."}]
    choices = ask(client, messages=story, n=3, temperature=1.5, seed=42, max_completion_tokens=20).choices
    assert [c.index for c in choices] == [0, 1, 2]
    assert len({c.message.content for c in choices}) == 3


def test_a_prompt_beyond_the_context_is_refused_with_openais_code(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, messages=[{"role": "user", "content": "word " * 5000}])
    assert refused.value.code == "context_length_exceeded"
