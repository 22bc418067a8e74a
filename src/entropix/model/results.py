"""A Result of what a job has come to."""

from __future__ import annotations

from collections.abc import Sequence

from entropix.decoding import Job
from entropix.model.afterwards import Readings
from entropix.model.confidence import judge
from entropix.profiles import Profile
from entropix.profiles.confidence import Setting
from entropix.search.ballots import extractor_of
from entropix.types import Result
from entropix.uncertainty import read_off


def result_of(job: Job, model: str, profile: Profile, setting: Setting | None, notes: Sequence[str]) -> Result:
    """A job as far as it has come. model: its name; setting: what a calibration must have been made for, None where no
    confidence can be calibrated; notes: what is to be known of every answer of the model."""
    request, search = job.request, job.search
    verdict = judge(search, request.search, setting, profile.confidences, request.risk)
    # what is computed later reads what the answer was now
    text, steps, ended = job.stream.text, tuple(job.steps), job.finish_reason
    extract = extractor_of(request.search)
    said = job.readings or Readings()
    assessed = said.probability(search.answer if search else None)
    failure = () if job.error is None else (str(job.error),)
    return Result(
        text=text,
        finish_reason=ended,
        tokens=tuple(job.tokens),
        prompt_tokens=len(request.tokens),
        steps=steps,
        ledger=job.ledger,
        seed=request.seed,
        policy=request.policy.name,
        profile=profile.name,
        model=model,
        seconds=job.seconds,
        notes=(*notes, *job.notes, *failure, *(search.notes if search else ()), *verdict.notes, *said.notes),
        search=search,
        thresholds=profile.thresholds,
        calibrated=verdict.calibrated,
        calibration=verdict.calibration,
        abstained=verdict.abstained,
        risk_bound=verdict.risk_bound,
        reproducible=request.reproducible,
        **read_off(text, steps, ended, search, extract, assessed),
    )
