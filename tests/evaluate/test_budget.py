"""Curves at equal tokens, smaller votes counted on a larger one, and effects of interventions, against hand counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
from entropix import Model
from entropix.engines.scripted import END, ScriptedEngine, hashed
from entropix.evaluate import Spec, Store, evaluate, load_task, summarise, units
from entropix.evaluate import statistics as st
from entropix.evaluate.budget import smaller_votes
from entropix.evaluate.specs import family_of
from entropix.evaluate.store import cost, read_outcomes

SAMPLE = "sample:temperature=0.9"
VOTES = [
    Spec("alone", SAMPLE),
    *(Spec(f"vote {n}", SAMPLE, f"vote:n={n},answer=number,stop=none") for n in (2, 4, 5)),
]


def digits(tokens: tuple[int, ...]) -> Any:
    """Says "1", "2" or "3" most of the time and ends soon, but not always before it is cut off."""
    logits = hashed(sharpness=1.0)(tokens)
    logits[[ord(c) for c in "123 "]] += 5.0
    logits[END] = 5.0
    return logits


def model() -> Model:
    return Model(ScriptedEngine(digits, context=512, sequences=16))


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Samples and votes of a scripted model that answers in digits."""
    task = load_task("arithmetic", limit=6)
    directory = tmp_path_factory.mktemp("votes")
    with Store(directory, {"model": "scripted", "tasks": {}, "specs": {}}) as store:
        evaluate(model(), units([task], VOTES, [1, 2]), store, max_tokens=8, together=5)
    found: dict[str, list[dict[str, Any]]] = {spec.name: [] for spec in VOTES}
    for o in sorted(read_outcomes(directory), key=lambda o: (o["item"], o["seed"])):
        found[o["spec"]].append(o)
    return found


def test_the_first_ballots_are_the_smaller_vote_that_would_have_been_decoded(
    votes: dict[str, list[dict[str, Any]]],
) -> None:
    derived = smaller_votes(votes["vote 5"])
    assert list(derived) == [1, 2, 4]
    ends = [end for o in votes["vote 5"] for end in o["ballot_ends"]]
    assert {"end", "length"} == set(ends)
    assert any(len(set(o["ballots"])) > 1 for o in votes["vote 5"])
    for size, name in ((1, "alone"), (2, "vote 2"), (4, "vote 4")):
        for one, other in zip(derived[size], votes[name], strict=True):
            if size > 1:  # alone, a text that was cut off is read all the same, as the only ballot of a vote is
                assert one["ballots"][:size] == other["ballots"]
            for key in ("answer", "right", "any_right"):
                assert one[key] == other[key], (size, key)
            assert cost(one) == cost(other)


def test_whoever_comes_first_to_an_item_does_not_pay_for_all(votes: dict[str, list[dict[str, Any]]]) -> None:
    """Answers of one batch share the cells of one prompt; in each spec's figures it counts once an answer."""
    prompts = {name: [o["ledger"]["prompt"] for o in found] for name, found in votes.items()}
    assert prompts["alone"] != prompts["vote 4"]
    own = {name: [cost(o) - sum(o["ballot_tokens"]) for o in found] for name, found in votes.items() if name != "alone"}
    assert own["vote 2"] == own["vote 4"] == own["vote 5"]


def test_ballots_cost_what_the_ledger_says(votes: dict[str, list[dict[str, Any]]]) -> None:
    for o in votes["vote 5"]:
        ledger = o["ledger"]
        assert sum(o["ballot_tokens"]) == o["forwarded"] - ledger["prompt"] - ledger["recomputed"]


def test_a_vote_that_stops_early_or_weighs_gives_no_smaller_votes(tmp_path: Any) -> None:
    specs = [
        Spec("early", SAMPLE, "vote:n=3,answer=text,stop=lead:1"),
        Spec("weighed", SAMPLE, "vote:n=3,answer=text,stop=none,weight=confidence"),
        Spec("filtered", SAMPLE, "vote:n=3,answer=text,stop=none,keep=0.5,floor=1"),
        Spec("tree", SAMPLE, "tree:max_sequences=3+vote:answer=text,stop=none"),
    ]
    with Store(tmp_path, {"tasks": {}, "specs": {}}) as store:
        evaluate(model(), units([load_task("arithmetic", limit=2)], specs, [1]), store, max_tokens=12)
    for spec in specs:
        found = [o for o in read_outcomes(tmp_path) if o["spec"] == spec.name]
        assert any(o["ballots"] for o in found), spec.name
        assert smaller_votes(found) == {}, spec.name


