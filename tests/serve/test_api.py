"""The official OpenAI client works unchanged, and finds ours in `entropix`."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from entropix.search.seeds import derived
from entropix.serve.process import Background
from entropix.serve.settings import Settings
from entropix.version import entropix_version
from helpers.clients import MESSAGES

ALONE = Model(ScriptedEngine(hashed(3.0)))


def alone(**options: Any) -> Any:
    return ALONE.generate("hi", **options)


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "scripted", "messages": MESSAGES, "max_tokens": 12, **options})


def test_an_answer_is_the_librarys_for_the_same_seed_and_usage_counts_its_tokens(client: openai.OpenAI) -> None:
    answer = ask(client, seed=3)
    expected = alone(seed=3, max_tokens=12)
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == len(expected.tokens)
    assert answer.usage.prompt_tokens == expected.prompt_tokens
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.object == "chat.completion"


def test_a_stream_joins_to_the_same_text_and_ends_with_finish_reason_and_result(client: openai.OpenAI) -> None:
    chunks = list(ask(client, seed=3, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == alone(seed=3, max_tokens=12).text
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["length"]
    result = chunks[-1].entropix["result"]
    assert result["seed"] == 3
    assert "text" not in result
    assert all(not hasattr(c, "entropix") for c in chunks[:-1])


def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for(client: openai.OpenAI) -> None:
    chunks = list(ask(client, seed=3, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 12
    assert all(c.usage is None for c in chunks[:-1])


def test_choices_have_derived_seeds_and_the_first_one_the_seed_itself(client: openai.OpenAI) -> None:
    answer = ask(client, seed=3, n=3)
    seeds = [3, derived(3, 1, 0), derived(3, 2, 0)]
    assert [c.message.content for c in answer.choices] == [alone(seed=s, max_tokens=12).text for s in seeds]
    assert [c["result"]["seed"] for c in answer.entropix["choices"]] == seeds
    assert answer.usage.completion_tokens == 36
    assert answer.usage.prompt_tokens == 6


def test_the_chunks_of_several_choices_carry_their_index(client: openai.OpenAI) -> None:
    whole = ask(client, seed=3, n=3)
    texts = ["", "", ""]
    for chunk in ask(client, seed=3, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [c.message.content for c in whole.choices]


def test_steps_come_with_the_chunk_whose_text_they_make(client: openai.OpenAI) -> None:
    steps = []
    for chunk in ask(client, seed=3, stream=True, extra_body={"entropix": {"leading": 2}}):
        told = getattr(chunk, "entropix", {}).get("steps", [])
        steps += told
        if told:
            assert chunk.choices[0].delta.content == "".join(s["text"] for s in told)
    expected = alone(seed=3, max_tokens=12).steps
    assert [s["token"] for s in steps] == [s.token for s in expected]
    assert [s["regime"] for s in steps] == [s.regime.label for s in expected]
    assert [round(s["entropy"], 4) for s in steps] == [round(s.entropy, 4) for s in expected]
    assert {len(s["leading"]) for s in steps} == {2}


def test_steps_stay_away_unless_they_are_asked_for(client: openai.OpenAI) -> None:
    assert "steps" not in ask(client).entropix["choices"][0]
    assert "steps" not in ask(client, extra_body={"entropix": {"steps": False}}).entropix["choices"][0]
    assert len(ask(client, extra_body={"entropix": {}}).entropix["choices"][0]["steps"]) == 12


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_the_models_own_with_as_many_alternatives_as_asked(
    client: openai.OpenAI, stream: bool
) -> None:
    answer = ask(client, seed=3, logprobs=True, top_logprobs=3, stream=stream)
    content = (
        [t for chunk in answer for t in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])]
        if stream
        else answer.choices[0].logprobs.content
    )
    expected = alone(seed=3, max_tokens=12).steps
    assert [t.logprob for t in content] == pytest.approx([s.logprob for s in expected], abs=1e-4)
    assert [t.bytes for t in content] == [[s.token] for s in expected]
    assert {len(t.top_logprobs) for t in content} == {3}
    for token in content:
        assert [t.logprob for t in token.top_logprobs] == sorted((t.logprob for t in token.top_logprobs), reverse=True)


def test_completions_continue_plain_text_and_several_prompts_at_once(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="scripted", prompt=["ab", "cd"], seed=1, max_tokens=8, n=2, logprobs=2)
    expected = [ALONE.generate(p, raw=True, seed=s, max_tokens=8) for p in ("ab", "cd") for s in (1, derived(1, 1, 0))]
    assert [c.text for c in answer.choices] == [r.text for r in expected]
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert answer.usage.prompt_tokens == expected[0].prompt_tokens + expected[2].prompt_tokens
    assert answer.choices[0].logprobs.token_logprobs == pytest.approx([s.logprob for s in expected[0].steps], abs=1e-4)
    assert {len(t) for t in answer.choices[0].logprobs.top_logprobs} <= {2, 3}


def test_a_prompt_may_be_tokens_and_a_stream_of_completions_joins_to_the_whole(client: openai.OpenAI) -> None:
    text = ALONE.tokenizer.encode("ab", begin=True)
    whole = client.completions.create(model="scripted", prompt="ab", seed=1, max_tokens=8)
    tokens = client.completions.create(model="scripted", prompt=text, seed=1, max_tokens=8)
    stream = client.completions.create(model="scripted", prompt=[text], seed=1, max_tokens=8, stream=True)
    assert whole.choices[0].text == tokens.choices[0].text == "".join(c.choices[0].text for c in stream)


def test_sixteen_tokens_are_a_completion_that_states_no_number(client: openai.OpenAI) -> None:
    assert client.completions.create(model="scripted", prompt="ab", seed=1).usage.completion_tokens == 16


def test_temperature_and_top_p_set_the_policys_base(client: openai.OpenAI) -> None:
    answer = ask(client, seed=3, temperature=1.2, top_p=0.5)
    assert answer.choices[0].message.content == alone(seed=3, max_tokens=12, temperature=1.2, top_p=0.5).text


def test_temperature_0_is_greedy(client: openai.OpenAI) -> None:
    answer = ask(client, temperature=0)
    assert answer.choices[0].message.content == alone(policy="greedy", max_tokens=12).text
    assert answer.entropix["choices"][0]["result"]["policy"] == "greedy"


def test_the_entropix_object_chooses_policy_and_parameters_before_temperature(client: openai.OpenAI) -> None:
    extra = {"entropix": {"policy": "sample:top_k=5", "parameters": {"temperature": 0.3}}}
    answer = ask(client, seed=3, temperature=1.2, extra_body=extra)
    expected = alone(seed=3, max_tokens=12, policy="sample:top_k=5,temperature=0.3")
    assert answer.choices[0].message.content == expected.text


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"top_k": 3}, {"filters": "top_k=3"}),
        ({"min_p": 0.2}, {"filters": "min_p=0.2"}),
        ({"typical_p": 0.5}, {"filters": "typical=0.5"}),
        ({"top_h": 0.4}, {"filters": "top_h=0.4"}),
        (
            {"xtc_probability": 0.9, "xtc_threshold": 0.05},
            {"filters": "xtc_probability=0.9,xtc_threshold=0.05"},
        ),
        (
            {"adaptive_target": 0.2, "adaptive_decay": 0.5},
            {"filters": "adaptive_target=0.2,adaptive_decay=0.5"},
        ),
        ({"presence_penalty": 2.0}, {"repetition": "presence=2"}),
        ({"frequency_penalty": 1.5}, {"repetition": "frequency=1.5"}),
        ({"repetition_penalty": 1.5}, {"repetition": "repetition=1.5"}),
        ({"repeat_penalty": 1.5, "repeat_last_n": 4}, {"repetition": "repetition=1.5,last=4"}),
        (
            {"dry_multiplier": 2.0, "dry_base": 1.5, "dry_allowed_length": 0},
            {"repetition": "dry_multiplier=2,dry_base=1.5,dry_allowed_length=0"},
        ),
    ],
    ids=lambda value: "",
)
def test_filters_and_penalties_are_the_librarys(client: openai.OpenAI, fields: Any, options: Any) -> None:
    usual: dict[str, Any] = {"policy": "sample:temperature=1", "seed": 5, "max_tokens": 40}
    ours = {"entropix": {"policy": usual["policy"], "steps": False}, **fields}
    found = ask(client, seed=5, max_tokens=40, extra_body=ours).choices[0].message.content
    assert found == alone(**usual, **options).text
    assert found != alone(**usual).text


def test_what_a_policy_does_not_have_changes_nothing_and_is_said(client: openai.OpenAI) -> None:
    answer = ask(client, seed=3, temperature=1.2, extra_body={"entropix": {"policy": "dynatemp"}})
    assert answer.choices[0].message.content == alone(seed=3, max_tokens=12, policy="dynatemp").text
    assert any("temperature" in note for note in answer.entropix["choices"][0]["result"]["notes"])


def test_a_search_answers_as_in_the_library_and_is_told(client: openai.OpenAI) -> None:
    spec = "vote:n=3,answer=text"
    answer = ask(client, seed=3, extra_body={"entropix": {"search": spec, "steps": False}})
    expected = alone(seed=3, max_tokens=12, search=spec)
    result = answer.entropix["choices"][0]["result"]
    assert answer.choices[0].message.content == expected.text
    assert len(result["search"]["branches"]) == 3
    ledger = result["ledger"]
    assert ledger["forwarded"] + ledger["shared"] == expected.ledger.forwarded
    assert answer.usage.completion_tokens == len(expected.tokens) < ledger["forwarded"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_branches_of_a_search_have_steps_only_where_steps_are_asked_for(
    client: openai.OpenAI, stream: bool
) -> None:
    for steps in (False, True):
        extra = {"entropix": {"search": "vote:n=3,answer=text", "steps": steps}}
        answer = ask(client, seed=3, stream=stream, extra_body=extra)
        result = list(answer)[-1].entropix["result"] if stream else answer.entropix["choices"][0]["result"]
        branches = result["search"]["branches"]
        assert [bool(branch["steps"]) for branch in branches] == [steps] * 3
        assert all(branch["text"] for branch in branches)


def test_stop_ends_an_answer_before_the_text(client: openai.OpenAI) -> None:
    text = alone(seed=3, max_tokens=12, policy="greedy").text
    answer = ask(client, temperature=0, stop=text[4:6])
    assert answer.choices[0].message.content == text[: text.index(text[4:6])]
    assert answer.choices[0].finish_reason == "stop"


def test_a_bias_forbids_a_token(client: openai.OpenAI) -> None:
    first = ask(client, temperature=0, max_tokens=1, extra_body={"entropix": {}}).entropix["choices"][0]["steps"][0]
    banned = ask(
        client, temperature=0, max_tokens=1, logit_bias={str(first["token"]): -100}, extra_body={"entropix": {}}
    )
    assert banned.entropix["choices"][0]["steps"][0]["token"] != first["token"]


def test_content_may_be_parts_and_developer_is_system(client: openai.OpenAI) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}]
    assert ask(client, seed=3, messages=parts).choices[0].message.content == alone(seed=3, max_tokens=12).text
    told = [{"role": "developer", "content": "x"}, *MESSAGES]
    system = [{"role": "system", "content": "x"}, *MESSAGES]
    assert (
        ask(client, seed=3, messages=told).choices[0].message.content
        == ask(client, seed=3, messages=system).choices[0].message.content
    )


def test_fields_that_change_nothing_are_accepted(client: openai.OpenAI) -> None:
    answer = ask(
        client,
        seed=3,
        user="me",
        metadata={"a": "b"},
        frequency_penalty=0,
        presence_penalty=0.0,
        tools=[],
        store=False,
        response_format={"type": "text"},
    )
    assert answer.choices[0].message.content == alone(seed=3, max_tokens=12).text


def test_the_model_is_listed_by_every_name_and_answers_to_each(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["scripted", "alias"]
    assert client.models.retrieve("alias").id == "alias"
    assert ask(client, model="alias", seed=3).choices[0].message.content == alone(seed=3, max_tokens=12).text


def test_many_async_streams_at_once_each_get_their_own_text(server: Background) -> None:
    async def one(client: openai.AsyncOpenAI, seed: int) -> str:
        stream = await client.chat.completions.create(
            model="scripted", messages=MESSAGES, seed=seed, max_tokens=10, stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(one(client, seed) for seed in range(24)))

    assert asyncio.run(all_of_them()) == [alone(seed=s, max_tokens=10).text for s in range(24)]


def test_numbers_in_an_answer_are_finite(client: openai.OpenAI) -> None:
    answer = ask(client, logit_bias={"65": -100}, logprobs=True, top_logprobs=20, seed=1)
    assert all(math.isfinite(t.logprob) for c in answer.choices[0].logprobs.content for t in c.top_logprobs)


def test_the_info_states_the_version_which_exported_traces_carry(server: Background) -> None:
    assert httpx.get(f"{server.url}/entropix/info").json()["version"] == entropix_version() != ""


def test_a_reproducible_request_shares_no_kept_prefix(client: openai.OpenAI) -> None:
    def cached(**extension: Any) -> int:
        answer = ask(client, seed=3, extra_body={"entropix": extension})
        return int(answer.usage.prompt_tokens_details.cached_tokens)

    cached()
    assert cached() > 0
    assert cached(reproducible=True) == 0
    assert cached(reproducible=False) > 0


def test_a_servers_default_holds_for_requests_that_do_not_say() -> None:
    settings = Settings(port=0, places=8, reproducible=True)
    with Background(Model(ScriptedEngine(hashed(3.0), sequences=24)), settings) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        cached = []
        for extension in ({}, {}, {"reproducible": False}, {"reproducible": False}):
            answer = ask(client, extra_body={"entropix": extension})
            cached.append(answer.usage.prompt_tokens_details.cached_tokens > 0)
            stated = (answer.model_extra or {})["entropix"]["choices"][0]["result"]["reproducible"]
            assert stated == extension.get("reproducible", True)
        assert cached == [False, False, False, True]
