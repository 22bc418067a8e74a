"""One policy and what it remembers of every request that runs under it, in arrays on the device."""

from __future__ import annotations

from dataclasses import dataclass

from entropix.arrays import namespace
from entropix.decoding.step import Part, first_state
from entropix.plugins.vllm.asking import PolicyRequest
from entropix.plugins.vllm.model import Served
from entropix.types import Array, State

NOBODY = 0
"""A place in a plan that takes what belongs to none of its requests."""


class Plan:
    """A policy, and its state in every slot after each of the last `depth` − 1 decisions.

    A decision may come to nothing: vLLM throws away what a half computed prompt predicts, a draft token may be
    rejected, a pre-emption may drop what was in flight. So a slot keeps the state before its last forward and after
    each row of it, and how many tokens the request had then; how many it has now says which of them is true.
    """

    def __init__(
        self, asked: PolicyRequest, served: Served, slots: int, depth: int, like: Array, *, injects: bool
    ) -> None:
        xp = namespace(like)
        thresholds, own = served.profile.thresholds, served.profile.parameters
        self.policy = asked.make(thresholds, served.vocabulary, own)
        text = self.policy.injection if injects and served.encode is not None else ""
        tokens = served.encode(text) if text and served.encode is not None else ()
        self.injection = xp.asarray(tokens, dtype=xp.int64, device=like.device) if tokens else None
        self.filters = asked.filters
        self.depth = depth
        self.places = xp.zeros((slots + 1,), dtype=xp.int64, device=like.device)  # by slot, NOBODY's where not ours
        self.taken: dict[int, int] = {}
        self.free: list[int] = []
        self.starts = xp.full((1,), -1, dtype=xp.int64, device=like.device)
        zero = first_state(self.policy, 0, 1, like, asked.filters)
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

    def part(self, slots: Array, starts: Array, level: Array | None, counts: Array | None) -> Part:
        """The plan's rows and states for one step, which moves them on; the other rows hold anything.

        slots `(rows,)`: whose row it is; starts `(rows,)`: the position of that request's first row in this forward,
        which is how many tokens it has; level `(rows,)`: how many rows of the request come before, None where none has
        more than one; counts `(rows,)`: whether it yields a token, None where all do."""
        xp = namespace(slots)
        places = self.places[slots]
        mine = places != NOBODY
        lasts = mine if counts is None else mine & counts
        before = self.starts[places]
        went = xp.clip(starts - before, 0, self.depth - 1)
        went = xp.where(before < 0, xp.zeros_like(went), went)
        state = {name: value[places, went] for name, value in self.state.items()}
        first = xp.where(lasts if level is None else lasts & (level == 0), places, NOBODY)
        self._keep(first, 0, state)
        self.starts[first] = starts

        def at(n: int) -> State:
            return {name: value[places, n] for name, value in self.state.items()} if n else state

        def keep(n: int, after: State) -> None:
            here = lasts if level is None else lasts & (level == n)
            self._keep(xp.where(here, places, NOBODY), n + 1, after)

        return Part(self.policy, mine, at, keep, self.injection, "attention" in self.policy.asked, self.filters)

    def _keep(self, places: Array, depth: int, state: State) -> None:
        for name, value in state.items():
            self.state[name][places, depth] = value


@dataclass(frozen=True, slots=True)
class Saved:
    """A request's place in a plan while it has no slot: how many tokens it had, `()`, and the states, `(depth, …)`."""

    start: Array
    state: State
