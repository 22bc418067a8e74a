"""`entropix.prefix`: an answer that begins with given tokens, such as those of another up to a place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.serve.process import Background
from helpers.clients import client_of

Serving = Callable[..., Background]


def ask(client: openai.OpenAI, **ours: Any) -> Any:
    return client.chat.completions.create(
        model="scripted",
        messages=[{"role": "user", "content": "Hello?"}],
        seed=3,
        max_tokens=ours.pop("tokens", 20),
        stream=ours.pop("stream", False),
        extra_body={"entropix": {"steps": True, **ours}},
    )


def steps_of(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.entropix["choices"][0]["steps"]
    return found


def test_an_answer_goes_on_from_the_tokens_of_another_as_that_one_did(client: openai.OpenAI) -> None:
    whole = steps_of(ask(client))
    rest = steps_of(ask(client, prefix=[step["token"] for step in whole[:8]], tokens=12))
    for old, new in zip(whole[8:], rest, strict=True):
        for name in ("token", "position", "entropy", "regime", "drawn"):
            assert new[name] == old[name], name
    assert [step["index"] for step in rest] == list(range(12)), "the answer is what follows"


def test_another_token_in_the_last_place_leads_elsewhere(client: openai.OpenAI) -> None:
    whole = steps_of(ask(client))
    other = next(c[0] for c in whole[7]["leading"] if c[0] != whole[7]["token"])
    rest = steps_of(ask(client, prefix=[*(step["token"] for step in whole[:7]), other], tokens=12))
    assert [step["token"] for step in rest] != [step["token"] for step in whole[8:]]
    assert rest[0]["position"] == whole[8]["position"]


def test_a_character_that_the_prefix_begins_is_whole_in_the_answer(serving: Serving) -> None:
    bytes_of = list("né 😀".encode())
    client = client_of(serving(ScriptedEngine(saying("né 😀!", certainty=30), sequences=24)))
    answer = ask(client, prefix=bytes_of[:6])
    assert answer.choices[0].message.content == "😀!"
    assert answer.entropix["choices"][0]["prefix"] == "né "
    first = next(iter(ask(client, prefix=bytes_of[:6], stream=True)))
    assert first.entropix == {"prefix": "né "}


def test_a_prefix_that_ends_in_half_a_character_and_nothing_more_is_no_failure(serving: Serving) -> None:
    client = client_of(serving(ScriptedEngine(saying("😀", certainty=30), sequences=24)))
    answer = ask(client, prefix=list("😀".encode()[:2]), tokens=1)
    assert len(steps_of(answer)) == 1


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ([10_000], "entropix.prefix: 10000 is no token; this model's are 0 … "),
        ([104, 257], "entropix.prefix: token 257 ends an answer, so nothing goes on from it"),
        ([1] * 5000, "the prompt has 50"),
    ],
)
def test_a_prefix_that_nothing_can_follow_is_refused(serving: Serving, prefix: list[int], said: str) -> None:
    server = serving(ScriptedEngine(hashed(3.0), sequences=24))
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client_of(server), prefix=prefix)
    assert said in str(refused.value)


def test_a_prefix_under_a_format_is_refused(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    server = serving(ScriptedEngine(hashed(3.0), sequences=24))
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "Hello?"}],
        "response_format": {"type": "json_object"},
        "entropix": {"prefix": [123]},
    }
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "with response_format or tools an answer cannot begin with given tokens" in answer.json()["error"]["message"]
