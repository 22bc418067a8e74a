"""Logits → one token per row, chosen by each request's policy, and rows in which nothing else is left to choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from entropix.arrays import map_arrays, namespace
from entropix.decoding.step import take_step
from entropix.fused import fused
from entropix.plugins.vllm.asking import PolicyRequest
from entropix.plugins.vllm.model import Served
from entropix.plugins.vllm.plan import Plan, Saved
from entropix.sampling import WINDOW, keyed_gumbel, position_keys, seed_key, top_window
from entropix.signals import measure_unchecked
from entropix.types import SIGNALS, Array, AttentionSignals, Signals

CHUNK = 1 << 25
"""Most logits that are measured at a time on a device: 128 MB of float32, of which some five are held."""


class StepMeter(Protocol):
    """What counts decisions."""

    def record(self, regimes: Array, entropies: Array, injected: Array) -> None:
        """regimes `(rows,)`, −1 for a row of which no token comes; entropies `(rows,)` in nats, NaN where nothing was
        decided; injected `(rows,)`, whether a text begins."""
        ...


class Draw:
    """Chooses for all requests of one engine. Both of vLLM's interfaces end here.

    A slot is a request's number while it runs. Nothing in `step` waits for the device, and nothing in it raises for
    what logits may hold: an error there would end the engine and everybody's answers.
    """

    def __init__(self, served: Served, slots: int, depth: int, like: Array, meter: StepMeter | None = None) -> None:
        xp = namespace(like)
        self.served, self.slots, self.depth = served, slots, depth
        self.like = like
        self.meter = meter
        self.plans: dict[tuple[PolicyRequest, bool], Plan] = {}
        self.seats: dict[int, tuple[PolicyRequest, bool]] = {}
        self.seeds = xp.zeros((slots + 1,), dtype=xp.int64, device=like.device)
        self.asking = xp.zeros((slots + 1,), dtype=xp.bool, device=like.device)
        if xp is not np:
            warm(served.vocabulary, like)

    @property
    def spare(self) -> int:
        """The slot of rows that are not ours."""
        return self.slots

    def join(
        self, slot: int, asked: PolicyRequest, seed: int, saved: Saved | None = None, *, injects: bool = True
    ) -> None:
        """A request takes a slot. injects: whether texts may be put into its answer."""
        key = (asked, injects)
        plan = self.plans.get(key)
        if plan is None:
            plan = Plan(asked, self.served, self.slots, self.depth, self.like, injects=injects)
            self.plans[key] = plan
        plan.join(slot, seed, saved)
        self.seats[slot] = key
        self.seeds[slot] = seed_key(seed)
        self.asking[slot] = True

    def leave(self, slot: int) -> Saved:
        """A request gives its slot back; with what is returned it can go on elsewhere."""
        key = self.seats.pop(slot)
        plan = self.plans[key]
        saved = plan.leave(slot)
        self.asking[slot] = False
        if not plan.taken:
            del self.plans[key]
        return saved

    def looks(self, slot: int) -> bool:
        """Whether the request's policy wants attention signals."""
        return "attention" in self.plans[self.seats[slot]].policy.asked

    def remembers(self, slot: int) -> bool:
        """Whether the request's next decision depends on its earlier ones."""
        return self.plans[self.seats[slot]].remembers

    def saved(self, slot: int) -> Saved:
        """What `leave` would return, the request staying."""
        return self.plans[self.seats[slot]].saved(slot)

    def restore(self, slot: int, saved: Saved, known: Array) -> None:
        """Give a request back what it had, where `known`, a bool `()`, says that it is the one."""
        self.plans[self.seats[slot]].restore(slot, saved, known)

    def step(
        self,
        logits: Array,
        slots: Array,
        starts: Array,
        *,
        level: Array | None = None,
        counts: Array | None = None,
        attention: AttentionSignals | None = None,
        here: Iterable[int] | None = None,
    ) -> None:
        """Choose, and leave each of our rows of `logits` `(rows, vocabulary)` float32 nothing but its choice.

        slots, starts, level, counts: as in `Plan.part`; starts are positions from the prompt's first token.
        attention: `(rows,)` each. here: whose rows these are, as the host knows it, at least one of them ours; None for
        all who have a slot."""
        plans = self._plans(here)
        if type(logits) is not np.ndarray:
            tokens = self._choose(plans, logits, slots, starts, level, counts, attention)
            force(logits, self.asking[slots], tokens)
            return
        rows = np.flatnonzero(self.asking[slots])
        if not rows.size:
            return
        ours = logits if rows.size == len(logits) else logits[rows]

        def some(array: Array | None) -> Array | None:
            return None if array is None else array[rows]

        if attention is not None:
            attention = map_arrays(some, attention)
        with np.errstate(all="ignore"):
            tokens = self._choose(plans, ours, slots[rows], starts[rows], some(level), some(counts), attention)
        logits[rows if ours is not logits else slice(None)] = -np.inf
        logits[rows, tokens] = 0.0

    def _plans(self, here: Iterable[int] | None) -> list[Plan]:
        """The plans that have rows: under V2 a request that has ended keeps its slot until the next one comes."""
        if here is None:
            return list(self.plans.values())
        keys = {self.seats[slot]: None for slot in here if slot in self.seats}
        return [self.plans[key] for key in keys]

    def _choose(
        self,
        plans: list[Plan],
        logits: Array,
        slots: Array,
        starts: Array,
        level: Array | None,
        counts: Array | None,
        attention: AttentionSignals | None,
    ) -> Array:
        xp = namespace(logits)
        signals = measured(logits, attention, frozenset().union(*(plan.policy.asked for plan in plans)))
        parts = [plan.part(slots, starts, level, counts) for plan in plans]
        keys = position_keys(self.seeds[slots], starts if level is None else starts + level)
        levels = 1 if level is None else self.depth - 1
        taken = take_step(logits, signals, parts, keys, blind=xp is not np, level=level, levels=levels)
        if self.meter is not None:
            token = self.asking[slots] if counts is None else self.asking[slots] & counts
            regime, going_on = taken.decided.decisions.regime, taken.decided.going_on
            # after an injection's first token nothing was decided
            entropies = xp.where(going_on, xp.full_like(signals.entropy, float("nan")), signals.entropy)
            regimes = xp.where(token, regime, xp.full_like(regime, -1))
            self.meter.record(regimes, entropies, (taken.decided.forced >= 0) & ~going_on)
        return taken.tokens


