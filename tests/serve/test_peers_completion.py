"""Facts that the server tests of llama.cpp and vLLM check of OpenAI's completion API and of the server around it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from entropix.serve.process import Background
from helpers.clients import client_of

PROMPT = "Once upon a time"


@pytest.fixture
def client(real_server: Background) -> openai.OpenAI:
    return client_of(real_server)


def complete(client: openai.OpenAI, **options: Any) -> Any:
    asked = {"model": "smollm2", "prompt": PROMPT, "max_tokens": 5, "temperature": 0.0, **options}
    return client.completions.create(**asked)


def test_a_completion_has_text_a_finish_reason_and_a_usage_that_adds_up(client: openai.OpenAI) -> None:
    answer = complete(client)
    assert answer.id
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


def test_tokens_are_a_prompt_as_the_text_they_stand_for(client: openai.OpenAI, real_server: Background) -> None:
    tokens = real_server.server.reader.model.tokenizer.encode(PROMPT, begin=True)
    assert complete(client, prompt=tokens).choices[0].text == complete(client).choices[0].text
    assert complete(client, prompt=[0, 0, 0, 0, 0]).choices[0].text


@pytest.mark.parametrize(("asked", "shown"), [(0, {1}), (1, {1}), (5, {5})])
def test_logprobs_show_the_taken_token_and_as_many_leading_ones(client: openai.OpenAI, asked: int, shown: Any) -> None:
    logprobs = complete(client, logprobs=asked).choices[0].logprobs
    assert {len(top) for top in logprobs.top_logprobs} == shown
    assert len(logprobs.token_logprobs) == len(logprobs.tokens) == len(logprobs.text_offset) == 5


@pytest.mark.parametrize("as_tokens", [False, True])
def test_an_echo_is_the_prompt_with_its_logprobs_before_the_answer(
    client: openai.OpenAI, real_server: Background, as_tokens: bool
) -> None:
    tokens = real_server.server.reader.model.tokenizer.encode(PROMPT, begin=True)
    found = complete(client, prompt=tokens if as_tokens else PROMPT, echo=True, logprobs=1)
    (only,) = found.choices
    assert PROMPT in only.text
    assert only.text.endswith(complete(client).choices[0].text)
    assert only.logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in only.logprobs.token_logprobs[1:])
    assert len(only.logprobs.tokens) == len(only.logprobs.top_logprobs) == len(tokens) + 5
    assert found.usage.completion_tokens == 5


def test_without_logprobs_there_are_none(client: openai.OpenAI) -> None:
    assert complete(client, logprobs=None).choices[0].logprobs is None


@pytest.mark.parametrize("stream", [False, True])
def test_too_many_logprobs_are_refused_and_the_server_works_on(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError):
        list(complete(client, logprobs=21, stream=stream))
    assert complete(client).choices


def test_a_stream_joins_to_the_whole_and_ends_with_the_finish_reason(client: openai.OpenAI) -> None:
    chunks = list(complete(client, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == complete(client).choices[0].text
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["length"]


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_differ_in_one_stream_too(client: openai.OpenAI, stream: bool) -> None:
    answer = complete(client, n=3, temperature=1.0, seed=42, max_tokens=20, stream=stream)
    texts = ["", "", ""]
    for choice in [c for part in (answer if stream else [answer]) for c in part.choices]:
        texts[choice.index] += choice.text
    assert len(set(texts)) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_several_prompts_are_answered_in_order_as_alone(client: openai.OpenAI, stream: bool) -> None:
    prompts = [PROMPT, "The capital of France is"]
    texts = ["", ""]
    answer = complete(client, prompt=prompts, stream=stream)
    for choice in [c for part in (answer if stream else [answer]) for c in part.choices]:
        texts[choice.index] += choice.text
    assert texts == [complete(client, prompt=prompt).choices[0].text for prompt in prompts]


def test_a_stop_text_is_not_part_of_the_text(client: openai.OpenAI) -> None:
    whole = complete(client, max_tokens=20).choices[0].text
    stop = whole[8:12]
    stopped = complete(client, max_tokens=20, stop=[stop]).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.text == whole[: whole.index(stop)]


def test_the_same_seed_gives_the_same_text_and_another_another(client: openai.OpenAI) -> None:
    texts = [complete(client, temperature=1.0, seed=s, max_tokens=20).choices[0].text for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("prompt", [[], "", [[]], [-1], [10**9], None, ["a", 1]], ids=str)
def test_prompts_that_are_none_are_refused(real_server: Background, prompt: Any) -> None:
    answer = httpx.post(f"{real_server.url}/v1/completions", json={"model": "smollm2", "prompt": prompt})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "change", [{"temperature": -1}, {"temperature": 3}, {"top_p": 1.1}, {"max_tokens": 0}, {"n": 0}, {"stop": [1]}]
)
def test_values_outside_openais_ranges_are_refused(client: openai.OpenAI, change: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        complete(client, **change)


def test_more_requests_than_places_are_all_answered_as_alone(client: openai.OpenAI) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: complete(client).choices[0].text, range(8)))
    assert len(set(texts)) == 1


def test_the_model_is_listed_and_another_is_404(client: openai.OpenAI) -> None:
    assert "smollm2" in [model.id for model in client.models.list()]
    assert client.models.retrieve("smollm2").object == "model"
    with pytest.raises(openai.NotFoundError):
        complete(client, model="another")


def test_health_and_metrics_are_there(real_server: Background) -> None:
    assert httpx.get(f"{real_server.url}/health").json() == {"status": "ok"}
    assert "entropix_tokens_total" in httpx.get(f"{real_server.url}/metrics").text
