"""What the loop would do next on one branch, and what else it could do there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from entropix.arrays import map_arrays
from entropix.decoding.job import Branch
from entropix.decoding.record import Recorder
from entropix.decoding.step import Taken, draw, noise_keys
from entropix.engines import Tokenizer
from entropix.types import State, Step

TOP = 20
"""Token confidence is −mean log-probability of this many likeliest tokens (DeepConf, arXiv 2508.15260)."""


@dataclass(frozen=True, slots=True)
class Redraw:
    """Draws one row of a step again with other seeds."""

    tokenizer: Tokenizer
    taken: Taken

    def __call__(self, row: int, branch: Branch, seeds: Sequence[int]) -> list[Step]:
        """The Step of `row` that each seed chooses."""
        rows = [row] * len(seeds)
        signals, decided, window = self.taken.signals, self.taken.decided, self.taken.window.narrow()
        signals = map_arrays(lambda array: array[rows], signals)
        decided = map_arrays(lambda array: array[rows], decided)
        window = map_arrays(lambda array: array[rows], window)
        keys = noise_keys([(seed, branch.length) for seed in seeds], window.logits)
        logits = self.taken.logits[rows]
        kept = self.taken.kept
        kept = None if kept is None else (kept[0][rows], kept[1][rows])
        aim = None if self.taken.aim is None else map_arrays(lambda array: array[rows], self.taken.aim)
        drawn = draw(logits, window, decided.decisions, keys, kept, aim)
        recorder = Recorder(Taken(signals, decided, *drawn, logits, aim=aim))
        job = branch.job
        return [
            recorder.step(n, len(branch.tokens), branch.length, self.tokenizer, job.request.leading, job.attention)
            for n in range(len(seeds))
        ]


@dataclass
class Proposal:
    """The step that the policy chose for `branch`. `injects`: it is the beginning of an injected text."""

    branch: Branch
    step: Step
    injects: bool
    row: int
    recorder: Recorder
    tokenizer: Tokenizer
    state_of: Callable[[Branch], State | None]
    draw: Callable[[int, Branch, Sequence[int]], list[Step]]

    @property
    def at(self) -> int:
        """The position in the answer."""
        return len(self.branch.tokens)

    @property
    def cost(self) -> int:
        """Tokens that taking it costs."""
        return len(self.branch.job.injection) if self.injects else 1

    @cached_property
    def state(self) -> State | None:
        """The policy's state of this branch after the decision."""
        return self.state_of(self.branch)

    @cached_property
    def confidence(self) -> float:
        """−mean log-probability of the likeliest tokens, nats: higher is surer."""
        return self.recorder.confidence(self.row, TOP)

    @property
    def likeliest(self) -> Step:
        """The step that takes the likeliest token, whatever the policy chose."""
        if self.step.rank == 0 and not self.injects:
            return self.step
        _, token, logprob = next(iter(self.recorder.likeliest(self.row, 1, 0.0)))
        return self._other(0, token, logprob)

    def redraw(self, seeds: Sequence[int]) -> list[Step]:
        """The steps that other seeds choose here."""
        return self.draw(self.row, self.branch, seeds)

    def alternatives(self, n: int, ratio: float) -> list[Step]:
        """Up to n other tokens, likeliest first, each at least `ratio` times as likely as the likeliest."""
        steps = []
        recorder, branch = self.recorder, self.branch
        banned = branch.banned.get(len(branch.tokens), ())
        for rank, token, logprob in recorder.likeliest(self.row, n + 1 + len(banned), ratio):
            if token == self.step.token or token in banned:
                continue
            steps.append(self._other(rank, token, logprob))
        return steps[:n]

    def _other(self, rank: int, token: int, logprob: float) -> Step:
        """The step with a token that was not drawn."""
        label = self.tokenizer.label(token)
        other = replace(self.step, token=token, label=label, rank=rank, logprob=logprob)
        return replace(other, drawn=(), horizon=None, adaptive=None)
