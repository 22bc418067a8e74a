"""The exactness and the budgets of search, on the scripted engine and on real ones."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from entropix import Model
from entropix.decoding import Decoder, Job, Request
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import CapabilityError, ParameterError
from entropix.policies import make_policy
from entropix.search import make_search
from entropix.search.ballots import ONE_VOTE
from entropix.trace.tree import search_tree
from entropix.types import Result, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)

SPECS = [
    "lookahead:trigger=entropy,threshold=0.5,horizon=5",
    "branch:trigger=entropy,threshold=0.5,horizon=6,sure=2",
    "backtrack:trigger=entropy,threshold=0.8",
    "tree:trigger=entropy,threshold=0.5,max_sequences=4",
    "tree:when=end,trigger=entropy,threshold=0.3,max_sequences=4",
    "vote:n=4,answer=text",
    "best:n=4",
    "tree:trigger=entropy,threshold=0.5,max_sequences=4+vote:answer=text,weight=confidence",
    "branch:trigger=entropy,threshold=0.5,horizon=6+backtrack:trigger=entropy,threshold=1.5",
    "lookahead:trigger=entropy,threshold=0.5,horizon=4,max_sequences=6+vote:n=2,answer=text",
]
PROMPT = [5, 9, 2]


def scripted(**options: Any) -> ScriptedEngine:
    return ScriptedEngine(hashed(sharpness=2.0), **{"context": 256, "sequences": 16, **options})


def answer(engine: Engine, search: str | None, *, seed: int = 1, n: int = 24, others: int = 0, **options: Any) -> Job:
    decoder = Decoder(engine)
    vocabulary = engine.info.vocabulary
    policy = options.pop("policy", "sample:temperature=0.9")
    chosen = make_policy(policy, THRESHOLDS, vocabulary)
    prompt = options.pop("prompt", PROMPT)
    before = [Request(tokens=[k + 1, 7], policy=chosen, seed=k, max_tokens=9) for k in range(others)]
    for request in before:
        decoder.submit(request)
    job = decoder.submit(
        Request(tokens=prompt, policy=chosen, seed=seed, max_tokens=n, search=make_search(search), **options)
    )
    for _ in decoder.run():
        pass
    return job


def shape(job: Job) -> list[tuple[Any, ...]]:
    """The tree: everything of every branch but times."""
    assert job.search is not None
    return [(b.number, b.parent, b.origin, [s.token for s in b.steps], b.ended, b.kept) for b in job.search.branches]


@pytest.mark.parametrize("spec", SPECS)
def test_same_seed_same_tree_and_nothing_leaks(spec: str) -> None:
    engine = scripted()
    first, again = answer(engine, spec), answer(engine, spec)
    assert shape(first) == shape(again)
    assert first.tokens == again.tokens
    assert engine.cells_used() == 0


@pytest.mark.parametrize("spec", SPECS)
def test_what_else_is_in_the_batch_does_not_matter(spec: str) -> None:
    assert shape(answer(scripted(), spec)) == shape(answer(scripted(), spec, others=4))


def crowd(engine: Engine, spec: str) -> list[Job]:
    """Six answers that together would need more sequences than there are."""
    decoder = Decoder(engine)
    policy = make_policy("sample:temperature=0.9", THRESHOLDS, engine.info.vocabulary)
    search = make_search(spec)
    jobs = [
        decoder.submit(Request(tokens=[5, 9, k + 1], policy=policy, seed=k, max_tokens=16, search=search))
        for k in range(6)
    ]
    for _ in decoder.run():
        pass
    return jobs


@pytest.mark.parametrize("spec", SPECS)
def test_more_searches_than_sequences_give_the_trees_they_give_alone(spec: str) -> None:
    engine = scripted(sequences=7)
    jobs = crowd(engine, spec)
    assert engine.cells_used() == 0
    for k, job in enumerate(jobs):
        alone = answer(scripted(), spec, seed=k, n=16, prompt=[5, 9, k + 1])
        assert shape(job) == shape(alone)
        assert job.ledger.recomputed == alone.ledger.recomputed


@pytest.mark.parametrize("spec", SPECS)
def test_searches_end_also_where_a_conversation_holds_sequences(spec: str) -> None:
    engine = scripted(sequences=7)
    held = [engine.open([k + 1]) for k in range(3)]
    assert all(job.finish_reason in ("end", "length") for job in crowd(engine, spec))
    for sequence in held:
        engine.close(sequence)
    assert engine.cells_used() == 0


@pytest.mark.parametrize("spec", SPECS)
def test_something_was_explored(spec: str) -> None:
    job = answer(scripted(), spec)
    assert job.search is not None
    went_back = job.ledger.recomputed > 0
    assert len(job.search.branches) > 1 or went_back, "no branch and no rewind, so this tests nothing"


@pytest.mark.parametrize("spec", SPECS)
def test_one_sequence_is_plain_decoding(spec: str) -> None:
    plain = answer(scripted(), None)
    head, plus, rest = spec.partition("+")
    bare = [part for part in head.split(",") if "max_sequences" not in part]
    one = ",".join(bare) + ("," if ":" in head else ":") + "max_sequences=1"
    rest = ",".join(part for part in rest.split(",") if "max_sequences" not in part)
    job = answer(scripted(), one + plus + rest)
    assert job.tokens == plain.tokens
    assert job.ledger.forwarded == plain.ledger.forwarded


@pytest.mark.parametrize(
    "spec",
    [
        "tree:trigger=entropy,threshold=99+vote:answer=text",
        "tree:when=end,trigger=entropy,threshold=99+vote:answer=text",
        "vote:n=1,answer=text",
        "vote:n=4,max_sequences=1,answer=text",
    ],
)
def test_the_confidence_of_one_ballot_is_one_minus_uncertainty(spec: str) -> None:
    result = Model(scripted()).generate("name it", search=spec, policy="sample", max_tokens=8, seed=1)
    assert isinstance(result, Result)
    assert result.search is not None
    assert (result.search.ballots, result.search.confidence, result.search.shares) == (1, None, {})
    assert result.confidence == pytest.approx(1 - result.uncertainty)
    assert ONE_VOTE in result.notes
    console = Console(file=io.StringIO(), record=True, width=100)
    console.print(search_tree(console, result.search))
    assert "ballot" not in console.export_text()


@pytest.mark.parametrize("spec", SPECS)
def test_every_forwarded_token_is_on_the_ledger(spec: str) -> None:
    engine = scripted()
    job = answer(engine, spec)
    assert engine.forwarded == job.ledger.forwarded
    assert min(job.ledger.sampled, job.ledger.abandoned, job.ledger.looked_ahead, job.ledger.injected) >= 0


@pytest.mark.parametrize("spec", SPECS)
def test_little_room_gives_the_same_text(spec: str) -> None:
    """With fewer cells than the branches need, some are computed again later; the tree stays."""
    plan = make_search(spec)
    assert plan is not None
    small = scripted(sequences=max(plan.max_sequences, 1), cells=60)
    roomy = answer(scripted(), spec)
    job = answer(small, spec)
    assert job.tokens == roomy.tokens
    assert small.cells_used() == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spec=st.sampled_from(SPECS),
    seed=st.integers(0, 2**31),
    most=st.integers(1, 6),
    tokens=st.integers(1, 120),
    temperature=st.floats(0.0, 3.0),
    stop_after=st.none() | st.integers(0, 30),
    fails=st.booleans(),
)
def test_budgets_hold_and_no_sequence_leaks(
    spec: str, seed: int, most: int, tokens: int, temperature: float, stop_after: int | None, fails: bool
) -> None:
    engine = scripted()
    parts = []
    for part in spec.split("+"):
        name, _, given_ = part.partition(":")
        kept = [p for p in given_.split(",") if p and not p.startswith("max_")]
        parts.append(f"{name}:" + ",".join([*kept, f"max_sequences={most}", f"max_tokens={tokens}"]))
    policy = make_policy(f"sample:temperature={temperature}", THRESHOLDS, engine.info.vocabulary)
    decoder = Decoder(engine)
    request = Request(tokens=PROMPT, policy=policy, seed=seed, max_tokens=40, search=make_search("+".join(parts)))
    job = decoder.submit(request)
    steps = 0
    rng = random.Random(seed)
    try:
        while decoder.busy:
            if stop_after is not None and steps >= stop_after:
                if fails:
                    raise KeyboardInterrupt
                decoder.cancel(job)
                break
            decoder.step()
            steps += 1
            assert len(job.live) <= most or job.finish_reason
            assert job.ledger.forwarded - job.ledger.prompt <= tokens
            assert steps < 5000
    except KeyboardInterrupt:
        if rng.random() < 0.5:
            decoder.close()
    decoder.close()
    assert engine.cells_used() == 0
    assert job.finish_reason
    assert job.spent <= tokens
    assert job.ledger.forwarded - job.ledger.prompt <= tokens


def test_an_engine_failure_leaks_nothing() -> None:
    engine = scripted()
    forward, calls = engine.forward, 0

    def failing(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise RuntimeError("the device fell off the bus")
        return forward(*args, **options)

    engine.forward = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="fell off"):
        answer(engine, SPECS[3])
    assert engine.cells_used() == 0


@pytest.mark.parametrize("spec", SPECS)
def test_what_streams_is_what_the_answer_begins_with(spec: str) -> None:
    decoder = Decoder(scripted())
    policy = make_policy("sample:temperature=0.9", THRESHOLDS, decoder.engine.info.vocabulary)
    search = make_search(spec)
    job = decoder.submit(Request(tokens=PROMPT, policy=policy, seed=4, max_tokens=24, search=search, stop=("zz",)))
    said = [event.step.token for event in decoder.run() if event.step is not None]
    assert said == job.tokens


def test_a_reader_that_stops_cancels_every_branch() -> None:
    engine = scripted()
    with Model(engine).stream("hello", search=SPECS[0], policy="sample:temperature=0.9", seed=1) as stream:
        next(stream)
    assert engine.cells_used() == 0
    assert stream.result.finish_reason == "cancelled"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("forest", "known are lookahead, branch, backtrack, tree, vote, best"),
        ("tree:colour=3", "no parameter 'colour'; it has max_sequences"),
        ("tree:trigger=mood", "allowed are regime, entropy"),
        ("vote:n=-1", "out of range"),
        ("vote+vote", "given twice"),
        ("lookahead+branch", "choose one"),
        ("vote+best", "each of vote and best decides; choose one"),
        ("best:score=length", "allowed are logprob, confidence, entropy"),
        ("tree:max_sequences=4+vote:max_sequences=8", "one budget"),
        ("vote:answer=digits", "known are none, number"),
        ("", "known are"),
    ],
)
def test_mistakes_are_named(spec: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make_search(spec)


def test_an_engine_that_cannot_fork_is_refused_before_the_first_token() -> None:
    with pytest.raises(CapabilityError, match="forks"):
        answer(scripted(fork=False), "tree")
    with pytest.raises(CapabilityError, match="sequences at a time"):
        answer(scripted(sequences=2), "vote:n=4")


@pytest.mark.parametrize(
    "spec", ["tree:trigger=entropy,threshold=1.0,max_sequences=3", "vote:n=3,answer=text", SPECS[1], SPECS[2], SPECS[4]]
)
def test_real_engines_repeat_a_tree_and_close_everything(spec: str, real_engine: Engine) -> None:
    model = Model(real_engine)
    before = real_engine.cells_used()

    def one() -> Result:
        options = {"policy": "sample:temperature=0.8", "seed": 3, "max_tokens": 24}
        result: Result = model.generate("Name two rivers of Europe. 🙂", search=spec, **options)
        return result

    first, again = one(), one()
    assert first.tokens == again.tokens
    assert first.search is not None
    assert again.search is not None
    trees = [[(b.parent, b.origin, [s.token for s in b.steps]) for b in r.search.branches] for r in (first, again)]  # type: ignore[union-attr]
    assert trees[0] == trees[1]
    assert len(first.search.branches) > 1 or first.ledger.recomputed > 0
    assert real_engine.cells_used() == before
