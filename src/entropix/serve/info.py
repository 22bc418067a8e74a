"""What a client can know about this server: GET /entropix/info."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from entropix.policies import POLICIES, parameters
from entropix.search.config import STRATEGIES
from entropix.serve.scheduler import Scheduler
from entropix.serve.settings import Settings
from entropix.trace import entropix_version


def describe(scheduler: Scheduler, settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
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
        "policies": [
            {
                "name": name,
                "summary": policy.summary,
                "parameters": [
                    {
                        "name": key,
                        "default": field.default,
                        "low": _finite(field.metadata["low"], field.default),
                        "high": _finite(field.metadata["high"], field.default),
                        "help": field.metadata["doc"],
                    }
                    for key, field in parameters(policy).items()
                ],
            }
            for name, policy in POLICIES.items()
        ],
        "searches": [
            {
                "name": name,
                "summary": " ".join((strategy.__doc__ or "").split()),
                "parameters": [_option(field) for field in dataclasses.fields(strategy)],
            }
            for name, strategy in STRATEGIES.items()
        ],
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


def _option(field: dataclasses.Field[Any]) -> dict[str, Any]:
    meta = field.metadata
    option = {"name": field.name, "default": field.default, "low": meta.get("low"), "high": meta.get("high")}
    allowed = {"allowed": list(meta["allowed"])} if "allowed" in meta else {}
    return {**option, **allowed, "help": meta.get("help", "")}


def _finite(limit: float, default: Any) -> float | None:
    return limit if math.isfinite(limit) and not isinstance(default, str) else None
