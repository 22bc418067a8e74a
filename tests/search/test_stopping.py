"""Stop rules against brute force: every completion of a vote, integrals of the beta density, and counts by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.errors import ParameterError
from entropix.search.stopping import (
    EXACT,
    Standing,
    StopRule,
    ahead,
    exact_ahead,
    parse_stop,
    standing,
)
from entropix.search.tally import tally

OVERTAKE = parse_stop("overtake")
BALLOT = st.tuples(st.sampled_from(["A", "B", "C", None]), st.sampled_from(["end", "length"]))
WEIGHT = st.integers(0, 8).map(lambda eighths: eighths / 8)  # exact in binary, so that sums have no rounding


def winner(answers: list[str | None], ends: list[str], weights: list[float] | None = None) -> str | None:
    return next(iter(tally(answers, weights or [1.0] * len(answers), ends)), None)


@settings(max_examples=300, deadline=None)
@given(cast=st.lists(BALLOT, min_size=1, max_size=6), outstanding=st.integers(0, 3))
def test_overtake_stops_only_where_no_completion_changes_the_answer(
    cast: list[tuple[str | None, str]], outstanding: int
) -> None:
    answers, ends = [a for a, _ in cast], [e for _, e in cast]
    if not OVERTAKE.stops(standing(answers, ends, outstanding)):
        return
    before = winner(answers, ends)
    every = list(itertools.product(("A", "B", "C", "D", None), ("end", "length")))
    for more in itertools.product(every, repeat=outstanding):
        assert winner([*answers, *(a for a, _ in more)], [*ends, *(e for _, e in more)]) == before


@settings(max_examples=300, deadline=None)
@given(
    cast=st.lists(st.tuples(st.sampled_from("ABC"), WEIGHT), min_size=1, max_size=6),
    outstanding=st.integers(0, 2),
    heaviest=st.sampled_from([0.5, 1.0]),
)
def test_overtake_of_weighted_ballots_holds_for_every_weight_that_may_come(
    cast: list[tuple[str, float]], outstanding: int, heaviest: float
) -> None:
    answers: list[str | None] = [a for a, _ in cast]
    weights, ends = [w for _, w in cast], ["end"] * len(cast)
    if not OVERTAKE.stops(standing(answers, ends, outstanding, weights, heaviest)):
        return
    before = winner(answers, ends, weights)
    for more in itertools.product([(a, w) for a in "ABCD" for w in (0.0, heaviest)], repeat=outstanding):
        whole = [*answers, *(a for a, _ in more)]
        assert winner(whole, ["end"] * len(whole), [*weights, *(w for _, w in more)]) == before


@given(answers=st.lists(st.sampled_from("AB"), min_size=1, max_size=12), outstanding=st.integers(1, 12))
def test_while_overtake_goes_on_another_answer_may_still_draw_level(answers: list[str], outstanding: int) -> None:
    if OVERTAKE.stops(standing(list(answers), ["end"] * len(answers), outstanding)):
        return
    best = winner(list(answers), ["end"] * len(answers))
    other = "B" if best == "A" else "A"
    whole = [*answers, *[other] * outstanding]
    assert whole.count(other) >= whole.count(str(best))


def test_without_a_bound_on_a_ballots_weight_only_the_last_one_decides() -> None:
    assert not OVERTAKE.stops(standing(["A"] * 9, ["end"] * 9, 1, [1.0] * 9))
    assert OVERTAKE.stops(standing(["A"] * 9, ["end"] * 9, 0, [1.0] * 9))


@pytest.mark.parametrize("rule", ["overtake", "beta:0.6", "lead:1"])
def test_nothing_is_decided_while_all_ballots_were_cut_off_and_one_may_come(rule: str) -> None:
    stop = parse_stop(rule)
    cut = standing(["A", "A"], ["length", "context"], 1)
    assert not stop.stops(cut)
    assert stop.stops(standing(["A", "A"], ["length", "length"], 0))
    assert winner(["A", "A", "C"], ["length", "length", "end"]) == "C"
    # one whole text is enough for the cut-off ones to abstain, and they then lead nothing
    late = standing(["A", "A", "C"], ["length", "length", "end"], 0)
    assert (late.first, late.second) == (1, 0)


@given(first=st.integers(0, 40), second=st.integers(0, 40))
def test_beta_is_the_integral_of_the_density(first: int, second: int) -> None:
    found = exact_ahead(first, second)
    n, norm = 4000, math.exp(math.lgamma(first + second + 2) - math.lgamma(first + 1) - math.lgamma(second + 1))

    def density(p: float) -> float:
        return float(norm * p**first * (1 - p) ** second)

    points = [0.5 + 0.5 * i / n for i in range(n + 1)]  # Simpson's rule
    total = sum((1 if i in (0, n) else 4 if i % 2 else 2) * density(p) for i, p in enumerate(points))
    assert float(found) == pytest.approx(total * 0.5 / n / 3, abs=1e-9)
    assert found + exact_ahead(second, first) == 1
    assert ahead(first, second) == pytest.approx(float(found), rel=1e-12, abs=1e-15)


@given(first=st.floats(0, 2e4), part=st.floats(0, 1))
def test_counts_that_are_not_whole_agree_with_scipy(first: float, part: float) -> None:
    special = pytest.importorskip("scipy.special")
    second = first * part
    assert ahead(first, second) == pytest.approx(float(special.betainc(second + 1, first + 1, 0.5)), rel=1e-9)


def test_beta_is_decided_with_whole_numbers() -> None:
    def stops(theta: str, first: float, second: float) -> bool:
        return parse_stop(f"beta:{theta}").stops(Standing(first, second, 5))

    assert (exact_ahead(3, 0), exact_ahead(4, 0)) == (Fraction(15, 16), Fraction(31, 32))
    assert stops("0.9375", 3, 0)
    assert not stops("0.93750000000000001", 3, 0)
    assert not stops("0.97", 4, 0)
    assert stops("0.97", EXACT, EXACT // 2)
    assert stops("0.97", 10 * EXACT, 9 * EXACT)
    assert not stops("0.97", 10 * EXACT, 10 * EXACT - 20)


@given(answers=st.lists(st.sampled_from("ABC"), min_size=1, max_size=12), lead=st.integers(1, 5))
def test_lead_counts_how_far_the_winner_is_ahead(answers: list[str], lead: int) -> None:
    counts = sorted((answers.count(a) for a in "ABC"), reverse=True)
    now = standing(list(answers), ["end"] * len(answers), 3)
    assert parse_stop(f"lead:{lead}").stops(now) == (counts[0] - counts[1] >= lead)


@pytest.mark.parametrize("rule", ["overtake", "beta:0.8", "beta:0.95", "lead:2", "none"])
@given(
    answers=st.lists(st.sampled_from("ABC"), min_size=1, max_size=9),
    weight=st.floats(1e-3, 1e3),
    outstanding=st.integers(0, 3),
)
def test_equal_weights_are_a_count(rule: str, answers: list[str], weight: float, outstanding: int) -> None:
    ends, stop = ["end"] * len(answers), parse_stop(rule)
    weighed = standing(list(answers), ends, outstanding, [weight] * len(answers), weight)
    plain = standing(list(answers), ends, outstanding)
    assert weighed.lead == pytest.approx(plain.lead)
    if abs(plain.lead - round(plain.lead)) == 0 and rule.startswith(("beta", "none")):
        assert stop.stops(weighed) == stop.stops(plain)


def test_unequal_weights_are_worth_fewer_ballots() -> None:
    now = standing(["A", "A", "B"], ["end"] * 3, 3, [1.0, 0.5, 0.5])
    assert (now.first + now.second) / now.unit == pytest.approx(2.0**2 / 1.5)  # (Σw)² / Σw²
    assert now.lead == pytest.approx(1.0 * 2.0 / 1.5)
    nothing = standing(["A", "A"], ["end"] * 2, 1, [0.0, 0.0])
    assert nothing.lead == 0
    assert not parse_stop("beta:0.6").stops(nothing)


@pytest.mark.parametrize("rule", ["none", "overtake", "beta:0.95", "lead:3"])
def test_a_rule_is_named_by_its_text_and_ends_with_the_last_ballot(rule: str) -> None:
    stop = parse_stop(f" {rule} ")
    assert isinstance(stop, StopRule)
    assert stop.spec == rule
    assert parse_stop(stop.spec) == stop
    assert stop.stops(Standing(1, 1, 0))
    assert not stop.stops(Standing(1, 1, 4))
    assert not stop.stops(Standing(0, 0, 4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown; known are none, overtake, beta:θ"),
        ("early", "unknown"),
        ("Lead:3", "unknown"),
        ("overtake:3", "takes no number"),
        ("beta", "between 0.5 and 1"),
        ("beta:0.5", "between 0.5 and 1"),
        ("beta:1", "between 0.5 and 1"),
        ("beta:1/0", "between 0.5 and 1"),
        ("beta:nan", "between 0.5 and 1"),
        ("beta:95%", "between 0.5 and 1"),
        ("lead", "from 1 to 1024"),
        ("lead:0", "from 1 to 1024"),
        ("lead:-1", "from 1 to 1024"),
        ("lead:2.5", "from 1 to 1024"),
        ("lead:1025", "from 1 to 1024"),
        ("lead:²", "from 1 to 1024"),
    ],
)
def test_a_rule_that_does_not_exist_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parse_stop(text)
