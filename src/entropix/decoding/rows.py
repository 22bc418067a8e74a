"""Rows of a batched step on their own: cut out by group, or drawn again with other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from entropix.arrays import namespace
from entropix.decoding.job import Branch
from entropix.decoding.record import Recorder
from entropix.engines import Tokenizer
from entropix.sampling import Window, choose, noise_key
from entropix.types import Array, Decisions, Signals, Step


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
        decisions = Decisions(**{c: getattr(decisions, c)[rows] for c in Decisions.__dataclass_fields__})
        window = Window(window.ids[rows], window.logits[rows])
        keys = noise_keys([(seed, branch.length) for seed in seeds], window.logits)
        recorder = Recorder(signals, decisions, window, choose(window, decisions, keys))
        job = branch.job
        return [
            recorder.step(n, len(branch.tokens), branch.length, self.tokenizer, job.request.leading, job.attention)
            for n in range(len(seeds))
        ]


def rows_of(signals: Signals, rows: slice | list[int], attention: bool) -> Signals:
    """The signals of some rows, without attention if they do without."""

    def cut(array: Array | None) -> Array | None:
        return None if array is None else array[rows]

    shown = signals.attention if attention else None
    if shown is not None:
        shown = replace(
            shown,
            entropy=cut(shown.entropy),
            varentropy=cut(shown.varentropy),
            agreement=cut(shown.agreement),
            interaction=cut(shown.interaction),
        )
    return Signals(cut(signals.entropy), cut(signals.varentropy), cut(signals.normaliser), shown, cut(signals.spread))
