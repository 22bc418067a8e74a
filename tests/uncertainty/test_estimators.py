"""Estimators: their formulas on any steps, what they leave out, and that nothing is computed before it is asked for."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropix import Model, Result
from entropix.answers.spans import Likelihood
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import ParameterError
from entropix.types import Action, Candidate, Regime, Step
from entropix.uncertainty import ESTIMATORS, Estimator, Needs, Observed, StepsReading, Uncertainties, estimate
from entropix.uncertainty.claims import claim_of, position

LABELS = ("7", " 7", "8", " Paris", "paris", " Rome", "!", " the", "A", "B", " 1,000", "1000", "🙂", "")


def step(index: int, logprob: float | None, entropy: float | None = 0.5, leading: Any = (), label: str = "x") -> Step:
    return Step(
        index, index, index, label, label, Regime.FLOW, Action.SAMPLE, entropy, logprob=logprob, leading=leading
    )


logprobs = st.one_of(st.none(), st.floats(-30, 0))
candidates = st.lists(
    st.tuples(st.sampled_from(LABELS), st.floats(1e-6, 1)).map(lambda c: Candidate(99, c[0], c[1], 0.0)), max_size=6
).map(tuple)
steps = st.lists(
    st.builds(step, st.integers(0, 9), logprobs, st.one_of(st.none(), st.floats(0, 12)), candidates,
              st.sampled_from(LABELS)),
    max_size=30,
)  # fmt: skip
answers = st.one_of(st.none(), st.sampled_from(["7", "8", "9"]))
readings = st.builds(lambda s, a, e: StepsReading(s, a, e), steps, answers, st.sampled_from(["end", "length"]))
seen = st.builds(lambda text, others: Observed(text, tuple(others)), readings, st.lists(readings, max_size=6))


@given(steps)
def test_what_is_read_off_one_text_is_its_formula(drawn: list[Step]) -> None:
    one = Observed(StepsReading(drawn))
    own = [s.logprob for s in drawn if s.logprob is not None]
    entropies = [s.entropy for s in drawn if s.entropy is not None]
    assert estimate("length", one) == len(drawn)
    if not own:
        assert estimate("msp", one) is None
        assert estimate("perplexity", one) is None
    else:
        assert estimate("msp", one) == pytest.approx(-sum(own), abs=1e-5)
        assert estimate("perplexity", one) == pytest.approx(-sum(own) / len(own), abs=1e-5)
    mean = sum(entropies) / len(entropies) if entropies else None
    assert estimate("mean-token-entropy", one) == (None if mean is None else pytest.approx(mean))


@given(seen)
def test_an_uncertainty_is_a_finite_number_that_keeps_its_bounds_or_is_absent(given_: Observed) -> None:
    found = dict(Uncertainties(lambda: given_))
    assert all(math.isfinite(value) for value in found.values())
    n = len(given_.texts)
    for name, value in found.items():
        if name not in ("bottom-window", "semantic-entropy-p"):  # a confidence with its sign turned; a log of a sum
            assert value >= -1e-9
        if ESTIMATORS[name].unit == "share":
            assert value <= 1
    if "semantic-entropy" in found:
        assert found["semantic-entropy"] <= math.log(n) + 1e-9
    if "cocoa-msp" in found:
        assert found["cocoa-msp"] <= found["msp"] + 1e-9


@given(seen, st.randoms())
def test_the_order_of_the_other_texts_does_not_matter(given_: Observed, random: Any) -> None:
    others = list(given_.others)
    random.shuffle(others)
    again = dict(Uncertainties(lambda: replace(given_, others=tuple(others))))
    assert again == pytest.approx(dict(Uncertainties(lambda: given_)))


def texts(*given_: str | None, logprob: float = -1.0) -> Observed:
    made = [StepsReading([step(0, logprob), step(1, logprob)], answer) for answer in given_]
    return Observed(made[0], tuple(made[1:]))


def test_texts_that_agree_leave_no_uncertainty_and_texts_that_all_differ_leave_that_of_the_text() -> None:
    agree, differ = texts("7", "7", "7"), texts("7", "8", "9")
    for name in ("label-share", "cocoa-msp", "cocoa-ppl", "cocoa-mte", "semantic-entropy"):
        assert estimate(name, agree) == 0
    assert estimate("cocoa-msp", differ) == estimate("msp", differ) == 2
    assert estimate("semantic-entropy", differ) == pytest.approx(math.log(3))
    assert estimate("label-share", differ) == pytest.approx(2 / 3)


def test_two_texts_without_an_answer_do_not_agree() -> None:
    assert estimate("semantic-entropy", texts("7", None, None)) == pytest.approx(math.log(3))
    assert estimate("cocoa-msp", texts(None, None)) == 2
    assert estimate("semantic-entropy", texts(None, None)) is None
    assert estimate("label-share", texts(None, None)) is None


def test_one_text_has_no_uncertainty_of_several() -> None:
    for name, kind in ESTIMATORS.items():
        if kind.needs is not Needs.TEXT:
            assert estimate(name, texts("7")) is None


def test_the_answers_own_tokens_count_for_the_answers_span() -> None:
    spoken = [step(0, -3.0, label="so "), step(1, -0.5, label="4"), step(2, -1.5, label="2"), step(3, -9.0, label=" !")]
    read = Observed(StepsReading(spoken, "42", extract=lambda text: "42" if "42" in text else None))
    assert estimate("answer-span", read) == 2
    assert estimate("answer-span-mean", read) == 1
    assert estimate("answer-span-least", read) == 1.5
    assert estimate("answer-span", Observed(StepsReading(spoken, None))) is None


def test_the_bottom_window_is_of_the_least_sure_stretch() -> None:
    def text(*tops: float) -> Observed:
        pair = [(Candidate(0, "a", p, p), Candidate(1, "b", 1 - p, 0)) for p in tops]
        return Observed(
            StepsReading([step(n, math.log(p), leading=c) for n, (p, c) in enumerate(zip(tops, pair, strict=True))])
        )

    sure, dip = text(*[0.99] * 60), text(*[0.99] * 40, *[0.55] * 8, *[0.99] * 12)
    found = [estimate("bottom-window", seen) for seen in (sure, dip)]
    assert None not in found
    assert found[1] > found[0]  # type: ignore[operator]
    # where a constraint leaves one token, there is no confidence
    forced = step(60, 0.0, leading=(Candidate(0, "a", 1.0, 1.0),))
    assert estimate("bottom-window", Observed(StepsReading([*sure.text.steps, forced]))) == found[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (" Paris", "paris", True), ("7", " 7", True), ("1,000", "1000", True), ("007", "7", True),
        (" Paris", " Rome", False), ("7", "8", False), ("A", "B", False), ("**Yes", "yes", True),
    ],
)  # fmt: skip
def test_tokens_say_the_same_by_number_option_or_word(one: str, other: str, same: bool) -> None:
    ratio = position((one, 0.6), [(other, 0.3)])
    assert ratio == pytest.approx(0.0 if same else math.log(0.6 / 0.9))


@pytest.mark.parametrize("label", ["!", " the", "", "🙂", "\n", " of"])
def test_what_says_nothing_by_itself_counts_neither_for_nor_against(label: str) -> None:
    assert claim_of(label) is None
    assert position((label, 0.1), [("7", 0.9)]) == 0
    assert position(("7", 0.1), [(label, 0.9)]) == 0
    assert position(("7", 0.1), [(" Paris", 0.9)]) == 0


@given(st.sampled_from(LABELS), st.floats(1e-6, 1), st.lists(st.tuples(st.sampled_from(LABELS), st.floats(0, 1))))
def test_a_claims_probability_is_a_ratio_that_any_further_alternative_of_its_class_cannot_lower(
    label: str, p: float, others: list[tuple[str, float]]
) -> None:
    before = position((label, p), others)
    assert before <= 0
    assert position((label, p), [*others, (label, 0.2)]) >= before - 1e-12


def test_nothing_is_computed_before_it_is_asked_for_and_everything_once() -> None:
    made: list[int] = []

    def make() -> Observed:
        made.append(1)
        return texts("7", "8")

    found = Uncertainties(make)
    assert not made
    assert found["msp"] == 2
    assert (found["label-share"], len(dict(found)) > 5, made) == (0.5, True, [1])


def test_what_has_no_value_is_absent_and_a_name_that_there_is_not_is_said() -> None:
    found = Uncertainties(lambda: texts("7"))
    assert "label-share" not in found
    assert "nonsense" not in found
    assert found.get("label-share") is None
    with pytest.raises(ParameterError, match="no estimator 'nonsense'; known are length, msp"):
        estimate("nonsense", texts("7"))


def test_uncertainties_are_copied_and_pickled_as_their_values() -> None:
    found = Uncertainties(lambda: texts("7", "8"))
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == dict(found)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_estimator_says_what_it_is_and_what_it_costs(name: str) -> None:
    kind = ESTIMATORS[name]
    assert kind.name == name
    assert kind.summary
    assert kind.unit in ("nats", "share", "tokens")
    assert kind().cost == kind.needs.value


def test_an_estimator_of_ones_own_stands_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shout(Estimator):
        name, summary, needs, unit = "shout", "capitals of the text", Needs.TEXT, "share"

        def estimate(self, seen: Observed) -> float | None:
            return 0.25

    monkeypatch.setitem(ESTIMATORS, "shout", Shout)
    assert Uncertainties(lambda: texts("7"))["shout"] == 0.25


def answered(**options: Any) -> Result:
    model = Model(ScriptedEngine(hashed(sharpness=2.0)))
    result = model.generate("hello", policy="sample", max_tokens=12, seed=3, **options)
    assert isinstance(result, Result)
    return result


def test_the_uncertainty_of_one_text_is_one_minus_its_probability_and_says_so() -> None:
    result = answered()
    assert result.uncertainty == pytest.approx(1 - math.exp(-result.surprisal))
    assert result.uncertainties["msp"] == pytest.approx(result.surprisal, abs=1e-5)
    assert result.uncertainty_source.startswith("msp:")
    own = [s.logprob for s in result.steps if s.logprob is not None]
    assert result.token_uncertainty == pytest.approx(1 - math.exp(sum(own) / len(own)))
    assert result.uncertainties["ccp"] <= result.uncertainties["msp"] + 1e-5
    assert "label-share" not in result.uncertainties


def test_the_uncertainty_of_a_vote_is_what_its_share_leaves() -> None:
    result = answered(search="vote:n=6,stop=none,answer=text", stop=["e"])
    assert result.search is not None
    assert result.search.ballots == 6
    assert (
        result.uncertainties["label-share"] == pytest.approx(result.uncertainty) == pytest.approx(1 - result.confidence)
    )
    assert result.uncertainty_source == "label-share: 1 − the answer's share of 6 texts"
    assert result.uncertainties["answer-span"] == pytest.approx(result.uncertainties["msp"], abs=1e-5)
    assert result.uncertainties["semantic-entropy"] >= 0


def test_a_likelihood_of_no_tokens_of_the_models_own_is_none() -> None:
    assert Likelihood.of([None, None]) is None
    injected = Observed(StepsReading([step(0, None, None)]))
    assert dict(Uncertainties(lambda: injected)) == {"length": 1.0}
