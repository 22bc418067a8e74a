"""Answers that are held, fail or give way to others continue as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from entropix.decoding import Decoder, Event, Request, batch
from entropix.engines import Engine, SequenceHandle
from entropix.engines.scripted import ScriptedEngine
from entropix.model import Model
from entropix.policies import Policy, sampled
from entropix.types import Array, Decisions, Result, Signals, State


@pytest.fixture(params=["scripted", "llama_cpp"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Two engines: what is held and computed again goes through the contract alone."""
    engine: Engine = ScriptedEngine() if request.param == "scripted" else request.getfixturevalue("llama_engine")
    yield engine
    assert engine.cells_used() == 0


def requests(engine: Engine, n: int, tokens: int = 12, **options: Any) -> list[Request]:
    model = Model(engine)
    return [
        model.request(f"Tell me of {w}.", seed=i, max_tokens=tokens, **options) for i, w in enumerate("abcdefg"[:n])
    ]


def results(engine: Engine, wanted: Sequence[Request], disturb: Any = lambda decoder, jobs, n: None) -> list[Result]:
    """The answers; `disturb` is called before every step with the decoder, the jobs and the step's number."""
    decoder = Decoder(engine)
    jobs = [decoder.submit(request, i) for i, request in enumerate(wanted)]
    n = 0
    try:
        while decoder.busy:
            disturb(decoder, jobs, n)
            decoder.step()
            n += 1
            assert n < 1000
    finally:
        decoder.close()
    return [Model(engine).result(job) for job in jobs]


@pytest.mark.parametrize("keep", [True, False])
def test_a_job_that_is_held_for_a_while_says_the_same(engine: Engine, keep: bool) -> None:
    wanted = requests(engine, 3)
    expected = results(engine, wanted)

    def disturb(decoder: Decoder, jobs: Any, n: int) -> None:
        if n == 4:
            decoder.park(jobs[1], keep=keep)
            assert (jobs[1].sequence is not None) is keep
        if n == 9:
            assert len(jobs[1].tokens) == 4
            decoder.unpark(jobs[1])

    found = results(engine, wanted, disturb)
    assert [r.text for r in found] == [r.text for r in expected]
    assert found[1].ledger.recomputed == 0 if keep else found[1].ledger.recomputed > 0
    assert found[0].ledger == expected[0].ledger


def test_a_held_job_can_be_cancelled_and_leaves_nothing(engine: Engine) -> None:
    decoder = Decoder(engine)
    job = decoder.submit(requests(engine, 1)[0])
    decoder.step()
    decoder.park(job)
    decoder.cancel(job)
    assert job.finish_reason == "cancelled"
    assert not decoder.busy
    assert engine.cells_used() == 0


def test_a_search_that_is_held_is_the_same_tree() -> None:
    engine = ScriptedEngine()
    wanted = requests(engine, 2, search="tree:max_sequences=4,trigger=random,rate=0.3+vote:answer=text")
    expected = results(engine, wanted)

    def disturb(decoder: Decoder, jobs: Any, n: int) -> None:
        if n % 3 == 1 and not jobs[0].finish_reason:
            decoder.park(jobs[0])
        if n % 3 == 2 and not jobs[0].finish_reason:
            decoder.unpark(jobs[0])

    found = results(engine, wanted, disturb)
    assert [r.search for r in found] == [r.search for r in expected]
    assert len(found[0].search.branches) > 1  # type: ignore[union-attr]


class Stumbling(ScriptedEngine):
    """Every third forward raises before it computes."""

    calls = 0

    def forward(self, work: Any, *, attention: bool = False) -> Any:
        self.calls += 1
        if self.calls % 3 == 0:
            raise RuntimeError("stumbled")
        return super().forward(work, attention=attention)


def stepping_on(decoder: Decoder) -> list[Event]:
    events: list[Event] = []
    while decoder.busy:
        try:
            events += decoder.step()
        except RuntimeError:
            continue
    return events


def test_a_forward_that_fails_can_be_tried_again_and_nothing_is_lost() -> None:
    expected = results(ScriptedEngine(), requests(ScriptedEngine(), 4))
    engine = Stumbling()
    decoder = Decoder(engine)
    jobs = [decoder.submit(request) for request in requests(engine, 4)]
    events = stepping_on(decoder)
    assert ["".join(e.step.text for e in events if e.step and e.job is job) for job in jobs] == [
        r.text for r in expected
    ]
    assert [job.ledger for job in jobs] == [r.ledger for r in expected]


