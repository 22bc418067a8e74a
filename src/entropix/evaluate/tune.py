"""Choose a policy's parameters and where regimes begin, by Optuna, on a development split that is never reported on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from entropix.errors import ParameterError
from entropix.evaluate.run import digest, evaluate, units
from entropix.evaluate.specs import Spec
from entropix.evaluate.store import Store, cost
from entropix.evaluate.tasks import Task
from entropix.model import Model
from entropix.policies import POLICIES, make_policy, parameters
from entropix.profiles import Profile
from entropix.types import Thresholds

Value: TypeAlias = "int | float | str"

LOW, HIGH = "regimes_low", "regimes_high"
PERCENTS = {LOW: (20.0, 75.0, 50.0), HIGH: (80.0, 99.0, 95.0)}
"""The percentiles of the profile where regimes begin: lowest, highest, and what `calibrate` takes."""

USUAL: dict[str, dict[str, tuple[float, float]]] = {
    "entropix": {
        "temperature": (0.0, 1.2),
        "temperature_logits": (-0.5, 1.0),
        "top_p": (0.5, 1.0),
        "min_p": (0.0, 0.3),
        "candidates": (1, 6),
        "inject_max": (0, 3),
        LOW: PERCENTS[LOW][:2],
        HIGH: PERCENTS[HIGH][:2],
    },
    "sample": {"temperature": (0.0, 1.3), "top_p": (0.5, 1.0), "min_p": (0.0, 0.3)},
    "entropix-2024": {
        "temperature": (0.01, 1.2),
        "min_p": (0.0, 0.3),
        "high_entropy": (1.0, 8.0),
        "high_varentropy": (1.0, 10.0),
        "candidates": (1, 6),
    },
}
"""What is tuned when nothing is named; of other policies everything with two ends."""

TOGETHER = 4
"""Trials that are asked for at once. Fixed, so that a run that was stopped asks for the same ones again."""

TOKEN = 1e-6
"""What a token costs beside an answer that is right: it decides between equals only."""


@dataclass(frozen=True)
class Range:
    """What one parameter may become; ends included."""

    low: float
    high: float
    default: Any
    whole: bool


@dataclass(frozen=True)
class Trial:
    """One setting that was tried. value: its accuracy on the development split less 1e-6 per token."""

    number: int
    settings: dict[str, Value]
    accuracy: float
    tokens: float

    @property
    def value(self) -> float:
        return self.accuracy - TOKEN * self.tokens


def space(policy: str, wanted: Sequence[str], profile: Profile) -> dict[str, Range]:
    """What is tuned: `wanted` are "NAME" or "NAME=LOW..HIGH"; empty means the usual ones. Raises ParameterError."""
    known = {n: f for n, f in parameters(POLICIES.find(policy)).items() if not isinstance(f.default, str)}
    usual = USUAL.get(policy) or {
        n: (f.metadata["low"], f.metadata["high"]) for n, f in known.items() if np.isfinite(f.metadata["high"])
    }
    regimes = bool(profile.quantiles)
    if not wanted:
        wanted = [n for n in usual if n not in PERCENTS or regimes]
    if not wanted:
        raise ParameterError(f"{policy}: there is nothing to tune; it has no parameters")
    found: dict[str, Range] = {}
    default: Any
    for text in wanted:
        name, _, ends = text.partition("=")
        if name in PERCENTS:
            low, high, default = PERCENTS[name]
            least, most = low, high
            if not regimes:
                raise ParameterError(
                    f"{name}: profile {profile.name!r} has no quantiles; run `entropix calibrate` first"
                )
            whole = False
        elif name in known:
            least, most = known[name].metadata["low"], known[name].metadata["high"]
            low, high = usual.get(name, (least, most))
            default = known[name].default
            whole = isinstance(default, int)
        else:
            raise ParameterError(
                f"{policy}: there is no number {name!r} to tune; there are {', '.join([*known, *PERCENTS])}"
            )
        if ends:
            low, high = _ends(text, ends)
            if not least <= low <= high <= most:
                raise ParameterError(f"{text!r}: the ends must lie in {least:g}..{most:g}, the lower one first")
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ParameterError(f"{name} has no end; give one, as in {name}=0..10")
        found[name] = Range(low, high, min(max(default, low), high), whole)
    return found


def _ends(text: str, ends: str) -> tuple[float, float]:
    low, dots, high = ends.partition("..")
    try:
        if not dots:
            raise ValueError
        return float(low), float(high)
    except ValueError:
        raise ParameterError(f"{text!r} is not of the form NAME=LOW..HIGH") from None


def with_settings(profile: Profile, policy: str, settings: Mapping[str, Value]) -> Profile:
    """The profile in which `policy` has these parameters, and regimes begin at the percentiles among them."""
    thresholds = profile.thresholds
    if LOW in settings or HIGH in settings:
        low, high = (float(settings.get(name, PERCENTS[name][2])) for name in (LOW, HIGH))
        h, v = (_percentiles(profile.quantiles[s], low, high) for s in ("entropy", "varentropy"))
        thresholds = Thresholds(h[0], h[1], v[0], v[1], thresholds.attention)
    own = {name: value for name, value in settings.items() if name not in PERCENTS}
    return replace(profile, thresholds=thresholds, parameters={**profile.parameters, policy: own})


def _percentiles(quantiles: Mapping[str, float], low: float, high: float) -> tuple[float, float]:
    """Between the percentiles that were measured the logarithm is interpolated: entropies span decades."""
    percents = sorted(quantiles, key=float)
    x, y = [float(p) for p in percents], [np.log(max(quantiles[p], 1e-9)) for p in percents]
    first, second = (float(np.exp(np.interp(p, x, y))) for p in (low, high))
    return round(first, 6), round(max(second, first + 1e-3), 6)


def tune(
    model: Model,
    tasks: Sequence[Task],
    policy: str,
    ranges: Mapping[str, Range],
    store: Store,
    *,
    trials: int = 24,
    seeds: int = 1,
    seed: int = 0,
    search: str | None = None,
    max_tokens: int = 512,
    budget: int | None = None,
    together: int = 16,
    progress: Callable[[Sequence[Trial]], None] = lambda done: None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[Trial]:
    """Try settings on every item of `tasks`; the first is the defaults. Returns the trials, complete ones only: fewer
    than asked for when `go_on` said to stop. A store that holds some of the answers saves decoding them again."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=min(10, max(trials // 3, 1)))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: int(r.default) if r.whole else r.default for name, r in ranges.items()})
    distributions: dict[str, Any] = {
        name: optuna.distributions.IntDistribution(int(r.low), int(r.high))
        if r.whole
        else optuna.distributions.FloatDistribution(r.low, r.high)
        for name, r in ranges.items()
    }
    done: list[Trial] = []
    while len(done) < trials:
        asked = [study.ask(distributions) for _ in range(min(TOGETHER, trials - len(done)))]
        settings = [{n: round(v, 4) if isinstance(v, float) else v for n, v in t.params.items()} for t in asked]
        specs = [_spec(model, policy, s, search) for s in settings]
        work = units(tasks, specs, range(1, seeds + 1))
        evaluate(model, work, store, max_tokens=max_tokens, budget=budget, together=together, go_on=go_on, tuning=True)
        if any(unit.key not in store.outcomes for unit in work):
            break
        for trial, setting, spec in zip(asked, settings, specs, strict=True):
            found = [store.outcomes[unit.key] for unit in work if unit.spec is spec]
            accuracy = sum(bool(o["right"]) for o in found) / len(found)
            tokens = sum(map(cost, found)) / len(found)
            tried = Trial(trial.number, setting, accuracy, tokens)
            study.tell(trial, tried.value)
            done.append(tried)
        progress(done)
        if not go_on():
            break
    return done


