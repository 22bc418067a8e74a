"""Votes: who wins, with what share, when it is decided, and that the floor of ballots holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.decoding import Branch, Job, Request
from entropix.errors import ParameterError
from entropix.policies import make_policy
from entropix.search import Vote
from entropix.search.ballots import ONE_VOTE, count
from entropix.search.scores import path_probability, trace_confidence
from entropix.types import Action, Regime, Step, Thresholds

POLICY = make_policy("greedy", Thresholds(0.3, 2.0, 0.25, 1.5), 260)


def ballots(*given: tuple[str | None, float]) -> list[Branch]:
    """Ended branches with an answer and the confidence of their every token."""
    job = Job(Request(tokens=[1], policy=POLICY), (), False)
    made = []
    for n, (answer, confidence) in enumerate(given):
        branch = Branch(job, n, n, finish_reason="end")
        branch.steps = [
            Step(i, i, 0, "x", f"{answer or '-'}" if i == 0 else "", Regime.FLOW, Action.SAMPLE, logprob=-1.0)
            for i in range(16)
        ]
        branch.stream._certain.append(answer or "-")
        branch.confidence = [confidence] * 16
        made.append(branch)
    return made


def by_text(text: str) -> str | None:
    return None if text == "-" else text


def test_the_most_frequent_answer_wins_and_no_answer_counts_against_it() -> None:
    counted = count(ballots(("7", 1), ("8", 1), ("7", 1), (None, 1)), Vote(answer=by_text), 0)
    assert counted is not None
    assert (counted.answer, counted.confidence, counted.shares) == ("7", 0.5, {"7": 0.5, "8": 0.25})
    assert counted.winner.number == 0


def test_a_surer_minority_wins_a_weighted_vote() -> None:
    made = ballots(("7", 9), ("8", 4), ("8", 4))
    plain = count(made, Vote(answer=by_text), 0)
    weighted = count(made, Vote(answer=by_text, weight="confidence"), 0)
    assert plain is not None
    assert weighted is not None
    assert (plain.answer, weighted.answer) == ("8", "7")
    assert weighted.confidence == pytest.approx(9 / 17)


def test_filtering_never_goes_below_the_floor() -> None:
    """Keeping the surest tenth of 20 ballots would let two decide against eighteen."""
    made = ballots(("7", 9), *[("8", 5 + n / 100) for n in range(19)])
    counted = count(made, Vote(answer=by_text, keep=0.05, floor=3), 0)
    assert counted is not None
    assert len(counted.weights) == 3
    assert counted.answer == "8"


def test_a_vote_is_decided_by_its_rule() -> None:
    def decided(answers: str, outstanding: int, running: int = 0, **options: Any) -> bool:
        counted = count(ballots(*[(a, 1) for a in answers]), Vote(answer=by_text, **options), outstanding, running)
        assert counted is not None
        return counted.decided

    assert not decided("77", 2)
    assert decided("77", 1)
    assert not decided("777", 5)
    assert not decided("777", 5, stop="none")
    assert decided("777", 13, stop="lead:3")
    assert not decided("7778", 12, stop="lead:3")
    assert decided("7777", 12, stop="beta:0.95")
    assert not decided("777", 13, stop="beta:0.95")


def test_an_exact_rule_decides_within_a_wave_and_the_others_wait_for_its_end() -> None:
    made = ballots(("7", 1), ("7", 1), ("7", 1))
    within = {stop: count(made, Vote(answer=by_text, stop=stop), 2, 2) for stop in ("overtake", "lead:2", "beta:0.9")}
    assert {stop: counted is not None and counted.decided for stop, counted in within.items()} == {
        "overtake": True, "lead:2": False, "beta:0.9": False,
    }  # fmt: skip


def test_where_only_the_surest_ballots_count_nothing_is_exact_before_the_last() -> None:
    made = ballots(("7", 3), ("7", 2), ("7", 1))
    counted = [count(made, Vote(answer=by_text, keep=0.7, floor=1), outstanding) for outstanding in (1, 0)]
    assert [one is not None and one.decided for one in counted] == [False, True]


def test_a_text_that_was_cut_off_abstains_unless_all_were() -> None:
    made = ballots(("7", 1), ("7", 1), ("8", 1), ("8", 1), ("8", 1))
    for branch in made[2:]:
        branch.finish_reason = "length"
    some = count(made, Vote(answer=by_text), 0)
    made[0].finish_reason = made[1].finish_reason = "length"
    every = count(made, Vote(answer=by_text), 0)
    assert some is not None
    assert every is not None
    assert (some.answer, some.confidence, some.agreeing) == ("7", pytest.approx(2 / 5), 2)
    assert every.answer == "8"


def test_without_an_extractor_no_vote_is_held() -> None:
    counted = count(ballots(("a", 1), ("b", 2)), Vote(), 0)
    assert counted is not None
    assert (counted.shares, counted.confidence, counted.decided) == ({}, None, False)


def test_a_function_that_returns_no_text_is_named() -> None:
    with pytest.raises(ParameterError, match="returned 7"):
        count(ballots(("7", 1)), Vote(answer=int), 0)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3", None]), st.floats(0, 20)), min_size=2, max_size=12))
def test_shares_are_shares(given_: list[tuple[str | None, float]]) -> None:
    for weight in ("count", "confidence", "path"):
        counted = count(ballots(*given_), Vote(answer=by_text, weight=weight), 0)
        assert counted is not None
        assert counted.confidence is not None
        assert 0 <= counted.confidence <= 1
        assert sum(counted.shares.values()) <= 1 + 1e-9
        assert list(counted.shares.values()) == sorted(counted.shares.values(), reverse=True)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_trace_confidences_are_ordered(values: list[float]) -> None:
    lowest, bottom = trace_confidence(values, "lowest"), trace_confidence(values, "bottom")
    assert lowest <= bottom + 1e-9
    assert bottom <= max(values) + 1e-9
    assert min(values) - 1e-9 <= lowest
    assert trace_confidence(values, "mean") == pytest.approx(sum(values) / len(values))


def test_path_probability_multiplies_the_choices() -> None:
    parent, child = ballots(("a", 1), ("b", 1))
    child.parent, child.origin = parent, 3
    parent.job.branches = [parent, child]
    parent.steps[3].logprob, child.steps[3].logprob = math.log(0.6), math.log(0.3)
    assert path_probability(child) == pytest.approx(0.3)
    assert path_probability(parent) == pytest.approx(0.6)


def cast(given: Sequence[tuple[str | None, str]]) -> list[Branch]:
    """Ballots by answer and how their texts ended."""
    made = ballots(*[(answer, 1.0) for answer, _ in given])
    for branch, (_, end) in zip(made, given, strict=True):
        branch.finish_reason = end
    return made


@pytest.mark.parametrize(
    "options", [{}, {"stop": "lead:2"}, {"stop": "beta:0.9", "weight": "confidence"}, {"weight": "path"}]
)
def test_nothing_is_decided_while_every_ballot_is_cut_off_and_one_may_still_come(options: dict[str, Any]) -> None:
    vote = Vote(answer=by_text, **options)
    before = count(cast([("A", "length")] * 3), vote, 1)
    after = count(cast([("A", "length")] * 3 + [("C", "end")]), vote, 0)
    assert before is not None
    assert after is not None
    assert (before.answer, before.decided, after.answer) == ("A", False, "C")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ([("A", "end")], {}),
        ([("A", "length")], {}),
        ([("A", "length"), ("B", "end"), ("A", "context"), (None, "length")], {}),
        ([("A", "end"), ("B", "end"), ("C", "end")], {"keep": 0.3, "floor": 1}),
    ],
)
def test_one_ballot_alone_is_no_share_of_votes(given: list[tuple[str | None, str]], options: dict[str, Any]) -> None:
    counted = count(cast(given), Vote(answer=by_text, **options), 0)
    assert counted is not None
    assert (counted.confidence, counted.shares, counted.note) == (None, {}, ONE_VOTE)


def test_ballots_without_an_answer_say_that_there_is_none() -> None:
    counted = count(cast([(None, "end"), (None, "end"), ("A", "length")]), Vote(answer=by_text), 0)
    alone = count(cast([(None, "end")]), Vote(answer=by_text), 0)
    assert counted is not None
    assert alone is not None
    assert (counted.answer, counted.confidence, counted.shares) == (None, 0.0, {})
    assert (alone.answer, alone.confidence, alone.shares) == (None, None, {})
    assert "no text gives an answer to count (1 of 3 were cut off), so the likeliest" in counted.note
    assert "no text gives an answer to count, so the likeliest" in alone.note


@pytest.mark.parametrize("given", [[("A", "end"), (None, "end")], [("A", "length"), ("B", "length")]])
def test_two_ballots_that_vote_are_shares(given: list[tuple[str | None, str]]) -> None:
    counted = count(cast(given), Vote(answer=by_text), 0)
    assert counted is not None
    assert (counted.answer, counted.confidence, counted.note) == ("A", 0.5, "")


BALLOT = st.tuples(st.sampled_from(["A", "B", None]), st.sampled_from(["end", "end", "length", "context"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(BALLOT, min_size=1, max_size=5), st.integers(1, 2))
def test_a_vote_that_is_decided_is_never_overturned(given: list[tuple[str | None, str]], outstanding: int) -> None:
    vote = Vote(answer=by_text)
    now = count(cast(given), vote, outstanding)
    assert now is not None
    if not now.decided:
        return
    every = list(itertools.product(("A", "B", "C", None), ("end", "length")))
    for more in itertools.product(every, repeat=outstanding):
        then = count(cast([*given, *more]), vote, 0)
        assert then is not None
        assert then.answer == now.answer


@st.composite
def trees(draw: st.DrawFn) -> list[Branch]:
    """Branches forked off one another at random, each fork another token, in the order of opening."""
    made = ballots(*[("a", 1)] * draw(st.integers(2, 8)))
    length = 6
    for n, branch in enumerate(made):
        branch.job = made[0].job
        steps = [replace(step, token=100 * n + step.index) for step in branch.steps[:length]]
        for step in steps:
            step.logprob = -draw(st.floats(0.1, 3))
        if n:
            parent = branch.parent = made[draw(st.integers(0, n - 1))]
            first = parent.origin + 1 if parent.parent else 0
            branch.origin = draw(st.integers(min(first, length - 1), length - 1))
            steps = [*parent.steps[: branch.origin], *steps[branch.origin :]]
        branch.steps = steps
    made[0].job.branches = made
    return made


def in_prefix_tree(leaf: Branch, leaves: list[Branch]) -> float:
    """The product of the probabilities of a leaf's tokens at every node of the prefix tree with several children."""
    total = 0.0
    for place, step in enumerate(leaf.steps):
        path = [s.token for s in leaf.steps[:place]]
        here = {b.steps[place].token for b in leaves if [s.token for s in b.steps[:place]] == path}
        total += (step.logprob or 0.0) if len(here) > 1 else 0.0
    return math.exp(total)


@given(trees())
def test_path_probability_is_that_of_the_prefix_tree(leaves: list[Branch]) -> None:
    for leaf in leaves:
        assert path_probability(leaf) == pytest.approx(in_prefix_tree(leaf, leaves))


def test_path_probability_counts_the_forks_before_its_own() -> None:
    parent, first, second = ballots(*[("a", 1)] * 3)
    for branch in (first, second):
        branch.job, branch.parent = parent.job, parent
    for step, p in zip(parent.steps, (0.9, 0.6, 0.8, 0.5, 0.7), strict=False):
        step.logprob = math.log(p)
    first.origin, second.origin = 1, 3
    first.steps = [*parent.steps[:1], replace(parent.steps[1], logprob=math.log(0.3)), *parent.steps[2:]]
    second.steps = [*parent.steps[:3], replace(parent.steps[3], logprob=math.log(0.4)), *parent.steps[4:]]
    parent.job.branches = [parent, first, second]
    assert [path_probability(b) for b in (parent, first, second)] == pytest.approx([0.3, 0.3, 0.24])
