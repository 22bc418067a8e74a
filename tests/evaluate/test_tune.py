"""Tuning finds what is better, goes on where it stopped, and keeps its questions out of every report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
pytest.importorskip("optuna")
from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import ParameterError, TaskError
from entropix.evaluate import Item, Spec, Store, Task, evaluate, units
from entropix.evaluate.tune import Trial, best, space, tune, tuned, with_settings
from entropix.profiles import Profile

MANIFEST: dict[str, Any] = {"model": "scripted", "tasks": {}, "specs": {}}


def scripted() -> Model:
    model = Model(ScriptedEngine(hashed(sharpness=2.0), context=512, sequences=16))
    quantiles = {"5": 0.01, "50": 0.4, "95": 2.0}
    model.profile = replace(model.profile, quantiles={"entropy": quantiles, "varentropy": quantiles})
    return model


def greedy_task(n: int = 8) -> Task:
    """Questions whose right answer is what greedy decoding says: the colder, the better."""
    with scripted() as model:
        items = []
        for k in range(n):
            text = model.generate(f"question {k}", policy="greedy", max_tokens=4).text.strip()
            items.append(Item(str(k), f"question {k}", text))
    return Task("echo", tuple(items), "text")


TASK = greedy_task()


def run(directory: Path, go_on: Callable[[], bool] = lambda: True, **options: Any) -> list[Trial]:
    with scripted() as model, Store(directory, MANIFEST) as store:
        ranges = space("sample", ["temperature=0..1.3"], model.profile)
        settings = {"trials": 10, "max_tokens": 4, **options}
        return tune(model, [TASK], "sample", ranges, store, go_on=go_on, **settings)


def test_it_finds_that_cold_is_right_here(tmp_path: Path) -> None:
    trials = run(tmp_path)
    assert trials[0].settings == {"temperature": 0.7}  # the default
    chosen = best(trials)
    assert chosen.accuracy > trials[0].accuracy
    assert chosen.settings["temperature"] < 0.5  # type: ignore[operator]


def test_a_stopped_run_asks_for_the_same_trials_again(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    left = iter(range(20))
    part = run(tmp_path / "part", lambda: next(left, None) is not None)
    assert len(part) < len(whole)
    assert run(tmp_path / "part") == whole


def test_defaults_stay_unless_something_is_more_accurate() -> None:
    assert best([Trial(0, {}, 0.5, 100), Trial(1, {}, 0.5, 10)]).number == 0
    assert best([Trial(0, {}, 0.5, 10), Trial(1, {}, 0.6, 100), Trial(2, {}, 0.6, 90)]).number == 2


def test_the_profile_is_used_kept_and_refuses_its_own_questions(tmp_path: Path) -> None:
    with scripted() as model:
        trials = [Trial(0, {"temperature": 1.0}, 0.1, 5), Trial(1, {"temperature": 0.25}, 0.9, 5)]
        profile = tuned(model.profile, "sample", trials, [TASK])
        profile.save(tmp_path / "profile.json")
        model.profile = Profile.load(tmp_path / "profile.json")
        assert model.policy("sample").temperature == 0.25  # type: ignore[attr-defined]
        assert model.policy("sample:temperature=0.5").temperature == 0.5  # type: ignore[attr-defined]
        assert model.policy("sample", temperature=0.75).temperature == 0.75  # type: ignore[attr-defined]
        assert model.policy("sample:control=random").of.temperature == 0.25  # type: ignore[attr-defined]
        assert model.policy("greedy").name == "greedy"
        other = Task("other", (*TASK.items[:1], Item("new", "a new question", "x")), "text")
        with Store(tmp_path / "run", MANIFEST) as store:
            with pytest.raises(TaskError, match=r"tuned on 1 of these 2 items.*--skip"):
                evaluate(model, units([other], [Spec("greedy", "greedy")], [1]), store)
            assert not store.outcomes
            assert (
                evaluate(model, units([replace(other, items=other.items[1:])], [Spec("g", "greedy")], [1]), store) == 1
            )


def test_regimes_begin_at_percentiles() -> None:
    with scripted() as model:
        profile = with_settings(model.profile, "entropix", {"regimes_low": 50, "regimes_high": 95, "temperature": 0.5})
    t = profile.thresholds
    assert (t.entropy_low, t.entropy_high, t.varentropy_low, t.varentropy_high) == (0.4, 2.0, 0.4, 2.0)
    assert profile.parameters == {"entropix": {"temperature": 0.5}}
    assert with_settings(profile, "sample", {"min_p": 0.1}).parameters.keys() == {"entropix", "sample"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("heat", "there is no number 'heat' to tune; there are temperature"),
        ("temperature=hot", "not of the form NAME=LOW..HIGH"),
        ("temperature=1..0", "the lower one first"),
        ("temperature=0..99", "must lie in"),
        ("regimes_low=0..50", "must lie in 20..75"),
    ],
)
def test_what_cannot_be_tuned_is_named(wanted: str, message: str) -> None:
    with scripted() as model, pytest.raises(ParameterError, match=message):
        space("entropix", [wanted], model.profile)


def test_a_profile_without_quantiles_has_no_percentiles_to_tune() -> None:
    with Model(ScriptedEngine(hashed())) as model:
        with pytest.raises(ParameterError, match="calibrate"):
            space("entropix", ["regimes_low"], model.profile)
        assert "regimes_low" not in space("entropix", [], model.profile)
        with pytest.raises(ParameterError, match="nothing to tune"):
            space("greedy", [], model.profile)
