"""The decoding loop on the scripted engine: endings, injection, joining and leaving, cancelling, capacity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.decoding import Decoder, Job, Request
from entropix.engines.scripted import END, USER, ScriptedEngine, hashed, saying
from entropix.errors import CapabilityError, CapacityError, ParameterError, PromptError
from entropix.policies import Greedy, Policy, make_policy, sampled
from entropix.search import make_search
from entropix.types import Action, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5, {"entropy": (0.5, 0.1), "agreement": (0.5, 0.1)})


def policy(spec: str = "greedy", **values: Any) -> Policy:
    return make_policy(spec, THRESHOLDS, 260, **values)


def decode(engine: ScriptedEngine, *requests: Request) -> list[Job]:
    decoder = Decoder(engine)
    jobs = [decoder.submit(r, n) for n, r in enumerate(requests)]
    for _ in decoder.run():
        pass
    assert not engine.live, "a sequence leaked"
    return jobs


def request(spec: str = "greedy", tokens: Any = (72, 105), **values: Any) -> Request:
    return Request(tokens=tokens, policy=policy(spec), **values)


def says(text: str, **values: Any) -> ScriptedEngine:
    return ScriptedEngine(saying(text, after=b"Hi"), **values)


def test_an_answer_ends_with_the_model_s_end_token() -> None:
    engine = says("Grüße 🙂")
    (job,) = decode(engine, request())
    assert (job.stream.text, job.finish_reason) == ("Grüße 🙂", "end")
    assert job.tokens[-1] == END
    assert "".join(s.text for s in job.steps) == "Grüße 🙂"


def test_the_ledger_counts_every_forwarded_token() -> None:
    engine = says("Grüße")
    (job,) = decode(engine, request())
    assert engine.forwarded == job.ledger.forwarded == 2 + len("Grüße".encode())
    assert (job.ledger.prompt, job.ledger.sampled, job.ledger.forwards) == (2, 7, 8)


def test_max_tokens_and_stop_strings_end_an_answer() -> None:
    assert [(j.stream.text, j.finish_reason) for j in decode(says("abcdefgh"), request(max_tokens=3))] == [
        ("abc", "length")
    ]
    job = decode(says("one two three"), request(stop=("wo t", "zzz")))[0]
    assert (job.stream.text, job.finish_reason) == ("one t", "stop")
    job = decode(says("one tw"), request(stop=("wo",)))[0]
    assert (job.stream.text, job.finish_reason) == ("one tw", "end")
    job = decode(says("abc"), request(max_tokens=3, stop=("c",)))[0]
    assert (job.stream.text, job.finish_reason) == ("ab", "stop")


def test_a_full_context_ends_an_answer() -> None:
    (job,) = decode(says("x" * 100, context=20), request())
    assert (len(job.stream.text), job.finish_reason) == (18, "context")
    (job,) = decode(says("x" * 100, context=50, cells=20), request())
    assert (len(job.stream.text), job.finish_reason) == (18, "context")


@pytest.mark.parametrize("tokens", [(), (1,) * 30])
def test_impossible_prompts_are_refused_before_anything_runs(tokens: tuple[int, ...]) -> None:
    engine = ScriptedEngine(context=30)
    with pytest.raises(PromptError):
        Decoder(engine).submit(request(tokens=tokens))
    assert engine.forwards == 0


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ParameterError, match="max_tokens"):
        request(max_tokens=0)
    with pytest.raises(ParameterError, match="stop"):
        request(stop=("a", ""))


def test_a_text_that_a_mask_forbids_is_not_injected() -> None:
    lost = Thresholds(0.01, 0.02, 50.0, 60.0)  # every step is "clarify"
    asks = Request(tokens=(72,), policy=make_policy("entropix:inject=abc", lost, 260), max_tokens=12, ignore_end=True)
    (job,) = decode(ScriptedEngine(hashed(0.5)), asks)
    assert job.stream.text.startswith("abc")
    (job,) = decode(ScriptedEngine(hashed(0.5)), replace(asks, logit_bias={ord("a"): -math.inf}))
    assert ord("a") not in job.tokens
    assert all(step.action == Action.SAMPLE for step in job.steps)


class Looks(Greedy):
    """A policy that cannot do without attention, as it may come from outside."""

    name = "looks"
    needs = frozenset({"attention"})


def test_a_policy_that_needs_what_the_host_does_not_show_is_refused_by_both_names() -> None:
    wanted = Request(tokens=(72,), policy=Looks(thresholds=THRESHOLDS), max_tokens=2)
    with pytest.raises(CapabilityError, match="policy 'looks' needs attention, and the engine of 'scripted'"):
        Decoder(ScriptedEngine(attention=False)).submit(wanted)
    with pytest.raises(CapabilityError, match="policy 'looks' needs attention, and this request"):
        Decoder(ScriptedEngine()).submit(replace(wanted, attention=False))
    (job,) = decode(ScriptedEngine(), wanted)
    assert job.steps[0].attention is not None


@pytest.mark.parametrize("declared", [1, 2, 16])
def test_no_more_candidates_are_drawn_than_a_policy_declares(declared: int) -> None:
    class Draws(Greedy):
        name = "draws"
        max_candidates = declared

        def decide(self, signals: Any, regime: Any, state: Any) -> Any:
            return sampled(regime, like=signals.entropy, temperature=1.0, candidates=3), state

    (job,) = decode(ScriptedEngine(), Request(tokens=(72,), policy=Draws(thresholds=THRESHOLDS), max_tokens=4))
    assert {step.candidates for step in job.steps} == {min(declared, 3)}


def test_attention_is_insisted_on_or_done_without() -> None:
    engine = ScriptedEngine(attention=False)
    with pytest.raises(CapabilityError, match="attention"):
        Decoder(engine).submit(request("entropix", attention=True))
    (job,) = decode(engine, request("entropix", max_tokens=3))
    assert any("attention" in note for note in job.notes)
    assert job.steps[0].attention is None
    (job,) = decode(ScriptedEngine(), request("entropix", max_tokens=3))
    assert job.steps[0].attention is not None
    (job,) = decode(ScriptedEngine(), request("entropix", max_tokens=3, attention=False))
    assert job.steps[0].attention is None


def mixed(seed: int = 5, **values: Any) -> list[Request]:
    specs = [
        "entropix",
        "sample:temperature=1.2",
        "entropix-2024",
        "greedy",
        "dynatemp",
        "edt",
        "top-n-sigma",
        "mirostat",
    ]
    return [
        request(spec, tokens=tuple(range(60 + n, 64 + 2 * n)), seed=seed, max_tokens=12 + n, **values)
        for n, spec in enumerate(specs)
    ]


def test_the_same_seed_gives_the_same_text_alone_and_in_any_batch() -> None:
    alone = [decode(ScriptedEngine(hashed(2.0)), r)[0] for r in mixed()]
    together = decode(ScriptedEngine(hashed(2.0)), *mixed())
    crowded = decode(ScriptedEngine(hashed(2.0), sequences=3), *reversed(mixed()))
    for a, b, c in zip(alone, together, reversed(crowded), strict=True):
        assert a.tokens == b.tokens == c.tokens
        assert [s.regime for s in a.steps] == [s.regime for s in b.steps]
    other = decode(ScriptedEngine(hashed(2.0)), *mixed(seed=6))
    assert any(a.tokens != b.tokens for a, b in zip(alone, other, strict=True))


def test_too_few_cells_make_sequences_wait_and_change_no_text() -> None:
    wanted = decode(ScriptedEngine(hashed(2.0)), *mixed())
    engine = ScriptedEngine(hashed(2.0), cells=60)
    got = decode(engine, *mixed())
    assert [j.tokens for j in got] == [j.tokens for j in wanted]
    assert sum(j.ledger.recomputed for j in got) > 0, "nothing had to make room, so this tests nothing"
    assert engine.forwarded == sum(j.ledger.forwarded for j in got)


def test_events_of_an_answer_join_to_its_text_and_end_once() -> None:
    decoder = Decoder(ScriptedEngine(hashed(1.0)))
    jobs = [decoder.submit(r, n) for n, r in enumerate(mixed(stop=("e",)))]
    texts = {id(j): "" for j in jobs}
    ends: list[Job] = []
    for event in decoder.run():
        if event.step is None:
            ends.append(event.job)
        else:
            assert event.job not in ends
            texts[id(event.job)] += event.step.text
    assert sorted(map(id, ends)) == sorted(texts)
    for job in jobs:
        assert texts[id(job)] == job.stream.text


def test_joining_a_running_batch_changes_nobody() -> None:
    wanted = decode(ScriptedEngine(hashed(2.0)), *mixed())
    engine = ScriptedEngine(hashed(2.0))
    decoder = Decoder(engine)
    jobs: list[Job] = []
    for r in mixed():
        jobs.append(decoder.submit(r))
        decoder.step()
        decoder.step()
    while decoder.busy:
        decoder.step()
    assert [j.tokens for j in jobs] == [j.tokens for j in wanted]
    assert not engine.live


def test_cancelling_one_keeps_its_text_and_touches_no_other() -> None:
    engine = says("abcdefghij")
    decoder = Decoder(engine)
    first, second = decoder.submit(request()), decoder.submit(request())
    for _ in range(4):
        decoder.step()
    decoder.cancel(first)
    assert decoder.cancel(first) == []
    while decoder.busy:
        decoder.step()
    assert (first.stream.text, first.finish_reason) == ("abcd", "cancelled")
    assert (second.stream.text, second.finish_reason) == ("abcdefghij", "end")
    assert not engine.live


def test_leaving_the_iterator_closes_every_sequence() -> None:
    engine = says("abcdefghij", sequences=2)
    decoder = Decoder(engine)
    jobs = [decoder.submit(request()) for _ in range(4)]
    for n, _ in enumerate(decoder.run()):
        if n == 3:
            break
    decoder.close()
    assert not engine.live
    assert [j.finish_reason for j in jobs] == ["cancelled"] * 4
    assert jobs[0].stream.text


def test_an_engine_that_fails_leaks_nothing() -> None:
    def failing(tokens: tuple[int, ...]) -> Any:
        if len(tokens) > 5:
            raise RuntimeError("the device is gone")
        return saying("abcdefgh", after=b"Hi")(tokens)

    engine = ScriptedEngine(failing)
    decoder = Decoder(engine)
    job = decoder.submit(request())
    with pytest.raises(RuntimeError, match="gone"):
        list(decoder.run())
    assert not engine.live
    assert job.stream.text.startswith("abc")


def test_injection_is_text_of_the_answer_and_on_the_ledger() -> None:
    engine = ScriptedEngine(lambda tokens: np.zeros(260))
    (job,) = decode(
        engine,
        Request(
            tokens=[65], policy=policy("entropix", inject="hm 🙂", inject_max=1), max_tokens=12, ignore_end=True, seed=3
        ),
    )
    injected = [s for s in job.steps if s.action == Action.INJECT]
    assert "".join(s.text for s in injected) == "hm 🙂"
    assert job.ledger.injected == 7
    assert injected[0].entropy is not None
    assert injected[1].entropy is None
    assert len(job.tokens) == 12
    assert engine.forwarded == job.ledger.forwarded


def test_an_injection_never_exceeds_max_tokens() -> None:
    engine = ScriptedEngine(lambda tokens: np.zeros(260))
    (job,) = decode(engine, Request(tokens=[65], policy=policy("entropix", inject="abcdef"), max_tokens=4))
    assert (job.stream.text, job.finish_reason) == ("abcd", "length")


def test_logit_bias_acts_before_anything_is_measured() -> None:
    (job,) = decode(says("aaa"), request(logit_bias={ord("a"): float("-inf"), ord("z"): 5.0}, max_tokens=3))
    assert job.stream.text == "zzz"
    assert job.steps[0].leading[0].label == "z"


def test_a_kept_sequence_stays_open_and_its_prefix_is_shared() -> None:
    engine = says("abc")
    decoder = Decoder(engine)
    first = decoder.submit(request(keep=True))
    list(decoder.run())
    assert first.sequence is not None
    held = tuple(first.sequence.tokens)
    second = Decoder(engine).submit(request(tokens=(*held, 33)))
    other = Decoder(engine)
    second = other.submit(request(tokens=(*held, 33), max_tokens=2))
    list(other.run())
    assert (second.ledger.shared, second.ledger.prompt) == (len(held), 1)
    engine.close(first.sequence)
    assert not engine.live


def test_a_cache_filled_by_kept_sequences_is_said_clearly() -> None:
    engine = ScriptedEngine(hashed(), context=30, cells=30)
    kept = engine.open()
    engine.forward([(kept, [9] * 25)])
    decoder = Decoder(engine)
    decoder.submit(request(tokens=(1, 2, 3, 4, 5, 6, 7), max_tokens=4))
    with pytest.raises(CapacityError, match="close kept sequences"):
        list(decoder.run())
    engine.close(kept)
    assert not engine.live


def test_recorded_candidates_are_probabilities_before_and_after_the_filters() -> None:
    (job,) = decode(ScriptedEngine(hashed(2.0)), request("sample:temperature=0.5,top_k=3", max_tokens=5, leading=6))
    for s in job.steps:
        assert len(s.leading) == 6
        assert [c.before for c in s.leading] == sorted((c.before for c in s.leading), reverse=True)
        assert sum(c.after for c in s.leading) == pytest.approx(1)
        assert sum(c.after > 0 for c in s.leading) == 3
        chosen = next(c for c in s.leading if c.token == s.token)
        assert s.logprob == pytest.approx(np.log(chosen.before), rel=1e-5)
        assert s.leading.index(chosen) == s.rank


def test_the_trace_says_that_candidates_were_compared_by_likelihood_alone() -> None:
    (job,) = decode(ScriptedEngine(hashed(1.0)), request("entropix:candidates=3", max_tokens=30, ignore_end=True))
    compared = [s for s in job.steps if s.drawn]
    assert compared
    for s in job.steps:
        assert s.horizon == (0 if s.drawn else None)
        assert not s.drawn or s.rank == min(s.drawn)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_traffic_leaks_nothing_and_ends_every_answer(data: Any) -> None:
    engine = ScriptedEngine(hashed(1.0), sequences=4, context=40, cells=70)
    decoder = Decoder(engine)
    jobs: list[Job] = []
    for _ in range(data.draw(st.integers(5, 40))):
        kind = data.draw(st.sampled_from(["submit", "step", "step", "cancel"]))
        if kind == "submit":
            spec = data.draw(st.sampled_from(["greedy", "entropix", "sample"]))
            tokens = tuple(data.draw(st.lists(st.integers(60, 64), min_size=1, max_size=12)))
            jobs.append(decoder.submit(request(spec, tokens=tokens, max_tokens=data.draw(st.integers(1, 20)))))
        elif kind == "cancel" and jobs:
            decoder.cancel(data.draw(st.sampled_from(jobs)))
        else:
            decoder.step()
        assert len(engine.live) <= 4
        assert engine.cells_used() <= 70
    list(decoder.run())
    assert not engine.live
    assert all(j.finish_reason for j in jobs)
    assert engine.forwarded == sum(j.ledger.forwarded for j in jobs)


def spells(*tokens: int) -> ScriptedEngine:
    """A model that says these tokens after its prompt, again and again."""

    def script(before: tuple[int, ...]) -> Any:
        logits = np.zeros(260)
        logits[tokens[(len(before) - 2) % len(tokens)]] = 30.0
        return logits

    return ScriptedEngine(script)


SEARCHES = [None, "vote:n=2,answer=text,stop=none", "tree:when=end+vote:answer=text", "backtrack"]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("stop", ["<user>", "b<user>", "<user>a", "<user>ab<us"])
def test_b10_a_stop_text_that_is_a_control_token_stops(stop: str, search: str | None) -> None:
    engine = spells(ord("a"), ord("b"), USER)
    (job,) = decode(engine, request("sample", stop=(stop,), max_tokens=20, search=make_search(search)))
    assert job.finish_reason == "stop"
    assert job.stream.text == ("a" if stop.startswith("b") else "ab")


def test_b10_a_stop_text_of_an_end_token_stops_too() -> None:
    (job,) = decode(spells(ord("a"), END), request(stop=("<end>",), max_tokens=20))
    assert (job.stream.text, job.finish_reason) == ("a", "stop")


def test_b10_a_bias_towards_a_control_token_and_its_name_as_stop_text() -> None:
    (job,) = decode(says("Hi"), request(stop=("<user>",), max_tokens=4, logit_bias={USER: 100.0}))
    assert (job.tokens, job.stream.text, job.finish_reason) == ([USER], "", "stop")


def test_an_injection_that_holds_a_stop_text_ends_there() -> None:
    flat = ScriptedEngine(lambda _: np.zeros(260))
    (job,) = decode(flat, request("entropix:inject=Wait no", stop=("ait",), max_tokens=40))
    assert (job.stream.text, job.finish_reason) == ("W", "stop")
    assert bytes(job.tokens) == b"Wait"
    assert job.ledger.forwarded == flat.forwarded
