"""D23: a model that computes NaN or infinite logits fails the answer it does so in, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropix import Model
from entropix.decoding import Decoder, Job, Request
from entropix.engines.scripted import VOCABULARY, Script, ScriptedEngine, hashed
from entropix.errors import ModelError
from entropix.policies import make_policy
from entropix.profiles import calibrate
from entropix.types import Array, Thresholds

WORKS = hashed(3.0)
BAD = b"BAD"


def one_nan(logits: Array) -> None:
    logits[7] = np.nan


def all_nan(logits: Array) -> None:
    logits[:] = np.nan


def infinite(logits: Array) -> None:
    logits[7] = np.inf


def nothing(logits: Array) -> None:
    logits[:] = -np.inf


KINDS = pytest.mark.parametrize("spoil", [one_nan, all_nan, infinite, nothing])


def spoiled(spoil: Any, after: int = 0) -> Script:
    """Logits that are no numbers once `after` tokens follow a prompt with BAD in it."""

    def script(tokens: tuple[int, ...]) -> Array:
        logits = WORKS(tokens)
        at = bytes(t if t < 256 else 0 for t in tokens).find(BAD)
        if at >= 0 and len(tokens) >= at + len(BAD) + after:
            spoil(logits)
        return logits

    return script


def request(text: bytes, policy: str = "sample", **options: Any) -> Request:
    made = make_policy(policy, Thresholds(0.3, 2.0, 0.25, 1.5), VOCABULARY)
    return Request(tokens=list(text), policy=made, max_tokens=10, **options)


def run(decoder: Decoder, requests: list[Request]) -> list[Job]:
    jobs = [decoder.submit(r, n) for n, r in enumerate(requests)]
    while decoder.busy:
        decoder.step()
    return jobs


@KINDS
@pytest.mark.parametrize("policy", ["sample", "entropix", "top-n-sigma", "entropix-2024"])
def test_only_the_answer_with_the_broken_row_fails(spoil: Any, policy: str) -> None:
    texts = [b"one", b"BAD two", b"three"]
    engine = ScriptedEngine(spoiled(spoil, after=7))
    jobs = run(Decoder(engine, isolate=True), [request(t, policy, seed=n) for n, t in enumerate(texts)])
    alone = [run(Decoder(ScriptedEngine(WORKS)), [request(t, policy, seed=n)])[0].tokens for n, t in enumerate(texts)]
    assert [job.finish_reason for job in jobs] == ["length", "error", "length"]
    assert [job.tokens for job in jobs] == [alone[0], alone[1][:3], alone[2]]
    assert isinstance(jobs[1].error, ModelError)
    assert not engine.live


@KINDS
def test_a_branch_of_a_search_that_breaks_fails_its_own_answer_only(spoil: Any) -> None:
    from entropix.search import make_search

    engine = ScriptedEngine(spoiled(spoil, after=4))
    plan = make_search("vote:n=3,answer=text,stop=none")
    jobs = run(Decoder(engine, isolate=True), [request(b"BAD", search=plan), request(b"good", search=plan)])
    assert [job.finish_reason for job in jobs] == ["error", "length"]
    assert not engine.live


def test_where_answers_are_not_isolated_the_step_raises_and_changes_nothing() -> None:
    engine = ScriptedEngine(spoiled(all_nan, after=2))
    decoder = Decoder(engine)
    jobs = [decoder.submit(request(text)) for text in (b"BAD", b"good")]
    decoder.step()
    decoder.step()
    for _ in range(2):
        with pytest.raises(ModelError, match="NaN or infinite"):
            decoder.step()
        assert [len(job.tokens) for job in jobs] == [2, 2]
    decoder.close()
    assert not engine.live


def test_a_single_prompt_raises_and_its_stream_keeps_what_was_said() -> None:
    model = Model(ScriptedEngine(spoiled(one_nan, after=6)))
    with pytest.raises(ModelError, match="'scripted' computes NaN or infinite logits"):
        model.generate("BAD", raw=True, max_tokens=20)
    stream = model.stream("BAD", raw=True, max_tokens=20)
    with pytest.raises(ModelError):
        list(stream)
    assert (stream.result.finish_reason, len(stream.result.tokens)) == ("error", 6)
    assert "NaN" in stream.result.notes[-1]


def test_of_several_prompts_the_others_are_answered_and_all_failing_raises() -> None:
    model = Model(ScriptedEngine(spoiled(one_nan)))
    good, bad = model.generate(["good", "BAD"], raw=True, max_tokens=5)
    assert (good.finish_reason, bad.finish_reason, bad.tokens) == ("length", "error", ())
    assert "NaN" in bad.notes[-1]
    with pytest.raises(ModelError):
        model.generate(["BAD", "BAD too"], raw=True)


def test_a_chat_goes_on_after_a_turn_that_failed_without_its_cache() -> None:
    engine = ScriptedEngine(spoiled(one_nan, after=8))
    chat = Model(engine).chat(max_tokens=20)
    with pytest.raises(ModelError):
        list(chat.send("BAD"))
    assert not engine.live
    assert [m["role"] for m in chat.messages] == ["user", "assistant"]
    chat.reset()
    stream = chat.send("good")
    list(stream)
    assert stream.result.finish_reason in ("length", "end")


def test_calibrating_a_broken_model_is_refused() -> None:
    with pytest.raises(ModelError, match="NaN"):
        calibrate(ScriptedEngine(spoiled(one_nan)), ["BAD"], tokens=4)