def _spec(model: Model, policy: str, settings: Mapping[str, Value], search: str | None) -> Spec:
    profile = with_settings(model.profile, policy, settings)
    made = make_policy(policy, profile.thresholds, model.info.vocabulary, **profile.parameters[policy])
    return Spec(", ".join(f"{n}={v:g}" for n, v in settings.items()), made, search)


def best(trials: Sequence[Trial]) -> Trial:
    """The most accurate trial; of equals the defaults, else that with the fewest tokens."""
    return max(trials, key=lambda t: (t.accuracy, t.number == 0, -t.tokens, -t.number))


def tuned(profile: Profile, policy: str, trials: Sequence[Trial], tasks: Sequence[Task], **how: Any) -> Profile:
    """The profile with the best trial's settings, which knows what it was tuned on. how: what else to keep."""
    chosen = best(trials)
    note = {
        "policy": policy,
        "tasks": [task.name for task in tasks],
        "items": sorted({digest(item.question or item.prompt) for task in tasks for item in task.items}),
        "trials": len(trials),
        "accuracy": chosen.accuracy,
        "default_accuracy": trials[0].accuracy,
        "settings": dict(chosen.settings),
        **how,
    }
    made = with_settings(profile, policy, chosen.settings)
    return replace(made, name=profile.name.removesuffix(" (tuned)") + " (tuned)", tuned=[*profile.tuned, note])
