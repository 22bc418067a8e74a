"""A calibrated confidence from answers of a run, for one level of effort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from entropix.errors import ParameterError, TaskError
from entropix.evaluate.alternatives import base_of
from entropix.evaluate.calibration import FEWEST, Held, fit, held_out
from entropix.evaluate.code import UNGRADED
from entropix.evaluate.replay import Rule, ballots_of, evidence_of, replayed
from entropix.evaluate.specs import Spec
from entropix.policies import parse_spec
from entropix.profiles import Profile
from entropix.profiles.confidence import Calibration, Setting
from entropix.search.effort import LEVELS, POLICY
from entropix.search.stopping import parse_stop

Outcome = dict[str, Any]

LEAST = 2 * FEWEST
"""Labelled answers that it takes: half of them are fitted while the others are looked at."""


def effort_spec(level: str, answer: str) -> Spec:
    """The vote that a level of effort holds about an item. answer: how the task's answers are read. Raises
    ParameterError for a level that holds none."""
    found = LEVELS.get(level)
    if found is None:
        raise ParameterError(f"effort {level!r} holds no vote, so it has no confidence to calibrate; give another one")
    lead, most = found
    vote = f"vote:n={most},answer={answer},stop=lead:{lead},first=greedy,max_sequences={lead + 1}"
    return Spec(f"effort {level}", POLICY, vote)


def outcomes_of(level: str, manifest: Mapping[str, Any], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Answers at a level of effort: those of a run that has drawn them, or made of the ballots of a whole vote and its
    greedy texts. Raises TaskError where neither is there."""
    drawn = [o for o in outcomes if o["spec"].startswith(f"effort {level}")]
    if drawn:
        return drawn
    base, found = base_of(outcomes, None), LEVELS[level]
    assert found is not None
    lead, most = found
    specs = manifest.get("specs", {})
    if parse_spec(specs.get(base, {}).get("policy", "")) != parse_spec(POLICY):
        raise TaskError(f"the ballots of {base!r} are not drawn with {POLICY}, as those of an effort are")
    greedy = next((n for n, s in specs.items() if s.get("policy") == "greedy" and not s.get("search")), None)
    if greedy is None:
        raise TaskError("the first text of an effort is greedy, and the run has no spec of policy greedy alone")
    beside = {(o["task"], o["item"], o["seed"]): {greedy: o} for o in outcomes if o["spec"] == greedy}
    # a wave is as many ballots as the rule needs to stop, so that asking after each of them stops at the same one
    rule = Rule(parse_stop(f"lead:{lead}"), most, first=greedy)
    made = []
    for o in outcomes:
        if o["spec"] == base:
            others = beside.get((o["task"], o["item"], o["seed"]))
            if (have := len(ballots_of(o, rule, others))) < most:
                raise TaskError(f"effort {level} takes up to {most} texts, and the run has {have}; give a lower effort")
            one = replayed(o, rule, f"effort {level}", others)
            made.append({**one, "prompt": o["prompt"], "graded": o.get("graded", "")})
    return made


def check_enough(answers: int) -> None:
    """Raises TaskError for fewer labelled answers than a confidence can be calibrated on."""
    if answers < LEAST:
        raise TaskError(
            f"{answers} labelled answers are too few to calibrate a confidence; at least {LEAST} are needed, better "
            "200: half of them are fitted while the others are looked at"
        )


def calibrated(outcomes: Sequence[Outcome], setting: Setting, *, risk: float = 0.1) -> tuple[Calibration, Held]:
    """A confidence fitted to all answers, and how such fits do on items left out. The first seed of a question counts;
    texts that hold no answer are left out, since nothing is answered then. Raises TaskError for too few, and where
    all are right or wrong."""
    first: dict[str, Outcome] = {}
    for o in sorted(outcomes, key=lambda o: o["seed"]):
        if o["answer"] is not None and o.get("graded") != UNGRADED:
            first.setdefault(o["prompt"], o)
    check_enough(len(first))
    evidence = [evidence_of(o, Rule()) for o in first.values()]
    right = [bool(o["right"]) for o in first.values()]
    task = "+".join(dict.fromkeys(o["task"] for o in first.values()))
    return fit(evidence, right, list(first), setting=setting, task=task), held_out(evidence, right, risk=risk)


def with_confidence(profile: Profile, name: str, made: Calibration) -> Profile:
    """The profile with a calibration in the place of an earlier one of the same setting. name: of the model, which the
    profile of one that has not been measured takes."""
    others = [one for one in profile.confidences if one.setting != made.setting]
    return replace(profile, name=name if profile.source == "generic" else profile.name, confidences=[*others, made])
