"""What a client can know about this server: GET /entropix/info."""

from __future__ import annotations

import dataclasses
from typing import Any

from entropix.answers import EXTRACTORS
from entropix.parameters import described as parameters_of
from entropix.policies import POLICIES
from entropix.search import STRATEGIES
from entropix.search.effort import LEVELS, POLICY, described
from entropix.serve.effort import Votes
from entropix.serve.scheduler import Scheduler
from entropix.serve.settings import Settings
from entropix.version import entropix_version


def describe(scheduler: Scheduler, settings: Settings, names: tuple[str, ...], votes: Votes) -> dict[str, Any]:
    """Model, profile, policies, searches and limits."""
    model = scheduler.model
    t = model.profile.thresholds
    capabilities = model.engine.capabilities
    return {
        "version": entropix_version(),
        "model": names[0],
        "names": list(names),
        "fingerprint": model.info.fingerprint,
        "engine": type(model.engine).__name__,
        "profile": model.profile.name,
        "thresholds": {
            name: getattr(t, name) for name in ("entropy_low", "entropy_high", "varentropy_low", "varentropy_high")
        },
        "notes": list(model.notes),
        "policy": settings.policy,
        "search": settings.search,
        "effort": settings.effort,
        "efforts": list(LEVELS),
        "effort_levels": [
            {"name": level, "summary": described(level), "parameters": [], "risks": list(votes.risks(model, level))}
            for level in LEVELS
        ],
        "effort_policy": POLICY,
        "answers": list(EXTRACTORS),
        "reproducible": settings.reproducible,
        "end_tokens": sorted(model.tokenizer.end_tokens),
        "policies": [_listed(name, kind) for name, kind in POLICIES.usable()[0].items()],
        "searches": [_listed(name, kind) for name, kind in STRATEGIES.usable()[0].items()],
        "capabilities": dataclasses.asdict(capabilities),
        "limits": {
            "places": scheduler.places,
            "queue": settings.queue,
            "max_body": settings.max_body,
            "max_prompt": settings.max_prompt or min(capabilities.context, capabilities.cells) - 1,
            "max_choices": settings.max_choices,
            "max_tokens": settings.max_tokens,
            "time_limit": settings.time_limit,
        },
        "key_needed": bool(settings.keys),
    }


def _listed(name: str, kind: type[Any]) -> dict[str, Any]:
    parameters = [{"name": key, **parameter} for key, parameter in parameters_of(kind).items()]
    return {"name": name, "summary": kind.summary, "parameters": parameters}
