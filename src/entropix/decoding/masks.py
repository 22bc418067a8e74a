"""What may not be chosen: biases, bans and constraints, applied to the logits before they are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from entropix.arrays import namespace
from entropix.decoding.job import Branch
from entropix.engines import Engine
from entropix.errors import ModelError
from entropix.sampling.repetition import penalise
from entropix.signals import measure_unchecked
from entropix.types import Array, Observation, Signals


def apply_masks(
    logits: Array, rows: Sequence[Branch], breaks: Callable[[int], bool] = lambda token: False
) -> tuple[Array, dict[int, str]]:
    """The logits with each request's penalties and bias, each branch's constraint and its bans, `(rows, vocabulary)`.

    They are copied only when there is something to apply, since the engine's are read-only. Also returns the rows that
    bias and constraint leave no token, with the reason; their logits stay as they were. Bans are what a search would
    rather not see again: where they would leave nothing, they do not count. breaks: whether a token ends a repetition.
    """
    touched = [row for row, branch in enumerate(rows) if _is_masked(branch)]
    if not touched:
        return logits, {}
    xp = namespace(logits)
    masked = xp.asarray(logits, copy=True)
    impossible = {}
    for row in touched:
        branch = rows[row]
        settings = branch.job.request.repetition
        if settings is not None:
            penalise(masked[row], settings, branch.job.request.tokens, branch.tokens, xp, breaks)
        reason = _constrain(xp, masked[row], branch)
        if reason:
            impossible[row] = reason
            masked[row] = logits[row]
        else:
            _ban(xp, masked[row], branch.banned.get(len(branch.tokens), ()))
    return masked, impossible


def free_normalisers(logits: Array, rows: Sequence[Branch]) -> dict[int, float]:
    """The log-sum-exp of the engine's own logits `(rows, vocabulary)`, by row, where nothing but a constraint changes
    them: with that of the masked ones it says how much of the model's probability the constraint has left."""
    found = {}
    for row, branch in enumerate(rows):
        request, matcher = branch.job.request, branch.matcher
        if matcher is None or matcher.free or request.logit_bias or request.repetition is not None:
            continue
        if not branch.banned.get(len(branch.tokens)):
            normaliser = measure_unchecked(logits[row : row + 1]).normaliser
            assert normaliser is not None
            found[row] = float(normaliser[0])
    return found


def measured(logits: Array, observation: Observation, asked: frozenset[str]) -> tuple[Array, Signals, list[int]]:
    """The logits, their signals, and the rows of a model that computes no numbers: NaN, +inf, or nothing finite.

    Those rows are flat in the logits that are returned, so that the other rows of the step can be decided."""
    signals = measure_unchecked(logits, observation.attention, asked=asked)
    together = signals.entropy + signals.varentropy
    if math.isfinite(float(together.sum())):
        return logits, signals, []
    broken = [row for row, value in enumerate(together.tolist()) if not math.isfinite(value)]
    flat = namespace(logits).asarray(logits, copy=True)
    flat[broken] = 0.0
    return flat, measure_unchecked(flat, observation.attention, asked=asked), broken


def no_numbers(engine: Engine) -> ModelError:
    """The error of an answer whose logits are broken."""
    return ModelError(
        f"model {engine.info.name!r} computes NaN or infinite logits here: its file is damaged or badly converted, "
        "or its numbers overflow; get the model again, or load it with a wider dtype"
    )


def _is_masked(branch: Branch) -> bool:
    matcher, request = branch.matcher, branch.job.request
    changed = bool(request.logit_bias or branch.banned) or request.repetition is not None
    return changed or (matcher is not None and not matcher.free)


def _constrain(xp: Any, line: Array, branch: Branch) -> str:
    """Apply bias and constraint to one row in place; why nothing is possible, "" when something is."""
    bias = branch.job.request.logit_bias
    for token, value in bias.items():
        line[token] += value
    if branch.matcher is None or branch.matcher.free:
        forbids = any(value == -np.inf for value in bias.values())
        return "logit_bias: every token is forbidden" if forbids and _is_empty(xp, line) else ""
    allowed = branch.matcher.allowed()
    if allowed is None:
        return f"constraint: the text cannot go on: {branch.matcher.problem}"
    if xp is np:
        np.copyto(line, -np.inf, where=~allowed)  # several times faster than indexing
    else:
        line[xp.asarray(~allowed, device=line.device)] = -np.inf
    if not _is_empty(xp, line):
        return ""
    return "constraint: no token that it allows is left" + (", logit_bias forbids them" if bias else "")


def _ban(xp: Any, line: Array, banned: Collection[int]) -> None:
    """Forbid the banned tokens of one row in place, unless they are all that is possible."""
    before = [(token, float(line[token])) for token in banned]
    for token in banned:
        line[token] = -np.inf
    if banned and _is_empty(xp, line):
        for token, value in before:
            line[token] = value


def _is_empty(xp: Any, line: Array) -> bool:
    return bool(xp.max(line) == -np.inf)