@dataclass(frozen=True, kw_only=True)
class Moody(Policy):
    """Counts its steps in its state, and fails at every third call."""

    name: ClassVar[str] = "moody"
    calls: ClassVar[list[int]] = [0]
    fails: bool

    def initial(self, rows: int, like: Array) -> State:
        return {"steps": like[:1] * 0}

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        self.calls[0] += 1
        steps = state["steps"] + 1
        if self.fails and self.calls[0] % 3 == 0:
            raise RuntimeError("in a mood")
        return sampled(regime, like=signals.entropy, temperature=steps / 10), {"steps": steps}


def test_a_policy_that_fails_after_the_forward_has_its_state_as_it_was(engine: Engine) -> None:
    thresholds = Model(engine).profile.thresholds
    wanted = [requests(engine, 3, policy=Moody(thresholds=thresholds, fails=fails)) for fails in (False, True)]
    expected = results(engine, wanted[0])
    decoder = Decoder(engine)
    jobs = [decoder.submit(request) for request in wanted[1]]
    stepping_on(decoder)
    assert [job.stream.text for job in jobs] == [r.text for r in expected]
    assert [[s.temperature for s in job.steps] for job in jobs] == [[s.temperature for s in r.steps] for r in expected]


class Broken:
    """A search whose explorer fails at its third step."""

    max_sequences, max_tokens, goes_back, spec = 1, None, False, "broken"

    def check(self, *_: object) -> Sequence[str]:
        return ()

    def begin(self, job: Any) -> Any:
        return self

    def advance(self, decoder: Decoder, proposals: Any) -> None:
        if len(proposals[0].branch.tokens) == 2:
            raise RuntimeError("lost in the tree")
        for p in proposals:
            decoder.accept(p.branch, p.step, injects=p.injects)

    def certain(self) -> None:
        return None

    def exhausted(self, decoder: Decoder) -> None:
        raise AssertionError

    def stopped(self, decoder: Decoder) -> None:
        pass

    def record(self) -> None:
        return None


def test_a_search_that_fails_ends_its_own_answer_where_answers_are_isolated_and_raises_elsewhere() -> None:
    engine = ScriptedEngine()
    good, bad = requests(engine, 2)
    bad = Request(**{**bad.__dict__, "search": Broken()})
    expected = results(engine, [good])[0].text
    decoder = Decoder(engine, isolate=True)
    jobs = [decoder.submit(good), decoder.submit(bad)]
    while decoder.busy:
        decoder.step()
    assert jobs[0].stream.text == expected
    assert jobs[1].finish_reason == "error"
    assert "lost in the tree" in str(jobs[1].error)
    with pytest.raises(RuntimeError, match="lost in the tree"):
        results(engine, [bad])
    assert engine.cells_used() == 0


@pytest.mark.parametrize("options", [{"sequences": 3}, {"cells": 60, "context": 60}])
def test_what_others_hold_gives_way_before_anybody_waits(options: dict[str, int]) -> None:
    engine = ScriptedEngine(**options)
    held: list[SequenceHandle] = []
    for n in range(2):
        sequence = engine.open([n])
        engine.forward([(sequence, [n] * 15)])
        held.append(sequence)

    def reclaim() -> bool:
        if not held:
            return False
        engine.close(held.pop())
        return True

    decoder = Decoder(engine, reclaim=reclaim)
    jobs = [decoder.submit(request) for request in requests(engine, 2, tokens=6)]
    decoder.step()
    assert [len(job.tokens) for job in jobs] == [1, 1], "one of them waits for what could have been given back"
    while decoder.busy:
        decoder.step()
    assert [job.stream.text for job in jobs] == [
        r.text for r in results(ScriptedEngine(), requests(ScriptedEngine(), 2, 6))
    ]


