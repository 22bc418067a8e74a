"""A request that asks for what there is not is refused with a 400 that says why, and harms nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from .server import Server
from .traffic import PROMPTS, Ask, ask, one_by_one, running, stream

MISTAKES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"entropix": "entropic"}, ("entropic", "entropix", "greedy")),
    ({"entropix": ""}, ("entropix",)),
    ({"entropix": 5}, ("5",)),
    ({"entropix": ["entropix"]}, ("entropix",)),
    ({"entropix": "entropix:heat=1"}, ("heat", "temperature")),
    ({"entropix": "entropix:temperature"}, ("temperature", "parameter=value")),
    ({"entropix": "entropix:temperature=9"}, ("temperature", "9", "1.5")),
    ({"entropix": "entropix:temperature=nan"}, ("temperature", "1.5")),
    ({"entropix": "entropix", "entropix_temperature": -1}, ("temperature", "-1", "1.5")),
    ({"entropix": "entropix", "entropix_temperature": "hot"}, ("temperature", "hot")),
    ({"entropix": "entropix", "entropix_top_k": 2.5}, ("top_k", "2.5")),
    ({"entropix": "entropix", "entropix_colour": "red"}, ("colour",)),
    ({"entropix": "entropix", "entropix_profile": "mine"}, ("profile",)),
    ({"entropix": "entropix", "entropix_thresholds": 1}, ("thresholds",)),
    ({"entropix": "entropix:vocabulary=1"}, ("vocabulary",)),
    ({"entropix": "entropix", "entropix_candidates": [1, 2]}, ("candidates",)),
    ({"entropix": "entropix:top_p=0.5", "entropix_top_p": 0.5}, ("top_p", "twice")),
    ({"entropix_top_p": 0.5}, ("entropix_top_p", "missing")),
    ({"entropix": "off", "entropix_top_p": 0.5}, ("off", "entropix_top_p")),
    ({"entropix": "entropix", "entropix_inject": "x" * 1001}, ("inject", "1001", "1000")),
    ({"entropix": "entropix:control=sometimes"}, ("control", "sometimes", "random")),
]


@pytest.mark.parametrize(("arguments", "named"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_a_400_that_names_it(server: Server, arguments: dict[str, Any], named: tuple[str, ...]) -> None:
    for chat in (True, False):
        with pytest.raises(openai.BadRequestError) as refused:
            one_by_one(server, [Ask(PROMPTS[0], arguments, chat=chat)])
        message = str(refused.value.message)
        assert all(word in message for word in named), message
        assert "Traceback" not in message


def test_a_stream_is_refused_as_well(server: Server) -> None:
    """vLLM has begun the reply by then, so the refusal is its first event."""
    with pytest.raises(openai.APIError, match="there is no policy 'entropic'"):
        running(server, lambda client: stream(client, Ask(PROMPTS[0], {"entropix": "entropic"})))


def test_arguments_of_others_are_not_ours(server: Server) -> None:
    what = Ask(PROMPTS[0], {"somebody_else": 1, "entropixel": "x"}, tokens=4, more={"temperature": 0})
    plain = Ask(PROMPTS[0], None, tokens=4, more={"temperature": 0})
    assert one_by_one(server, [what]) == one_by_one(server, [plain])


def test_after_all_mistakes_at_once_the_server_answers_and_others_were_not_disturbed(server: Server) -> None:
    good = Ask(PROMPTS[6], {"entropix": "sample"}, more={"seed": 21})
    before = one_by_one(server, [good])

    async def run(client: openai.AsyncOpenAI) -> tuple[list[Any], list[BaseException]]:
        wrong = [ask(client, Ask(PROMPTS[0], arguments)) for arguments, _ in MISTAKES]
        mixed = await asyncio.gather(ask(client, good), *wrong, ask(client, good), return_exceptions=True)
        return [mixed[0], mixed[-1]], mixed[1:-1]

    answers, errors = running(server, run)
    assert answers == [before, before]
    assert all(isinstance(error, openai.BadRequestError) for error in errors)
    assert server.alive()