def test_outcomes_without_tokens_of_ballots_give_no_smaller_votes(votes: dict[str, list[dict[str, Any]]]) -> None:
    new = ("ballot_right", "ballot_tokens", "ballot_ends", "independent", "departed", "compared")
    old = [{k: v for k, v in o.items() if k not in new} for found in votes.values() for o in found]
    assert smaller_votes(old[-12:]) == {}
    (task,) = summarise(old).tasks
    assert [p.name for p in task.points] == ["vote 2", "vote 4", "vote 5"]
    assert len(task.rows) == 4


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("vote 8", "vote"),
        ("vote, 16", "vote"),
        ("vote 0.7 8", "vote 0.7"),
        ("vote", "vote"),
        ("entropix-2024", "entropix-2024"),
        ("sample:temperature=1", "sample:temperature=1"),
        ("8", "8"),
        ("top p 0.9", "top p 0.9"),
    ],
)
def test_a_family_is_the_name_without_a_number_that_stands_alone(name: str, family: str) -> None:
    assert family_of(name) == family


def made(spec: str, right: list[int], tokens: list[int], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "task": "t",
            "item": str(n),
            "seed": 1,
            "spec": spec,
            "right": bool(r),
            "any_right": bool(r),
            "answer": "1",
            "forwarded": t,
            "unshared": t,
            "ledger": {"shared": 0},
            "seconds": 1.0,
            "signals": {"confidence": 0.5},
            **{k: v[n] for k, v in more.items()},
        }
        for n, (r, t) in enumerate(zip(right, tokens, strict=True))
    ]


def test_equal_budget_by_hand() -> None:
    """The curve goes from 25 % at 100 tokens to 75 % at 300; the spec has 75 % at 150, where the curve has 37.5 %."""
    outcomes = [
        *made("a", [1, 1, 1, 0], [100, 200, 150, 150]),
        *made("vote 2", [1, 0, 0, 0], [100, 100, 100, 100]),
        *made("vote 8", [1, 1, 0, 1], [300, 300, 280, 320]),
        *made("cheap", [0, 0, 0, 1], [50, 50, 50, 50]),
        *made("dear", [0, 1, 1, 1], [350, 350, 350, 250]),
    ]
    (task,) = summarise(outcomes).tasks
    assert [(p.name, p.derived, p.tokens, p.accuracy.value) for p in task.points] == [
        ("vote 2", False, 100, 0.25),
        ("vote 8", False, 300, 0.75),
    ]
    a, cheap, dear = task.against
    assert (a.spec, a.family, a.found.where, a.found.curve) == ("a", "vote", "on", 0.375)
    assert a.found.difference.value == pytest.approx(0.375)
    assert a.found.difference.low < 0.375 < a.found.difference.high
    for outside, where in ((cheap, "below"), (dear, "above")):
        assert outside.found.where == where
        assert math.isnan(outside.found.curve)
        assert math.isnan(outside.found.difference.low)


def test_a_family_given_by_hand_joins_what_names_do_not() -> None:
    outcomes = [*made("x", [1, 0], [10, 10]), *made("y", [1, 1], [20, 20])]
    assert not summarise(outcomes).tasks[0].points
    assert [p.family for p in summarise(outcomes, families={"x": "f", "y": "f"}).tasks[0].points] == ["f", "f"]


def test_a_curve_is_linear_between_its_points_in_any_order_and_nothing_outside() -> None:
    tokens, accuracy = [[300.0, 100.0, 200.0]] * 5, [[0.9, 0.1, 0.5]] * 5
    found = st.curve_at([100, 150, 275, 300, 301], tokens, accuracy)
    assert found[:4] == pytest.approx([0.1, 0.3, 0.8, 0.9])
    assert np.isnan(found[4])
    assert st.curve_at([7.0], [[7.0, 7.0, 9.0]], [[0.2, 0.4, 1.0]]) == pytest.approx(0.3)