def test_a_prompt_that_is_already_there_needs_no_room() -> None:
    engine = ScriptedEngine(cells=100, context=100)
    system = engine.open([1])
    engine.forward([(system, list(range(60)))])
    policy = Model(engine).policy("greedy")
    decoder = Decoder(engine)
    jobs = [decoder.submit(Request(tokens=[*range(60), n], policy=policy, max_tokens=5)) for n in (1, 2, 3)]
    decoder.step()
    assert [len(job.tokens) for job in jobs] == [1, 1, 1]
    decoder.close()
    engine.close(system)


def long_prompt(n: int) -> list[int]:
    return [token % 250 for token in range(n)]


def test_a_long_prompt_is_computed_in_pieces_between_which_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(context=4096, cells=8192)
    policy = Model(engine).policy("entropix")
    short = requests(engine, 1, tokens=30)[0]
    long = Request(tokens=long_prompt(1500), policy=policy, seed=3, max_tokens=10)
    decoder = Decoder(engine)
    first = decoder.submit(short)
    for _ in range(3):
        decoder.step()
    second = decoder.submit(long)
    most = 0
    while not second.tokens:
        before, said = engine.forwarded, len(first.tokens)
        decoder.step()
        most = max(most, engine.forwarded - before)
        assert len(first.tokens) == said + 1
    assert most <= batch.CHUNK * 2 + 1
    assert second.ledger.prompt == 1500
    assert second.ledger.recomputed == 0
    while decoder.busy:
        decoder.step()
    monkeypatch.setattr(batch, "CHUNK", 10**6)
    whole = results(ScriptedEngine(context=4096, cells=8192), [short, long])
    assert [first.stream.text, second.stream.text] == [r.text for r in whole]


def test_many_prompts_at_once_do_not_hold_up_who_is_answered() -> None:
    engine = ScriptedEngine(context=4096, cells=8192)
    policy = Model(engine).policy("entropix")
    decoder = Decoder(engine)
    jobs = [decoder.submit(Request(tokens=[n, *long_prompt(200)], policy=policy, max_tokens=20)) for n in range(8)]
    most = 0
    while decoder.busy:
        before = engine.forwarded
        decoder.step()
        most = max(most, engine.forwarded - before)
    assert most <= batch.PROMPTS + 8
    assert [job.ledger.prompt for job in jobs] == [201] * 8


def test_a_long_prompt_that_is_cancelled_or_held_midway_leaves_nothing() -> None:
    engine = ScriptedEngine(context=4096, cells=8192)
    policy = Model(engine).policy("entropix")
    decoder = Decoder(engine)
    running = decoder.submit(requests(engine, 1, tokens=100)[0])
    jobs = [decoder.submit(Request(tokens=[n, *long_prompt(900)], policy=policy, max_tokens=5)) for n in range(2)]
    decoder.step()
    decoder.step()
    decoder.park(jobs[0])
    decoder.cancel(jobs[1])
    decoder.step()
    decoder.unpark(jobs[0])
    while not jobs[0].finish_reason:
        decoder.step()
    assert jobs[0].ledger.prompt == 901
    decoder.cancel(running)
    assert engine.cells_used() == 0


def test_long_prompts_wait_for_cells_and_are_answered_one_after_the_other() -> None:
    engine = ScriptedEngine(context=1000, cells=1000)
    policy = Model(engine).policy("greedy")
    wanted = [Request(tokens=[n, *long_prompt(700)], policy=policy, max_tokens=8) for n in range(3)]
    found = results(engine, wanted)
    alone = [results(ScriptedEngine(context=1000), [request])[0] for request in wanted]
    assert [r.text for r in found] == [r.text for r in alone]
    assert engine.cells_used() == 0


def test_a_prompt_in_pieces_gives_way_to_an_answer_that_needs_the_cells() -> None:
    engine = ScriptedEngine(context=1400, cells=1400)
    policy = Model(engine).policy("greedy")
    wanted = [
        Request(tokens=[1, *long_prompt(96)], policy=policy, max_tokens=30),
        Request(tokens=[2, *long_prompt(1299)], policy=policy, max_tokens=8),
    ]

    def disturb(decoder: Decoder, jobs: Any, n: int) -> None:
        assert engine.cells_used() <= 1400

    found = results(engine, wanted, disturb)
    alone = [results(ScriptedEngine(context=1400), [request])[0] for request in wanted]
    assert [r.text for r in found] == [r.text for r in alone]
    assert found[1].ledger.recomputed > 0 or found[1].ledger.prompt > 1300
