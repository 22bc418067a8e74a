"""Profiles: measured, saved, found, and refused when broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import ParameterError, ProfileError, PromptError
from entropix.profiles import Profile, calibrate, default_prompts, find, generic, library, named, shipped

SHIPPED = ("SmolLM2-135M-Instruct", "Gemma-3-270M", "Qwen2.5-Coder-0.5B-Instruct")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(library, "user_directory", lambda: tmp_path / "profiles")
    return tmp_path / "profiles"


def measured(engine: ScriptedEngine | None = None, **values: Any) -> Profile:
    return calibrate(engine or ScriptedEngine(hashed(2.0)), ["a", "b", "c"], tokens=30, **values)


def test_quantiles_are_those_of_the_model_s_own_text() -> None:
    profile = measured()
    q = profile.quantiles["entropy"]
    assert profile.thresholds.entropy_low == q["50"]
    assert profile.thresholds.entropy_high == q["95"]
    assert profile.thresholds.varentropy_low == profile.quantiles["varentropy"]["50"]
    assert list(q.values()) == sorted(q.values())
    assert profile.tokens == 90
    assert set(profile.thresholds.attention) == {"entropy", "varentropy", "agreement", "interaction"}
    assert measured() == profile, "the same model and seed measure the same"
    assert measured(low=30, high=80).thresholds.entropy_high == profile.quantiles["entropy"]["80"]


def test_an_engine_without_attention_has_a_profile_without() -> None:
    assert measured(ScriptedEngine(hashed(2.0), attention=False)).thresholds.attention == {}


def test_a_certain_model_still_has_ordered_thresholds() -> None:
    engine = ScriptedEngine(lambda tokens: np.eye(260)[65] * 400)
    t = measured(engine).thresholds
    assert 0 <= t.entropy_low < t.entropy_high
    assert 0 <= t.varentropy_low < t.varentropy_high


def test_impossible_calibrations_are_refused() -> None:
    with pytest.raises(PromptError):
        calibrate(ScriptedEngine(), [])
    with pytest.raises(ParameterError, match="low"):
        calibrate(ScriptedEngine(), ["a"], low=90, high=10)


def test_progress_only_grows_and_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    measured(progress=lambda done, total: seen.append((done, total)))
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    assert seen[-1] == (90, 90)


def test_a_profile_survives_saving(tmp_path: Path) -> None:
    profile = measured(name="modèle 🙂")
    path = profile.save(tmp_path / "deep" / "p.json")
    loaded = Profile.load(path)
    assert loaded.source == str(path)
    assert loaded.thresholds == profile.thresholds
    assert loaded.name == "modèle 🙂"
    assert list(tmp_path.rglob("*.partial")) == []


def test_a_profile_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="file"):
        measured().save(tmp_path / "file" / "p.json")


def test_saving_to_a_device_does_not_replace_it(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(ProfileError, match=r"/dev/full.*[Nn]o space"):
        measured().save(full)
    assert full.is_char_device()


def broken(**changes: Any) -> str:
    profile = {
        "schema": "entropix.profile/1", "name": "x", "fingerprint": "f", "vocabulary": 5,
        "thresholds": {
            "entropy_low": 0.1, "entropy_high": 1, "varentropy_low": 0.1, "varentropy_high": 1, "attention": {},
        },
    }  # fmt: skip
    for key, value in changes.items():
        target = profile["thresholds"] if key in profile["thresholds"] else profile  # type: ignore[operator]
        if value is None:
            del target[key]  # type: ignore[attr-defined]
        else:
            target[key] = value  # type: ignore[index]
    return json.dumps(profile)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "schema"),
        (broken(schema="other/9"), "schema"),
        (broken(fingerprint=None), "fingerprint"),
        (broken(entropy_low=None), "entropy_low"),
        (broken(entropy_low=2), "low < high"),
        (broken(varentropy_high="wide"), "wrong kind"),
        (broken(attention={"entropy": [0.5]}), "wrong kind"),
        (broken(attention={"entropy": [0.5, -1]}), "negative"),
        (broken(vocabulary="many"), "wrong kind"),
    ],
)
def test_broken_profiles_name_the_file_and_the_fault(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ProfileError, match=words) as caught:
        Profile.load(path)
    assert "bad.json" in str(caught.value)


def test_a_profile_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not JSON"):
        Profile.load(tmp_path / "p.json")
    with pytest.raises(ProfileError, match="does not exist"):
        Profile.load(tmp_path / "none.json")


def test_the_user_s_own_profile_comes_first_and_a_stranger_gets_the_generic_one(home: Path) -> None:
    info = ScriptedEngine().info
    assert find(info).source == "generic"
    measured(name="mine").save(home / "mine.json")
    assert find(info).name == "mine"
    assert named("mine").fingerprint == info.fingerprint
    with pytest.raises(ProfileError, match="mine"):
        named("yours")


def test_the_generic_profile_scales_with_the_vocabulary() -> None:
    info = ScriptedEngine().info
    t = generic(info).thresholds
    assert 0 < t.entropy_low < t.entropy_high < 2.5


def test_the_measured_models_ship() -> None:
    found = {p.name: p for p in shipped()}
    assert set(SHIPPED) <= set(found)
    for profile in found.values():
        assert profile.tokens >= 1000
        assert len(profile.thresholds.attention) == 4
        assert profile.prompts
    assert len({p.fingerprint for p in found.values()}) == len(found)
    assert len(default_prompts()) >= 32


def test_both_engines_find_the_shipped_profile(smollm2_engine: Engine) -> None:
    assert find(smollm2_engine.info).name == "SmolLM2-135M-Instruct"
