"""A stored confidence gives the same numbers again, and says where it does not hold."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entropix.errors import ProfileError
from entropix.profiles import Profile
from entropix.profiles.confidence import Bound, Calibration, Evidence, Setting, between
from entropix.types import Thresholds

SETTING = Setting("f00", "m.Q4_K_M.gguf", "t00", "sample:temperature=0.7", "lead:3 of 16")
MADE = Calibration(
    SETTING,
    "svamp",
    ("a", "b"),
    ("agreement", "margin", "span", "length"),
    (1.0, 0.5, -0.2, 4.0),
    (0.5, 0.25, 0.1, 0.5),
    (1.0, 0.5, 0.25, -0.5),
    0.3,
    bounds=(Bound(0.1, 0.05, None, 0, 0), Bound(0.2, 0.05, 0.75, 20, 1)),
)


def test_a_confidence_is_the_logistic_function_of_standardised_features() -> None:
    found = MADE.confidence(Evidence(6, 1, 7, -0.1, 100))
    agreement, margin = math.log(6.5 / 1.5), math.log(6.5 / 1.5)
    z = 0.3 + (agreement - 1) / 0.5 + 0.5 * (margin - 0.5) / 0.25 + 0.25 * (-0.1 + 0.2) / 0.1
    z -= 0.5 * (math.log(100) - 4) / 0.5
    assert found == pytest.approx(1 / (1 + math.exp(-z)))
    assert MADE.confidence(Evidence(1e6, 0, 1e6, 0, 1)) <= 1
    assert MADE.confidence(Evidence(0, 0, 1e6, -1e4, 1e6)) >= 0


def test_a_profile_keeps_confidences(tmp_path: Path) -> None:
    profile = Profile("p", "f00", 10, Thresholds(0.1, 1, 0.1, 1), confidences=[MADE])
    loaded = Profile.load(profile.save(tmp_path / "p.json"))
    assert loaded.confidences == [MADE]


def test_steps_are_a_rising_line_flat_outside() -> None:
    steps = ((0.2, 0.1), (0.4, 0.5), (0.8, 0.9))
    assert [between(x, steps) for x in (0, 0.2, 0.3, 0.4, 0.6, 0.8, 1)] == pytest.approx(
        [0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9]
    )
    bent = replace(MADE, steps=((0.0, 0.25), (1.0, 0.25)))
    assert bent.confidence(Evidence(3, 1, 4, -1, 10)) == 0.25


def test_a_feature_the_vote_does_not_know_is_named() -> None:
    with pytest.raises(ProfileError, match="uses 'span', which this vote does not know"):
        MADE.confidence(Evidence(3, 1, 4, None, 10))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("fingerprint", "f01", "model 'f01' instead of 'f00'"),
        ("file", "m.Q8_0.gguf", "file 'm.Q8_0.gguf' instead of 'm.Q4_K_M.gguf'"),
        ("template", "t01", "chat template 't01'"),
        ("policy", "greedy", "policy 'greedy'"),
        ("rule", "lead:2 of 8", "rule 'lead:2 of 8' instead of 'lead:3 of 16'"),
    ],
)
def test_another_setting_is_said(name: str, value: str, said: str) -> None:
    found = MADE.mismatch(replace(SETTING, **{name: value}))
    assert said in found
    assert "entropix calibrate" in found
    assert MADE.mismatch(SETTING) == ""


def test_a_wished_risk_takes_the_bound_of_the_next_smaller_one() -> None:
    assert MADE.bound(0.2).threshold == 0.75
    assert MADE.bound(0.5).threshold == 0.75
    assert MADE.bound(0.15).threshold is None
    for risk in (0.05, 0, 1, -1, math.nan):
        with pytest.raises(ProfileError, match=r"known|calibrated for: 0.1, 0.2"):
            MADE.bound(risk)


@pytest.mark.parametrize(
    "change",
    [
        {"features": ["mood", "margin", "span", "length"]},
        {"features": []},
        {"scale": [1, 1, 1, 0]},
        {"slope": [1.0]},
        {"centre": [1, 1, 1, None]},
        {"intercept": "high"},
        {"steps": [[0.1, 0.5], [0.2, 0.4]]},
        {"setting": {"fingerprint": "f00"}},
        {"bounds": [{"risk": 0.1}]},
    ],
)
def test_a_damaged_confidence_is_refused_by_name_of_the_file(tmp_path: Path, change: dict[str, Any]) -> None:
    path = Profile("p", "f00", 10, Thresholds(0.1, 1, 0.1, 1), confidences=[MADE]).save(tmp_path / "p.json")
    data = json.loads(path.read_text())
    data["confidences"][0] |= change
    path.write_text(json.dumps(data))
    with pytest.raises(ProfileError, match=r"p\.json"):
        Profile.load(path)
