"""How sure an answer is: the calibration of the profile that holds for how it was found, and the risk it keeps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from entropix.answers import extractor
from entropix.answers.spans import branch_texts
from entropix.engines import Tokenizer
from entropix.errors import ParameterError, ProfileError, PromptError
from entropix.parameters import spec_of
from entropix.policies import Policy
from entropix.profiles.confidence import HOW, Calibration, Evidence, Setting
from entropix.search import SearchPlan
from entropix.types import ModelInfo, SearchRecord

STOPPED = "the vote was stopped before its rule ended it, so its confidence is the share of the ballots, not calibrated"
"""The note of one that a calibration would have been for."""

PROBE = ({"role": "user", "content": "question"},)
"""The conversation whose tokens stand for a chat template."""


@dataclass(frozen=True)
class Verdict:
    """How far an answer can be trusted; the fields are those of `Result`."""

    calibrated: float | None = None
    calibration: str = ""
    abstained: bool = False
    risk_bound: float | None = None
    notes: tuple[str, ...] = ()


def template_digest(tokenizer: Tokenizer) -> str:
    """Of a chat template, by what it makes of one question: the same for every runtime. "" without one."""
    if not tokenizer.has_chat_template:
        return ""
    try:
        tokens = tokenizer.chat(PROBE)
    except PromptError:
        return ""
    return hashlib.sha256(repr(list(tokens)).encode()).hexdigest()[:16]


def rule_of(search: object) -> str | None:
    """How a vote of samples ends and counts, in words; None for another search, to which no calibration applies."""
    return search.rule_in_words if isinstance(search, SearchPlan) else None


def setting_of(info: ModelInfo, template: str, policy: Policy, rule: str) -> Setting:
    """What a calibration of this must have been made for. template: as of `template_digest`."""
    return Setting(info.fingerprint, info.name, template, spec_of(policy), rule)


def fitting(known: Sequence[Calibration], now: Setting) -> tuple[Calibration | None, str]:
    """The calibration of this setting, the last of several; without one, why the one most like it is none."""
    for made in reversed(known):
        if made.setting == now:
            return made, ""
    if not known:
        return None, ""
    return None, min(known, key=lambda made: len(made.setting.differences(now))).mismatch(now)


def for_risk(known: Sequence[Calibration], now: Setting, risk: float) -> Calibration:
    """The calibration that says which answers keep a risk. Raises ParameterError where there is none."""
    made, why = fitting(known, now)
    if made is None:
        raise ParameterError(
            f"a risk of {risk:.3g} cannot be kept: "
            + (why or f"the confidence is not calibrated for this model; {HOW}")
        )
    made.bound(risk)
    return made


def risks_kept(known: Sequence[Calibration], now: Setting) -> tuple[float, ...]:
    """The risks that the calibration of this setting keeps for some answers, smallest first; none without one."""
    made, _ = fitting(known, now)
    return () if made is None else tuple(sorted(bound.risk for bound in made.bounds if bound.threshold is not None))


def evidence_of(search: SearchRecord, plan: SearchPlan) -> Evidence:
    """What a vote of `plan` knows of its answer."""
    cast = math.fsum(b.weight for b in search.branches if b.weight is not None)
    first = search.shares[search.answer or ""] * cast
    second = max((share for answer, share in search.shares.items() if answer != search.answer), default=0.0) * cast
    all_texts = branch_texts(search.branches, extractor(plan.reads))
    texts = [text for b, text in zip(search.branches, all_texts, strict=True) if b.answer == search.answer]
    spans = [text["span"].mean for text in texts if text["span"] is not None]
    return Evidence(
        first,
        second,
        cast,
        sum(spans) / len(spans) if spans else None,
        sum(text["length"] for text in texts) / len(texts),
    )


def judge(
    search: SearchRecord | None, plan: object, setting: Setting | None, known: Sequence[Calibration], risk: float | None
) -> Verdict:
    """How sure an answer is and whether it is given at a risk. setting: how it was found, None for no vote."""
    voted = search is not None and search.answer is not None and bool(search.shares)
    if not voted or setting is None:
        notes = (
            () if risk is None else (f"not sure enough for a risk of {risk:.3g}: no vote was held, or it found none",)
        )
        return Verdict(abstained=risk is not None, notes=notes)
    assert search is not None
    assert isinstance(plan, SearchPlan)
    made, why = fitting(known, setting)
    if made is not None and search.stopped:  # those that end first are short, and a rule that has not ended saw fewer
        made, why = None, STOPPED
    if made is None:
        return Verdict(abstained=risk is not None, notes=(why,) if why else ())
    try:
        confidence = made.confidence(evidence_of(search, plan))
    except ProfileError as error:
        return Verdict(abstained=risk is not None, notes=(str(error),))
    said = f", {setting.rule.split(' of ')[0]}; {made.source}"
    if risk is None:
        return Verdict(confidence, said)
    found = made.bound(risk)
    if found.threshold is None:
        note = f"no confidence keeps a risk of {risk:.3g}: {made.source}, too few or too wrong for that"
        return Verdict(confidence, said, True, None, (note,))
    if confidence < found.threshold:
        note = f"not sure enough for a risk of {risk:.3g}: {confidence:.0%} sure, and {found.threshold:.0%} are needed"
        return Verdict(confidence, said, True, None, (note,))
    return Verdict(confidence, said, False, found.risk)
