"""Texts that a policy puts into answers, on a server whose thresholds call almost every step "clarify"."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from .conftest import GREEDY, key
from .server import Server
from .traffic import PROMPTS, Answer, Ask, one_by_one, running, stream, together

TEXT, WAIT, MOST = "Hmm 🤔 wait.", 6, 2  # of the operator's default policy
OWN = " — 🚀🚀 let me see —"
# under the operator's default a request's seed is safe at temperature 0 only: else vLLM makes a generator of it, and on
# a CPU cannot rewind it when a prompt is computed in pieces, which ends the engine
COLD = {"temperature": 0}


@pytest.fixture(scope="module")
def encode(directory: Path) -> Any:
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    return lambda text: tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def places(tokens: tuple[int, ...], text: tuple[int, ...]) -> list[int]:
    """Where `text` begins in `tokens`."""
    return [i for i in range(len(tokens)) if tokens[i : i + len(text)] == text]


def test_who_says_nothing_gets_the_operators_policy(pressed: Server, encode: Any) -> None:
    text = encode(TEXT)
    for answer in together(pressed, [Ask(prompt, tokens=56, more={**COLD, "seed": 1}) for prompt in PROMPTS]):
        found = places(answer.tokens, text)
        assert 1 <= len(found) <= MOST
        assert found[0] == 0, "the first token is never a sure one"
        assert answer.text.startswith(TEXT)
        assert answer.text.count(TEXT) == len(found)
        assert all(later - earlier >= len(text) + WAIT for earlier, later in itertools.pairwise(found))


def test_off_is_vllms_own_sampling(pressed: Server, stock: dict[str, Answer]) -> None:
    asks = [Ask(what.prompt, {"entropix": "off"}, what.tokens, more=what.more) for what in GREEDY[:3]]
    assert one_by_one(pressed, asks) == [stock[key(what)] for what in GREEDY[:3]]


@pytest.mark.parametrize(("wait", "most"), [(1, 1000), (3, 3), (40, 5)])
def test_cool_down_and_maximum_are_kept(pressed: Server, encode: Any, wait: int, most: int) -> None:
    policy = {"entropix": "entropix", "entropix_inject": OWN, "entropix_inject_cooldown": wait}
    what = Ask(PROMPTS[6], {**policy, "entropix_inject_max": most}, tokens=72, more={**COLD, "seed": 2})
    answer = one_by_one(pressed, [Ask(what.prompt, what.entropix, 72, more={**what.more, **endless()})])[0]
    text = encode(OWN)
    found = places(answer.tokens, text)
    gaps = [later - earlier - len(text) for earlier, later in itertools.pairwise(found)]
    assert all(gap >= wait for gap in gaps), gaps
    expected = min(most, 1 + (72 - len(text)) // (len(text) + wait))
    assert 1 <= len(found) <= expected
    assert len(found) > 1 or expected == 1 or wait == 40
    assert answer.text.count(OWN) == len(found)


@pytest.mark.parametrize("never", [{"entropix_inject": ""}, {"entropix_inject_max": 0}], ids=str)
def test_never_where_the_request_says_so(pressed: Server, never: dict[str, Any]) -> None:
    answer = one_by_one(
        pressed, [Ask(PROMPTS[0], {"entropix": "entropix", **never}, tokens=40, more={**COLD, "seed": 3})]
    )[0]
    assert "..." not in answer.text[:3]
    assert TEXT not in answer.text


def test_never_where_the_answer_follows_a_grammar(pressed: Server) -> None:
    schema = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}, "sure": {"type": "boolean"}}}
    schema |= {"required": ["answer", "sure"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "vote", "schema": schema}}
    regex = {"extra_body": {"structured_outputs": {"regex": "[a-z]{4,12}( [a-z]{2,8}){3}"}}}
    asks = [
        Ask(
            "Do rivers bend? Answer in JSON.",
            {"entropix": "entropix"},
            48,
            more={**COLD, "seed": i, "response_format": form},
        )
        for i in range(3)
    ]
    asks += [Ask(PROMPTS[1], None, 40, more={**COLD, "seed": i, **regex}) for i in range(3)]
    answers = together(pressed, asks)
    for answer in answers[:3]:
        vote = json.loads(answer.text)
        assert vote["answer"] in ("yes", "no")
        assert isinstance(vote["sure"], bool)
    for answer in answers[3:]:
        assert answer.text.replace(" ", "").isalpha()
        assert answer.finish == "stop"


def test_an_answer_may_end_amid_an_injection(pressed: Server, encode: Any) -> None:
    text = encode(TEXT)
    for length in range(1, len(text) + 1):
        answer = one_by_one(pressed, [Ask(PROMPTS[2], tokens=length, more={**COLD, "seed": 4})])[0]
        assert answer.finish == "length"
        assert answer.tokens == text[:length]


def test_stop_strings_and_stop_tokens_in_an_injection_end_the_answer(pressed: Server, encode: Any) -> None:
    stopped = one_by_one(pressed, [Ask(PROMPTS[2], tokens=40, more={"stop": ["wait"], "seed": 5})])[0]
    assert (stopped.text, stopped.finish) == ("Hmm 🤔 ", "stop")
    last = encode(TEXT)[-1]
    by_token = Ask(PROMPTS[2], tokens=40, more={**COLD, "seed": 5, "extra_body": {"stop_token_ids": [last]}})
    answer = one_by_one(pressed, [by_token])[0]
    assert (answer.tokens, answer.finish) == (encode(TEXT), "stop")


def test_least_lengths_and_endless_answers_keep_working(pressed: Server) -> None:
    least = Ask("Say only yes.", tokens=60, more={**COLD, "seed": 6, "extra_body": {"min_tokens": 50}})
    forever = Ask("Say only yes.", tokens=60, more={**COLD, "seed": 6, **endless()})
    short, whole = one_by_one(pressed, [least, forever])
    assert 50 <= len(short.tokens) <= 60
    assert len(whole.tokens) == 60


def test_masks_come_before_an_injection(pressed: Server) -> None:
    """A text whose tokens are forbidden is not put there: a mask is a promise."""
    allowed = list(range(1000, 6000))
    what = Ask(PROMPTS[3], tokens=24, more={**COLD, "seed": 7, "extra_body": {"allowed_token_ids": allowed}})
    answer = one_by_one(pressed, [what])[0]
    assert set(answer.tokens) <= set(allowed)


def test_logprobs_of_an_injection_are_the_models_own(pressed: Server, encode: Any) -> None:
    answer = one_by_one(pressed, [Ask(PROMPTS[4], tokens=24, more={**COLD, "seed": 8, "logprobs": True})])[0]
    assert len(answer.logprobs) == len(answer.tokens)
    assert all(math.isfinite(value) and value <= 0 for value in answer.logprobs)
    assert min(answer.logprobs[: len(encode(TEXT))]) < -5, "the model had not said that"


def test_an_injection_streams_like_any_text(pressed: Server) -> None:
    what = Ask("Which emoji 🐢 do you like? 🎈", tokens=40, more={**COLD, "seed": 9})
    whole = one_by_one(pressed, [what])[0]
    streamed = running(pressed, lambda client: stream(client, what))
    assert (streamed.text, streamed.tokens) == (whole.text, whole.tokens)
    assert TEXT in whole.text


def endless() -> dict[str, Any]:
    return {"extra_body": {"ignore_eos": True}}
