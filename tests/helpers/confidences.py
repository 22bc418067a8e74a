"""Calibrations made by hand, for the scripted model's votes."""

from __future__ import annotations

import dataclasses
from typing import Any

import entropix
from entropix.engines.scripted import Script, ScriptedEngine
from entropix.model.confidence import template_digest
from entropix.profiles.confidence import Bound, Calibration, Setting

MEDIUM = "lead:3 of 16, greedy first"


def calibration(threshold: float | None = 0.5, **changed: str) -> Calibration:
    """Of effort medium: agreement 3 of 3 gives about 0.88, and a risk of 10 % needs `threshold`."""
    engine = ScriptedEngine()
    template = template_digest(engine.tokenizer)
    made = Setting(engine.info.fingerprint, engine.info.name, template, "sample", MEDIUM)
    return Calibration(
        setting=dataclasses.replace(made, **changed),
        task="sums",
        items=tuple(map(str, range(120))),
        features=("agreement",),
        centre=(0.0,),
        scale=(1.0,),
        slope=(1.0,),
        intercept=0.0,
        bounds=(Bound(0.1, 0.05, threshold, 40 if threshold else 0, 0),),
    )


def calibrated(script: Script, *made: Calibration, **values: Any) -> entropix.Model:
    """The scripted model whose profile holds these calibrations."""
    model = entropix.Model(ScriptedEngine(script, **values))
    return entropix.Model(model.engine, dataclasses.replace(model.profile, confidences=list(made)))
