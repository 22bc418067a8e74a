"""Chat and completions, whole and streamed, short and long: one and the same decoding."""

from __future__ import annotations

import openai
import pytest

from .server import Server
from .traffic import PROMPTS, Ask, one_by_one, running, stream, together

LONG = "Here is a list. " + " ".join(f"Item {i} of the list is a {word}." for i, word in enumerate("abc" * 20))


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "completions"])
@pytest.mark.parametrize("policy", ["entropix", "sample:temperature=1.2", "greedy"])
def test_a_stream_says_what_the_whole_answer_says(server: Server, chat: bool, policy: str) -> None:
    what = Ask("Three emoji 🐢🚀🎈 and what they mean:", {"entropix": policy}, chat=chat, more={"seed": 4})
    whole = one_by_one(server, [what])[0]
    streamed = running(server, lambda client: stream(client, what))
    assert (streamed.text, streamed.tokens, streamed.finish) == (whole.text, whole.tokens, whole.finish)


def test_several_prompts_in_one_completion(server: Server) -> None:
    policy = {"entropix": "sample:temperature=1.1"}
    alone = together(server, [Ask(prompt, policy, chat=False, more={"seed": 6}) for prompt in PROMPTS[:3]])

    async def run(client: openai.AsyncOpenAI) -> list[tuple[int, ...]]:
        body = Ask("", policy, chat=False, more={"seed": 6}).body() | {"prompt": list(PROMPTS[:3])}
        reply = await client.completions.create(**body)
        return [tuple(choice.token_ids) for choice in reply.choices]

    assert running(server, run) == [answer.tokens for answer in alone]


def test_a_profile_that_ships_is_found(server: Server) -> None:
    """By the fingerprint of the unpacked weights: the same as of the GGUF that it was measured on."""
    assert "thresholds of profile" in server.log.read_text()


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "completions"])
def test_a_long_prompt_computed_in_pieces_is_answered_as_in_one(server: Server, pressed: Server, chat: bool) -> None:
    """Several forwards predict nothing that is taken before the first one that does."""
    asks = [
        Ask(LONG[: 500 + 200 * i], {"entropix": policy}, chat=chat, more={"seed": i})
        for i, policy in enumerate(("sample:temperature=1.2", "greedy", "top-n-sigma:temperature=1.3"))
    ]
    assert one_by_one(pressed, asks) == one_by_one(server, asks)


def test_prefix_caching_changes_no_answer(server: Server) -> None:
    what = Ask(LONG, {"entropix": "sample:temperature=1.2"}, more={"seed": 9})
    first = one_by_one(server, [what])
    hits = server.metric("vllm:prefix_cache_hits_total")
    assert one_by_one(server, [what]) == first
    assert server.metric("vllm:prefix_cache_hits_total") > hits


def test_a_stop_string_and_the_end_of_text_end_an_answer(server: Server) -> None:
    policy = {"entropix": "greedy"}
    stopped = one_by_one(server, [Ask(PROMPTS[0], policy, tokens=64, more={"stop": [" a "]})])[0]
    assert stopped.finish == "stop"
    assert " a " not in stopped.text
    short = Ask("Say only the word yes.", policy, tokens=60)
    ended = one_by_one(server, [short])[0]
    assert ended.finish == "stop"
    goes_on = Ask(short.prompt, policy, tokens=60, more={"extra_body": {"ignore_eos": True}})
    assert len(one_by_one(server, [goes_on])[0].tokens) == 60
