"""A vote's confidence is the calibrated one where a calibration holds, and a risk is kept or the answer abstains."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

import entropix
from entropix.engines.scripted import saying
from entropix.errors import EntropixError, ParameterError, ProfileError
from entropix.trace.records import result_from, result_record, to_json
from helpers.confidences import calibrated, calibration
from helpers.scripts import seven_or_on_and_on

SURE = saying("The answer is 9.", certainty=20)


def test_an_answer_has_the_calibrated_confidence_and_says_from_what() -> None:
    result = calibrated(SURE, calibration()).ask("How many?", seed=1)
    assert result.confidence == pytest.approx(7 / 8)  # odds (3 + ½) / ½
    assert result.share == 1
    assert result.confidence_source == "3 of 3 texts agree, lead:3; calibrated on 120 items of sums"
    assert (result.abstained, result.risk_bound) == (False, None)
    assert result.search is not None
    assert not result.search.stopped


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "f0"}, "model"),
        ({"file": "scripted.Q8_0"}, "file 'scripted' instead of 'scripted.Q8_0'"),
        ({"template": "t0"}, "chat template"),
        ({"policy": "sample:temperature=1.0"}, "policy 'sample' instead of 'sample:temperature=1.0'"),
        ({"rule": "lead:2 of 8, greedy first"}, "rule 'lead:3 of 16, greedy first' instead of"),
    ],
)
def test_a_calibration_of_another_setting_is_not_used_and_says_in_what_it_differs(
    changed: dict[str, str], said: str
) -> None:
    model = calibrated(SURE, calibration(**changed))
    result = model.ask("How many?", seed=1)
    assert result.confidence == 1
    assert "share of the ballots, not calibrated" in result.confidence_source
    assert any(said in note and "calibrate" in note for note in result.notes)
    with pytest.raises(ParameterError, match=r"risk of 0\.1 cannot be kept") as refused:
        model.ask("How many?", risk=0.1)
    assert said in str(refused.value)


def test_of_several_calibrations_the_one_that_fits_is_used() -> None:
    result = calibrated(SURE, calibration(rule="lead:2 of 8"), calibration()).ask("How many?", seed=1)
    assert result.calibrated is not None
    assert not any("not calibrated" in note for note in result.notes)


def test_one_text_has_no_calibrated_confidence() -> None:
    result = calibrated(SURE, calibration()).ask("Why is the sky blue?", seed=1)
    assert result.calibrated is None
    assert not any("not calibrated" in note for note in result.notes)


def test_an_answer_is_given_where_its_risk_is_kept() -> None:
    for risk in (0.1, "10%", 0.12):
        result = calibrated(SURE, calibration()).ask("How many?", risk=risk, seed=1)
        assert (result.answer, result.abstained, result.risk_bound) == ("9", False, 0.1)


def test_an_answer_that_is_not_sure_enough_abstains_and_keeps_its_text() -> None:
    result = calibrated(SURE, calibration(threshold=0.95)).ask("How many?", risk="10%", seed=1)
    assert (result.answer, result.text, result.abstained) == ("9", "The answer is 9.", True)
    assert result.risk_bound is None
    assert any("88% sure, and 95% are needed" in note for note in result.notes)


def test_where_no_threshold_keeps_the_risk_every_answer_abstains_and_that_is_said() -> None:
    result = calibrated(SURE, calibration(threshold=None)).ask("How many?", risk="10%", seed=1)
    assert result.abstained
    assert any("no confidence keeps a risk of 0.1" in note for note in result.notes)


def test_an_open_question_and_texts_without_an_answer_abstain() -> None:
    model = calibrated(SURE, calibration())
    assert model.ask("Why is the sky blue?", risk=0.1, seed=1).abstained
    silent = calibrated(saying("I cannot say.", certainty=20), calibration())
    assert silent.ask("How many?", risk=0.1, answer="number", max_tokens=20, seed=1).abstained


def test_one_question_of_a_batch_abstains_alone() -> None:
    found = calibrated(SURE, calibration()).ask(["How many?", "Why is the sky blue?"], risk=0.1, seed=1)
    assert [result.abstained for result in found] == [False, True]


def test_a_vote_that_was_stopped_is_none_that_the_calibration_is_for() -> None:
    """Two of three texts have ended and agree, and the rule would have drawn more."""
    stream = calibrated(seven_or_on_and_on, calibration()).stream("How many?", effort="medium", seed=2, risk=0.1)
    looks = itertools.count()
    stream.watch = lambda: next(looks) < 8
    for _ in stream:
        pass
    result = stream.result
    assert result.search is not None
    assert (result.answer, result.search.agreeing, result.search.stopped) == ("7", 2, True)
    assert (result.calibrated, result.abstained, result.risk_bound) == (None, True, None)
    assert result.confidence_source == "2 of 2 texts agree; share of the ballots, not calibrated"
    assert any("stopped before its rule ended it" in note for note in result.notes)
    again = result_from(json.loads(to_json(result_record(result))), {}, result.steps)
    assert again.search is not None
    assert again.search.stopped


@pytest.mark.parametrize("risk", [0, 1, -0.1, "0%", "100%", "ten", "", float("nan"), True])
def test_a_risk_out_of_range_is_refused_before_anything_is_decoded(risk: Any) -> None:
    model = calibrated(SURE, calibration())
    with pytest.raises(ParameterError, match=r"between 0 and 1, as 10% or 0\.1"):
        model.ask("How many?", risk=risk)
    assert model.engine.forwards == 0  # type: ignore[attr-defined]


def test_a_risk_smaller_than_all_that_were_fitted_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"confidence was calibrated for: 0\.1"):
        calibrated(SURE, calibration()).ask("How many?", risk=0.01)


def test_a_risk_without_a_calibration_names_the_command_that_makes_one() -> None:
    with pytest.raises(ParameterError, match="entropix calibrate MODEL --answers TASK"):
        calibrated(SURE).ask("How many?", risk=0.1)


@pytest.mark.parametrize("options", [{"effort": "none"}, {}, {"search": "tree"}])
def test_a_risk_without_a_vote_of_samples_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(EntropixError, match="give effort low, medium or high"):
        calibrated(SURE, calibration()).generate("How many?", risk=0.1, **options)


def test_traces_and_json_carry_what_was_judged() -> None:
    result = calibrated(SURE, calibration()).ask("How many?", risk=0.1, seed=1)
    record = json.loads(to_json(result_record(result)))
    assert (record["abstained"], record["risk_bound"]) == (False, 0.1)
    again = result_from(record, {}, result.steps)
    assert again.confidence_source == result.confidence_source
    assert again.confidence == pytest.approx(result.confidence, abs=1e-5)
    assert (again.abstained, again.risk_bound) == (False, 0.1)


def test_a_real_engine_is_calibrated_by_the_template_it_renders(engine: Any) -> None:
    model = entropix.Model(engine)
    plan = entropix.Model(engine).request("How many?", effort="medium").search
    setting = model.setting(model.policy("sample:temperature=0.7"), plan)
    assert setting is not None
    assert (setting.policy, setting.file) == ("sample", model.info.name)
    assert bool(setting.template) == engine.tokenizer.has_chat_template