def measured(logits: Array, attention: AttentionSignals | None, asked: frozenset[str]) -> Signals:
    """`measure_unchecked`, some rows at a time: vLLM leaves its device little memory beside the KV cache, and what is
    computed with a whole vocabulary is as large as the logits several times over."""
    some = max(CHUNK // logits.shape[-1], 1)
    if type(logits) is np.ndarray or logits.shape[0] <= some:
        return measure_unchecked(logits, attention, asked=asked)
    xp = namespace(logits)
    parts = [measure_unchecked(logits[n : n + some], asked=asked) for n in range(0, logits.shape[0], some)]
    return replace(map_arrays(lambda *arrays: xp.concat(arrays), *parts), attention=attention)


def _trials(logits: Array, ours: Array, tokens: Array) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    for vocabulary in (logits.shape[-1], 12_345):
        g = np.random.default_rng(vocabulary)
        logits = g.standard_normal((5, vocabulary), np.float32)
        logits[1, 0] = -np.inf
        yield logits, np.array([True, False, True, True, False]), g.integers(0, vocabulary, 5)


@fused(_trials, exact=True)
def force(logits: Any, ours: Any, tokens: Any) -> Any:
    """Leave our rows of a torch tensor nothing but their token, in place and without knowing on the host which."""
    kept = logits.gather(1, tokens[:, None])
    logits.masked_fill_(ours[:, None], -float("inf"))
    return logits.scatter_(1, tokens[:, None], kept.masked_fill(ours[:, None], 0.0))


def warm(vocabulary: int, like: Array) -> None:
    """Have kernels compiled and tried at the start rather than within an answer."""
    xp = namespace(like)
    logits = xp.zeros((1, vocabulary), dtype=xp.float32, device=like.device)
    measure_unchecked(logits, asked=SIGNALS)
    ids = top_window(logits, WINDOW).ids
    keyed_gumbel(position_keys(ids[:, 0], ids[:, 0]), ids)
    force(logits, xp.zeros((1,), dtype=xp.bool, device=like.device), ids[:, 0])