def test_an_equal_budget_interval_is_that_of_the_difference_when_tokens_are_fixed() -> None:
    """With the same tokens for every item the curve is a fixed mixture of its ends, and the difference a mean over
    items, whose standard error is known."""
    rng = np.random.default_rng(3)
    ours, low, high = rng.random((3, 400)) < np.array([[0.6], [0.3], [0.7]])
    one = np.ones(400)
    found = st.at_budget(ours, 200 * one, one, [low, high], [100 * one, 300 * one])
    differences = ours - (low.astype(float) + high) / 2
    assert found.difference.value == pytest.approx(differences.mean())
    half = 1.96 * differences.std(ddof=1) / math.sqrt(400)
    assert found.difference.low == pytest.approx(differences.mean() - half, abs=0.008)
    assert found.difference.high == pytest.approx(differences.mean() + half, abs=0.008)
    assert (found.where, found.inside) == ("on", 1.0)


def test_an_equal_budget_interval_covers_the_truth() -> None:
    """Tokens and accuracies vary by item: about 19 of 20 intervals hold the difference the draws were made with."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(40):
        hard = rng.random(80)
        right = rng.random((3, 80)) < 1 - hard * np.array([[0.6], [0.9], [0.5]])  # means 0.7, 0.55, 0.75
        tokens = rng.poisson(np.array([[200], [100], [300]]) * (0.5 + hard))
        found = st.at_budget(right[0], tokens[0], np.ones(80), right[1:], tokens[1:])
        held += found.difference.low <= 0.7 - 0.65 <= found.difference.high
    assert held >= 35


def test_an_interval_needs_a_place_on_the_curve_in_nearly_every_resample() -> None:
    one = np.ones(40)
    varying = np.arange(40) * 10.0  # mean 195, where the curve begins: half of the resamples lie below it
    found = st.at_budget(one, varying, one, [0 * one, one], [195 * one, 900 * one])
    assert 0.3 < found.inside < 0.7
    assert found.difference.value == 1
    assert math.isnan(found.difference.low)


def test_effects_are_split_by_what_was_done() -> None:
    """Injection: on 4 of 8 items, where the spec is right on 1 and the baseline on 3."""
    base = made("greedy", [1, 1, 1, 0, 1, 0, 0, 1], [10] * 8)
    spec = made("e", [1, 0, 0, 0, 1, 1, 0, 1], [10] * 8, injected=[3, 3, 6, 3, 0, 0, 0, 0])
    (task,) = summarise([*base, *spec]).tasks
    none, some = task.effects
    assert (some.kind, some.amount, some.answers, some.accuracy, some.baseline) == (
        "injected tokens",
        "some",
        4,
        0.25,
        0.75,
    )
    assert (some.helped, some.hurt, some.difference.value) == (0, 2, -0.5)
    assert (none.amount, none.answers, none.helped, none.hurt) == ("none", 4, 1, 0)


def test_effects_that_nearly_every_answer_had_are_split_at_their_median() -> None:
    base = made("greedy", [1] * 11, [10] * 11)
    spec = made("s", [1] * 11, [10] * 11, departed=[0, *range(1, 11)])
    (task,) = summarise([*base, *spec]).tasks
    assert [(e.amount, e.answers) for e in task.effects] == [("at most 5", 6), ("more than 5", 5)]


def test_a_smaller_vote_of_code_is_graded_as_its_answer_was() -> None:
    """Its right answer is a program's behaviour, so what was graded when it ran is what counts."""
    o = {
        **{"task": "t", "item": "1", "seed": 1, "spec": "vote", "unshared": 28, "ledger": {"shared": 0}},
        "independent": True,
        "ballots": ["def a", "def b", "def b"],
        "ballot_right": [True, False, False],
        "ballot_tokens": [5, 6, 7],
        "ballot_ends": ["end", "end", "end"],
        "forwarded": 28,
        "any_right": True,
        "right": False,
        "answer": "def b",
    }
    one, two = (found[0] for found in smaller_votes([o]).values())
    assert (one["right"], one["forwarded"]) == (True, 15)
    assert (two["answer"], two["right"], two["forwarded"]) == ("def a", True, 21)
