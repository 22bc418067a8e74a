"""One policy and what it remembers of every request that runs under it, in arrays on the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from entropix.arrays import map_arrays, namespace, real_dtype
from entropix.decoding.rows import call
from entropix.plugins.vllm.asking import Asked
from entropix.plugins.vllm.model import Served
from entropix.types import Action, Array, Decisions, Regime, Signals, State

PENDING = "vllm.pending"
"""State beside the policy's: which token of an injected text comes next, 0 for none."""

SURPRISAL = "vllm.surprisal"
"""State beside the policy's, where it asks for it: −ln p of the last token that was drawn, NaN before the first."""

NOBODY = 0
"""A place in a plan that takes what belongs to none of its requests."""


@dataclass(frozen=True)
class Step:
    """Where the rows of one forward stand.

    slots `(rows,)`: whose row it is; starts `(rows,)`: the position of that request's first row in this forward, which
    is how many tokens it has; level `(rows,)`: how many rows of the request come before, None where none has more than
    one; counts `(rows,)`: whether a token comes of it, None where it does of all. possible(tokens): whether masks allow
    each row that token. surprisal(decisions): −ln p of the token that each row draws by these decisions.
    """

    slots: Array
    starts: Array
    level: Array | None
    counts: Array | None
    possible: Callable[[Array], Array]
    surprisal: Callable[[Decisions], Array]


@dataclass(frozen=True)
class Decided:
    """One decision a row. forced `(rows,)`: the token that an injection puts there, −1 for none. held `(rows,)`: it is
    not the injection's first, so nothing was decided."""

    decisions: Decisions
    forced: Array
    held: Array


