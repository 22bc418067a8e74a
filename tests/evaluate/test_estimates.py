"""Estimators on stored outcomes: the values of the answer itself, and what they are worth against correctness."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.evaluate import Store, evaluate, load_task, markdown, summarise, units
from entropix.evaluate import statistics as st
from entropix.evaluate.estimates import judge, observed_beside, uncertainties_of
from entropix.evaluate.specs import read_specs
from entropix.uncertainty import estimate


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of a model that says anything, one text and votes of five."""
    folder = tmp_path_factory.mktemp("run")
    questions = folder / "letters.jsonl"
    lines = [{"question": f"letter {n}?", "answer": "e"} for n in range(8)]
    questions.write_text("\n".join(map(json.dumps, lines)))
    task = load_task(f"{questions}:text")
    specs = read_specs(["one = sample", "vote 5 = sample | vote:n=5,stop=none,answer=text"])
    model = Model(ScriptedEngine(hashed(sharpness=1.0)))
    manifest = {"model": "m", "fingerprint": "f", "max_tokens": 6, "budget": None, "tasks": {}, "specs": {}}
    with Store(folder / "out", manifest) as store:
        evaluate(model, units([task], specs, [1]), store, max_tokens=6)
        return [json.loads(json.dumps(o)) for o in store.outcomes.values()]


def test_an_outcome_keeps_the_uncertainties_of_its_answer_and_they_can_be_made_again_of_its_texts(
    outcomes: list[dict[str, Any]],
) -> None:
    for outcome in outcomes:
        kept = uncertainties_of(outcome)
        made = uncertainties_of({k: v for k, v in outcome.items() if k != "uncertainties"})
        assert {"msp", "ccp", "bottom-window", "mean-token-entropy"} <= set(kept)
        assert ("answer-span" in kept) <= (outcome["answer"] is not None)
        assert made == pytest.approx(kept, abs=1e-4)
        assert ("cocoa-mte" in kept) == outcome["spec"].startswith("vote")


def test_the_greedy_text_is_judged_with_the_samples_of_another_spec_beside_it(outcomes: list[dict[str, Any]]) -> None:
    by_spec = {o["spec"]: o for o in outcomes if o["item"] == outcomes[0]["item"]}
    seen = observed_beside(by_spec["one"], by_spec["vote 5"])
    assert (len(seen.others), seen.text.answer) == (5, by_spec["one"]["answer"])
    assert estimate("cocoa-msp", seen) is not None


def test_what_a_run_of_before_says_of_its_answers_is_read_off_its_signals(outcomes: list[dict[str, Any]]) -> None:
    one = next(o for o in outcomes if o["spec"] == "one")
    before = {k: v for k, v in one.items() if k not in ("texts", "uncertainties")}
    found = uncertainties_of(before)
    assert found["msp"] == pytest.approx(one["uncertainties"]["msp"], abs=1e-4)
    assert found["mean-token-entropy"] == pytest.approx(one["uncertainties"]["mean-token-entropy"])
    assert "ccp" not in found


def outcome(item: int, right: bool, **uncertainties: float) -> dict[str, Any]:
    return {"item": str(item), "right": right, "uncertainties": uncertainties}


def test_an_estimator_that_knows_all_separates_all_and_an_answer_without_a_value_is_least_sure() -> None:
    made = [outcome(n, n % 2 == 0, msp=float(n % 2), length=5.0) for n in range(20)]
    made += [outcome(20, False, length=5.0), outcome(21, True, length=5.0, msp=0.5)]
    found = {j.name: j for j in judge(made)}
    assert set(found) == {"length", "msp"}
    assert (found["msp"].auroc.value, found["msp"].prr.value, found["msp"].known) == (1.0, pytest.approx(1.0), 21)
    assert (found["length"].auroc.value, found["length"].prr.value) == (0.5, pytest.approx(0.0, abs=1e-9))
    assert found["msp"].aurc < found["length"].aurc


def test_a_value_that_is_no_number_ranks_as_one_that_is_not_known() -> None:
    made = [outcome(n, n % 2 == 0, length=1.0, msp=float(n % 2)) for n in range(20)]
    odd, none = ([*made, outcome(20, False, length=1.0, **given)] for given in ({"msp": math.nan}, {}))
    assert [(j.name, j.known, j.auroc, j.prr, j.aurc) for j in judge(odd)] == [
        (j.name, j.known, j.auroc, j.prr, j.aurc) for j in judge(none)
    ]
    assert next(j for j in judge(odd) if j.name == "msp").auroc.value == 1.0


def test_an_estimator_that_is_known_for_few_is_not_judged() -> None:
    made = [outcome(n, n % 2 == 0, length=1.0, **({"ccp": 1.0} if n < 4 else {})) for n in range(20)]
    assert [j.name for j in judge(made)] == ["length"]


def test_the_interval_of_prr_holds_its_value_and_narrows_with_the_data() -> None:
    rng = np.random.default_rng(5)
    widths = []
    for n in (40, 400):
        right = rng.random(n) < 0.6
        score = rng.standard_normal(n) + right
        found = st.prr_interval(score, right, np.arange(n))
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_the_report_shows_every_estimator_beside_length_and_msp(outcomes: list[dict[str, Any]]) -> None:
    # any text is as right as another here; alternate so that there is something to tell apart
    graded = [{**o, "right": n % 2 == 0} for n, o in enumerate(outcomes)]
    page = markdown(summarise(graded), {"tasks": {}})
    rows = [line for line in page.splitlines() if line.startswith("| vote 5 |")]
    for name in ("length", "msp", "cocoa-msp", "semantic-entropy", "ccp"):
        assert any(f"| {name} |" in row for row in rows)
