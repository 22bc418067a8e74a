"""Arrays of one batched step → one Step per row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from entropix.arrays import to_numpy
from entropix.decoding.step import Taken
from entropix.engines import Tokenizer
from entropix.signals import token_confidence
from entropix.types import ATTENTION, Action, Candidate, Regime, Step

REGIMES = tuple(Regime)


class Recorder:
    """One batched step in host memory, from which each row's Step is made."""

    def __init__(self, taken: Taken, free: Mapping[int, float] | None = None) -> None:
        """free: of rows with a constraint, the log-sum-exp of the logits without it."""
        self.free = free or {}
        self.whole = taken.logits
        signals, decisions, window, choice = taken.signals, taken.decided.decisions, taken.window, taken.choice
        self.entropy = _list(signals.entropy)
        self.varentropy = _list(signals.varentropy)
        self.normaliser = _list(signals.normaliser)
        attention = signals.attention
        self.attention = None if attention is None else [_list(getattr(attention, name)) for name in ATTENTION]
        self.forced = _list(taken.decided.forced)
        self.regime = _list(decisions.regime)
        self.temperature = _list(decisions.temperature)
        self.top_k = _list(decisions.top_k)
        self.top_p = _list(decisions.top_p)
        self.min_p = _list(decisions.min_p)
        self.candidates = _list(decisions.candidates)
        self.tokens = _list(choice.tokens)
        self.ranks = _list(choice.ranks)
        self.ids = to_numpy(window.ids)
        self.logits = to_numpy(window.logits)
        self.filtered = None if choice.filtered is None else to_numpy(choice.filtered)
        self.drawn = None if choice.drawn is None else to_numpy(choice.drawn)
        means = None if taken.aim is None else taken.aim.after(choice.probabilities)
        self.means = [math.nan] * len(self.tokens) if means is None else _list(means)
        self.width = window.size
        self.behind = {} if window.behind is None else self._places(taken)

    def _places(self, taken: Taken) -> dict[tuple[int, int], int]:
        """(row, column) of what was drawn behind the window → its rank in the vocabulary."""
        drawn = self.ranks if self.drawn is None else self.drawn.tolist()
        columns = [[c] if isinstance(c, int) else c for c in drawn]
        found = {}
        for row, column in ((r, c) for r, some in enumerate(columns) for c in some if c >= self.width):
            logits = to_numpy(taken.logits[row])
            token, value = self.ids[row, column], self.logits[row, column]
            ties = np.count_nonzero(logits[:token] == value)
            found[row, column] = int(np.count_nonzero(logits > value) + ties)
        return found

    def step(self, row: int, index: int, position: int, tokenizer: Tokenizer, leading: int, attends: bool) -> Step:
        """The Step of `row`, without text yet."""
        token, rank = self.tokens[row], self.ranks[row]
        greedy = self.temperature[row] <= 0
        attention = None
        if attends and self.attention is not None:
            attention = tuple(column[row] for column in self.attention)
        drawn: tuple[int, ...] = ()
        if self.drawn is not None and not greedy:
            drawn = tuple(self.behind.get((row, r), r) for r in self.drawn[row].tolist() if r >= 0)
        return Step(
            index=index,
            position=position,
            token=token,
            label=tokenizer.label(token),
            text="",
            regime=REGIMES[self.regime[row]],
            action=Action.SAMPLE,
            entropy=self.entropy[row],
            varentropy=self.varentropy[row],
            attention=attention,
            temperature=self.temperature[row],
            top_k=self.top_k[row],
            top_p=self.top_p[row],
            min_p=self.min_p[row],
            candidates=self.candidates[row],
            logprob=float(self.logits[row, rank]) - self.normaliser[row],
            rank=self.behind.get((row, rank), rank),
            drawn=drawn if len(drawn) > 1 else (),
            horizon=0 if len(drawn) > 1 else None,
            leading=self._leading(row, tokenizer, leading, greedy),
            mass=min(math.exp(self.normaliser[row] - self.free[row]), 1.0) if row in self.free else None,
            adaptive=None if math.isnan(self.means[row]) else self.means[row],
        )

    def given(self, row: int, step: Step, token: int, tokenizer: Tokenizer) -> Step:
        """`step` of a token that was not chosen."""
        found = np.flatnonzero(self.ids[row] == token)
        logprob = float(self.whole[row, token]) - self.normaliser[row]
        rank = int(found[0]) if len(found) else None
        label = tokenizer.label(token)
        return replace(step, token=token, label=label, logprob=logprob, rank=rank, drawn=(), adaptive=None)

    def confidence(self, row: int, n: int) -> float:
        """`signals.token_confidence` of the row's n likeliest tokens."""
        return token_confidence(self.logits[row, : min(n, self.width)].tolist(), self.normaliser[row])

    def likeliest(self, row: int, n: int, ratio: float) -> list[tuple[int, int, float]]:
        """(rank, token, log-probability) of up to n tokens at least `ratio` times as likely as the likeliest."""
        logits = self.logits[row, : min(n, self.width)].tolist()
        least = logits[0] + (math.log(ratio) if ratio > 0 else -math.inf)
        ids, normaliser = self.ids[row, :n].tolist(), self.normaliser[row]
        return [(r, ids[r], z - normaliser) for r, z in enumerate(logits) if z >= least and z > -math.inf]

    def _leading(self, row: int, tokenizer: Tokenizer, n: int, greedy: bool) -> tuple[Candidate, ...]:
        if n <= 0:
            return ()
        # plain floats: for so few numbers an array operation costs more than it does
        logits = [
            z for z in self.logits[row, : min(n, self.width)].tolist() if z > -math.inf
        ]  # a masked token is no candidate
        ids, normaliser = self.ids[row, : len(logits)].tolist(), self.normaliser[row]
        before = [math.exp(z - normaliser) for z in logits]
        after = [1.0]
        if not greedy and self.filtered is not None:
            after = [math.exp(z) for z in self.filtered[row, : len(ids)].tolist()]
        after += [0.0] * (len(ids) - len(after))
        label = tokenizer.label
        return tuple(Candidate(t, label(t), b, a) for t, b, a in zip(ids, before, after, strict=True))


def _list(array: Any) -> list[Any]:
    return array.tolist()  # type: ignore[no-any-return]