class Plan:
    """A policy, and its state in every slot after each of the last `depth` − 1 decisions.

    A decision may come to nothing: vLLM throws away what a half computed prompt predicts, a draft token may be
    rejected, a pre-emption may drop what was in flight. So a slot keeps the state before its last forward and after
    each row of it, and how many tokens the request had then; how many it has now says which of them is true.
    """

    def __init__(self, asked: Asked, served: Served, slots: int, depth: int, like: Array, *, injects: bool) -> None:
        xp = namespace(like)
        thresholds, own = served.profile.thresholds, served.profile.parameters
        self.policy = asked.make(thresholds, served.vocabulary, own)
        text = self.policy.injection if injects and served.encode is not None else ""
        tokens = served.encode(text) if text and served.encode is not None else ()
        self.injection = xp.asarray(tokens, dtype=xp.int64, device=like.device) if tokens else None
        self.length = len(tokens)
        self.most = self.policy.max_candidates
        self.depth = depth
        self.places = xp.zeros((slots + 1,), dtype=xp.int64, device=like.device)  # by slot, NOBODY's where not ours
        self.taken: dict[int, int] = {}
        self.free: list[int] = []
        self.starts = xp.full((1,), -1, dtype=xp.int64, device=like.device)
        zero = {**self.policy.begin(0, like), PENDING: xp.zeros((1,), dtype=xp.int64, device=like.device)}
        if "surprisal" in self.policy.asked:
            zero[SURPRISAL] = xp.full((1,), math.nan, dtype=real_dtype(xp, like), device=like.device)
        self.state: State = {
            name: xp.zeros((1, depth, *value.shape[1:]), dtype=value.dtype, device=like.device)
            for name, value in zero.items()
        }
        self.zero = zero
        self.remembers = self.injection is not None or len(zero) > 1

    def join(self, slot: int, seed: int, saved: Saved | None) -> None:
        """Give a request a slot; `saved`: where it was before."""
        if not self.free:
            self._grow()
        place = self.taken[slot] = self.free.pop()
        self.places[slot] = place
        if saved is not None:
            self.starts[place] = saved.start
            for name, value in saved.state.items():
                self.state[name][place] = value
            return
        self.starts[place] = -1
        for name, value in {**self.zero, **self.policy.begin(seed, self.starts)}.items():
            self.state[name][place, 0] = value[0]

    def _grow(self) -> None:
        """Twice as many places: as many as there are slots, for each of many policies, would not fit the memory."""
        xp = namespace(self.starts)
        have = self.starts.shape[0]
        self.free += range(have, 2 * have)
        self.starts = xp.concat([self.starts, self.starts])
        self.state = {name: xp.concat([value, value]) for name, value in self.state.items()}

    def restore(self, slot: int, saved: Saved, known: Array) -> None:
        """Take over `saved` where `known`, a bool `()`, holds."""
        xp = namespace(self.starts)
        place = self.taken[slot]
        self.starts[place] = xp.where(known, saved.start, self.starts[place])
        for name, value in saved.state.items():
            self.state[name][place] = xp.where(known, value, self.state[name][place])

    def leave(self, slot: int) -> Saved:
        """Take a request out, with what it takes to go on later."""
        saved = self.saved(slot)
        self.places[slot] = NOBODY
        self.free.append(self.taken.pop(slot))
        return saved

    def saved(self, slot: int) -> Saved:
        """Copies of what a slot holds."""
        xp, place = namespace(self.starts), self.taken[slot]
        return Saved(
            xp.asarray(self.starts[place], copy=True),
            {k: xp.asarray(v[place], copy=True) for k, v in self.state.items()},
        )

    def decide(self, signals: Signals, step: Step) -> tuple[Decided, Array]:
        """A decision a row, and which rows, `(rows,)`, are this plan's; the others hold anything. States move on."""
        xp = namespace(step.slots)
        places = self.places[step.slots]
        mine = places != NOBODY
        lasts = mine if step.counts is None else mine & step.counts
        before = self.starts[places]
        went = xp.clip(step.starts - before, 0, self.depth - 1)
        went = xp.where(before < 0, xp.zeros_like(went), went)
        state = {name: value[places, went] for name, value in self.state.items()}
        first = xp.where(lasts if step.level is None else lasts & (step.level == 0), places, NOBODY)
        self._keep(first, 0, state)
        self.starts[first] = step.starts
        decided, after = self._once(signals, state, step)
        for level in range(self.depth - 1 if step.level is not None else 1):
            here = lasts if step.level is None else lasts & (step.level == level)
            if level and step.level is not None:
                state = {name: value[places, level] for name, value in self.state.items()}
                later, after = self._once(signals, state, step)
                decided = merge(step.level == level, later, decided)
            self._keep(xp.where(here, places, NOBODY), level + 1, after)
        return decided, mine

    def _keep(self, places: Array, depth: int, state: State) -> None:
        for name, value in state.items():
            self.state[name][places, depth] = value

    def _once(self, signals: Signals, state: State, step: Step) -> tuple[Decided, State]:
        """One decision a row, and the state after it."""
        xp = namespace(step.slots)
        own = {name: value for name, value in state.items() if name not in (PENDING, SURPRISAL)}
        if SURPRISAL in state:
            signals = replace(signals, surprisal=state[SURPRISAL])
        decisions, after = call(self.policy, signals, own)
        if SURPRISAL in state:
            after[SURPRISAL] = xp.astype(step.surprisal(decisions), state[SURPRISAL].dtype)
        if self.injection is None:
            nothing = Decided(decisions, xp.full_like(step.slots, -1), xp.zeros_like(step.slots, dtype=xp.bool))
            return nothing, {**after, PENDING: state[PENDING]}
        pending = state[PENDING]
        goes_on = pending > 0
        token = self.injection[pending]
        wanted = goes_on | (decisions.action == int(Action.INJECT))
        forces = wanted & step.possible(xp.where(wanted, token, xp.zeros_like(token)))
        # the tokens after an injection's first were not decided on: the policy does not see them
        held = goes_on & forces
        after = {name: xp.where(column(held, value), state[name], value) for name, value in after.items()}
        if SURPRISAL in state:
            after[SURPRISAL] = xp.where(forces, state[SURPRISAL], after[SURPRISAL])
        after[PENDING] = xp.where(forces, (pending + 1) % self.length, xp.zeros_like(pending))
        regime = xp.where(held, xp.full_like(decisions.regime, int(Regime.CLARIFY)), decisions.regime)
        forced = xp.where(forces, token, xp.full_like(token, -1))
        return Decided(replace(decisions, regime=regime), forced, held), after


@dataclass(frozen=True, slots=True)
class Saved:
    """A request's place in a plan while it has no slot: how many tokens it had, `()`, and the states, `(depth, …)`."""

    start: Array
    state: State


def column(mask: Array, like: Array) -> Array:
    """`(rows,)` shaped so that it spreads over `like`, `(rows, …)`."""
    return mask.reshape(-1, *[1] * (like.ndim - 1))


def merge(where: Array, one: Decided, other: Decided) -> Decided:
    """`one` in the rows where it holds, `other` elsewhere."""
    xp = namespace(where)
    a, b = one.decisions, other.decisions
    return Decided(
        map_arrays(lambda mine, others: xp.where(where, mine, others), a, b),
        xp.where(where, one.forced, other.forced),
        xp.where(where, one.held, other.held),
    )
