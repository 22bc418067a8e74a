"""Log-probabilities as OpenAI documents them: the taken token always among them, nothing of a stop text."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from entropix.engines.scripted import ScriptedEngine, saying
from helpers.clients import client_of


def complete(client: openai.OpenAI, **options: Any) -> Any:
    return client.completions.create(**{"model": "scripted", "prompt": "ab", "seed": 1, "max_tokens": 12, **options})


def joined(answer: Any) -> dict[str, Any]:
    """The log-probabilities of a whole answer or of all chunks of a stream."""
    chunks = list(answer) if isinstance(answer, openai.Stream) else [answer]
    lists: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].logprobs:
            for name, values in lists.items():
                values += getattr(chunk.choices[0].logprobs, name)
    return {**lists, "text": "".join(c.choices[0].text for c in chunks if c.choices)}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_taken_token_is_always_among_the_leading_ones(client: openai.OpenAI, n: int, stream: bool) -> None:
    said = joined(complete(client, logprobs=n, stream=stream, temperature=1.5))
    assert len(said["tokens"]) == len(said["top_logprobs"]) == 12
    outside = 0
    for token, logprob, top in zip(said["tokens"], said["token_logprobs"], said["top_logprobs"], strict=True):
        assert top[token] == logprob
        assert max(n, 1) <= len(top) <= n + 1
        outside += len(top) == n + 1
    assert outside, "no token outside the leading ones was taken, so this shows nothing"


@pytest.mark.parametrize("stream", [False, True])
def test_the_lists_end_before_the_stop_text(serving: Any, stream: bool) -> None:
    client = client_of(serving(ScriptedEngine(saying("one two three", after=b"ab"), sequences=24)))
    greedy = {"extra_body": {"entropix": {"policy": "greedy", "steps": False}}}
    said = joined(complete(client, logprobs=1, stop=" two", max_tokens=30, stream=stream, **greedy))
    assert said["text"] == "".join(said["tokens"]) == "one"
    assert said["text_offset"] == [0, 1, 2]
    talker = client_of(serving(ScriptedEngine(saying("one two three"), sequences=24)))
    chat = talker.chat.completions.create(
        model="scripted",
        messages=[{"role": "user", "content": "ab"}],
        logprobs=True,
        stop=" two",
        max_tokens=30,
        stream=stream,
        **greedy,
    )
    chunks = list(chat) if stream else [chat]
    lists = [c.choices[0].logprobs.content for c in chunks if c.choices[0].logprobs]
    assert [t.token for content in lists for t in content] == ["o", "n", "e"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_that_is_nothing_but_its_stop_text_has_empty_lists(serving: Any, stream: bool) -> None:
    client = client_of(serving(ScriptedEngine(saying("one two", after=b"ab"), sequences=24)))
    body = {"entropix": {"policy": "greedy", "steps": False}}
    said = joined(complete(client, logprobs=2, stop="one", stream=stream, extra_body=body))
    assert said["text"] == ""
    assert said["tokens"] == said["text_offset"] == said["top_logprobs"] == []


@pytest.mark.parametrize("stream", [False, True])
def test_offsets_count_characters_of_the_text_and_a_character_of_several_tokens_once(
    serving: Any, stream: bool
) -> None:
    client = client_of(serving(ScriptedEngine(saying("a😀é!stop", after=b"ab"), sequences=24)))
    body = {"entropix": {"policy": "greedy", "steps": False}}
    said = joined(complete(client, logprobs=0, max_tokens=30, stop="stop", stream=stream, extra_body=body))
    assert said["text"] == "a😀é!"
    assert said["text_offset"] == [0, 1, 1, 1, 1, 2, 2, 3]
    for token, offset in zip(said["tokens"], said["text_offset"], strict=True):
        assert token.startswith("\\x") or said["text"][offset] == token
