"""Rows of a batched step on their own: cut out by group, or drawn again with other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from entropix.arrays import map_arrays, namespace
from entropix.decoding.job import Branch
from entropix.decoding.record import Recorder
from entropix.engines import Tokenizer
from entropix.policies import Policy
from entropix.sampling import Window, choose, noise_key
from entropix.types import Array, Decisions, Signals, State, Step


def noise_keys(places: Sequence[tuple[int, int]], like: Array) -> Array:
    """The noise keys of (seed, position), where `like` lies."""
    keys = np.array([noise_key(seed, position) for seed, position in places], np.int64)
    xp = namespace(like)
    return keys if xp is np else xp.asarray(keys, device=like.device)


@dataclass(frozen=True, slots=True)
class Redraw:
    """Draws one row of a step again with other seeds."""

    tokenizer: Tokenizer
    arrays: tuple[Signals, Decisions, Window]

    def __call__(self, row: int, branch: Branch, seeds: Sequence[int]) -> list[Step]:
        """The Step of `row` that each seed chooses."""
        signals, decisions, window = self.arrays
        rows = [row] * len(seeds)
        signals = rows_of(signals, rows, True)
        decisions = map_arrays(lambda array: array[rows], decisions)
        window = map_arrays(lambda array: array[rows], window)
        keys = noise_keys([(seed, branch.length) for seed in seeds], window.logits)
        recorder = Recorder(signals, decisions, window, choose(window, decisions, keys))
        job = branch.job
        return [
            recorder.step(n, len(branch.tokens), branch.length, self.tokenizer, job.request.leading, job.attention)
            for n in range(len(seeds))
        ]


def rows_of(signals: Signals, rows: slice | list[int], attention: bool) -> Signals:
    """The signals of some rows, without attention if they do without."""

    shown = signals if attention or signals.attention is None else replace(signals, attention=None)
    return map_arrays(lambda array: array[rows], shown)


def call(policy: Policy, signals: Signals, state: State) -> tuple[Decisions, State]:
    """The policy's decisions, with no more candidates than it has declared, and its next state."""
    decisions, state = policy(signals, state)
    xp = namespace(decisions.candidates)
    return replace(decisions, candidates=xp.clip(decisions.candidates, None, policy.max_candidates)), state
