"""A reproducible request depends on nothing beside itself, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.decoding import Decoder, Job
from entropix.engines.scripted import ScriptedEngine
from entropix.errors import CapabilityError
from entropix.model import Model
from entropix.trace.records import result_from, result_record

RIVER = "Tell me about a river."
LONG = RIVER + " It has many turns." * 104
"""Beyond 512 tokens, from where llama.cpp splits a row's cells among its threads."""


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Iterator[Model]:
    with entropix.load(smollm2, context=1024, cells=4096, threads=2) as model:
        yield model


def submit(decoder: Decoder, model: Model, prompt: str, **options: Any) -> Job:
    asked = {"seed": 3, "max_tokens": 12, "policy": "entropix", "reproducible": True, **options}
    return decoder.submit(model.request(prompt, **asked))


def values(job: Job) -> list[Any]:
    return [(s.token, s.logprob, s.entropy, s.varentropy) for s in job.steps]


def alone(model: Model, prompt: str, **options: Any) -> list[Any]:
    decoder = Decoder(model.engine)
    job = submit(decoder, model, prompt, **options)
    for _ in decoder.run():
        pass
    return values(job)


@pytest.mark.parametrize("prompt", [RIVER, LONG])
def test_values_are_the_same_after_a_kept_prefix_and_beside_others(model: Model, prompt: str) -> None:
    wanted = alone(model, prompt)
    tokens = model.encode(prompt)
    kept = model.engine.open(tokens)
    model.engine.forward([(kept, tokens[len(kept.tokens) :])])
    decoder = Decoder(model.engine)
    for n in (1, 2, 3):
        submit(decoder, model, f"Name {n} rivers.", seed=n, max_tokens=3 * n, reproducible=n == 2)
    job = submit(decoder, model, prompt)
    for _ in decoder.run():
        pass
    model.engine.close(kept)
    assert values(job) == wanted
    assert job.ledger.shared == 0


def test_values_are_the_same_when_a_sequence_is_computed_again(model: Model) -> None:
    wanted = alone(model, RIVER)
    decoder = Decoder(model.engine)
    job = submit(decoder, model, RIVER)
    for _ in range(6):
        decoder.step()
    decoder.park(job, keep=False)
    decoder.unpark(job)
    for _ in decoder.run():
        pass
    assert values(job) == wanted


def test_forks_of_a_search_are_the_same_beside_others(model: Model) -> None:
    options = {"search": "tree:max_sequences=3", "policy": "sample", "max_tokens": 10}
    wanted = alone(model, RIVER, **options)
    decoder = Decoder(model.engine)
    submit(decoder, model, "Name a river.", reproducible=False)
    job = submit(decoder, model, RIVER, **options)
    for _ in decoder.run():
        pass
    assert values(job) == wanted


def test_more_than_fit_wait_for_their_turn(model: Model) -> None:
    most = model.engine.capabilities.reproducible
    assert most == 4
    answers = model.generate([RIVER] * (most + 2), seed=1, max_tokens=3, reproducible=True)
    assert len({answer.text for answer in answers}) == 1
    assert {answer.finish_reason for answer in answers} == {"length"}


def test_nothing_is_kept_of_it(model: Model) -> None:
    decoder = Decoder(model.engine)
    job = submit(decoder, model, RIVER, keep=True)
    for _ in decoder.run():
        pass
    assert job.sequence is None


def test_a_search_that_wants_more_sequences_than_can_be_reproducible_is_refused(model: Model) -> None:
    with pytest.raises(CapabilityError, match="wants 8 sequences at a time, and 4 of them can be reproducible"):
        model.generate(RIVER, search="tree:max_sequences=8", reproducible=True)


def test_an_engine_that_cannot_is_refused_with_the_reason() -> None:
    engine = ScriptedEngine()
    engine.capabilities = type(engine.capabilities)(True, True, True, 16, 4096, 4096)
    with pytest.raises(CapabilityError, match="rounds by how many rows it computes at a time"):
        Model(engine).generate("Hi", reproducible=True)


def test_results_and_their_records_say_whether_they_are_reproducible(model: Model) -> None:
    result, usual = (model.generate(RIVER, seed=3, max_tokens=2, reproducible=asked) for asked in (True, False))
    assert (result.reproducible, usual.reproducible) == (True, False)
    assert (result_record(result)["reproducible"], result_record(usual)["reproducible"]) == (True, False)
    assert result_from(result_record(result), {}, result.steps).reproducible
    assert not result_from({**result_record(usual), "reproducible": None}, {}, usual.steps).reproducible
