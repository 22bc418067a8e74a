"""Earlier turns are computed once, within bounds, and give way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from entropix.serve.prefixes import Prefixes
from entropix.serve.process import Background
from helpers.engines import Slow

Serving = Callable[..., Background]
SYSTEM = {"role": "system", "content": "You are a test. " * 20}


def ask(server: Background, messages: list[dict[str, str]], **options: Any) -> dict[str, Any]:
    body = {"model": "scripted", "messages": messages, "seed": 1, "max_tokens": 20, **options}
    answer: dict[str, Any] = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30).json()
    return answer


def alone(messages: list[dict[str, str]]) -> str:
    text: str = Model(ScriptedEngine(hashed(3.0))).generate([messages], seed=1, max_tokens=20)[0].text
    return text


def test_a_system_prompt_and_earlier_turns_are_computed_once_and_change_no_text(serving: Serving) -> None:
    engine = ScriptedEngine(hashed(3.0), sequences=24)
    server = serving(engine)
    first = [SYSTEM, {"role": "user", "content": "one"}]
    other = [SYSTEM, {"role": "user", "content": "two"}]
    assert ask(server, first)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    before = engine.forwarded
    answer = ask(server, other)
    cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= len(SYSTEM["content"])
    assert engine.forwarded - before == answer["usage"]["prompt_tokens"] - cached + 19
    assert answer["choices"][0]["message"]["content"] == alone(other)


def test_the_choices_of_a_request_compute_its_prompt_once(serving: Serving) -> None:
    engine = Slow(pause=0)
    server = serving(engine)
    answer = ask(server, [SYSTEM, {"role": "user", "content": "one"}], n=8)
    prompt = answer["usage"]["prompt_tokens"]
    assert engine.forwarded == prompt + 7 + 8 * 19
    assert {c["result"]["ledger"]["shared"] for c in answer["entropix"]["choices"][1:]} == {prompt - 1}


def test_what_is_kept_is_bounded_and_the_oldest_gives_way() -> None:
    engine = ScriptedEngine()
    kept = Prefixes(engine, most=2, cells=25)
    sequences = []
    for n in range(3):
        sequence = engine.open([n, 9])
        engine.forward([(sequence, [n, *range(9)])])
        sequences.append(sequence)
        kept.keep(sequence)
    assert engine.live == sequences[1:]
    assert kept.used == 20
    longer = engine.open([2, *range(9), 7, 7])
    engine.forward([(longer, [7, 7])])
    kept.keep(longer)
    assert engine.live == [sequences[1], longer], "what the new one begins with is kept in it"
    big = engine.open([5])
    engine.forward([(big, list(range(26)))])
    kept.keep(big)
    assert engine.live == [big], "the newest stays however long it is"
    kept.clear()
    assert not engine.live


@pytest.mark.parametrize(("most", "cells"), [(0, 100), (2, 0)])
def test_nothing_is_kept_where_nothing_may_be(most: int, cells: int) -> None:
    engine = ScriptedEngine()
    kept = Prefixes(engine, most, cells)
    sequence = engine.open([1, 2])
    engine.forward([(sequence, [1, 2])])
    kept.keep(sequence)
    assert not engine.live


@pytest.mark.parametrize("options", [{"sequences": 3}, {"cells": 400, "context": 400}])
def test_kept_prefixes_give_way_when_there_is_no_room(serving: Serving, options: dict[str, int]) -> None:
    server = serving(ScriptedEngine(hashed(3.0), **options), places=2, kept=1, kept_cells=400)
    for word in ("one", "two", "three"):
        messages = [{"role": "user", "content": f"{word} " * 30}]
        assert ask(server, messages)["choices"][0]["message"]["content"] == alone(messages)
        assert len(server.server.scheduler.prefixes) == 1
    answers = ask(server, [{"role": "user", "content": "four " * 30}], n=4)
    assert len(answers["choices"]) == 4


def test_a_server_that_keeps_nothing_holds_nothing(serving: Serving) -> None:
    engine = ScriptedEngine(hashed(3.0), sequences=8)
    ask(serving(engine, kept=0), [SYSTEM])
    assert engine.cells_used() == 0
