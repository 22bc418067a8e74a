"""One step over plain arrays: logits → a token per row. It knows no engine; its hosts are our decoding loop and vLLM's
model runners, so that both choose the same tokens.

A host says which rows decide by which policy (`Part`), keeps their states, and carries out what was chosen. Everything
between is here: what a policy sees, injected texts, the rows of several policies in one step, the draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any, TypeVar

import numpy as np

from entropix.arrays import map_arrays, namespace, real_dtype, take_along
from entropix.policies import Policy
from entropix.sampling import (
    WINDOW,
    Aim,
    Choice,
    Filters,
    Window,
    choose,
    noise_key,
    reach,
    restored,
    survivors,
    thinned,
    top_window,
    widened,
)
from entropix.types import Action, Array, Decisions, Regime, Signals, State

PENDING = "step.pending"
"""In a row's state where the host puts an injected text one token at a time: which of its tokens comes next, 0 for
none. A host that puts all of them at once leaves it out."""

SURPRISAL = "step.surprisal"
"""In a row's state where the policy asks for it: −ln p of the last token that the row drew, NaN before the first."""

ADAPTIVE = "step.adaptive"
"""In a row's state under adaptive-p: the mean of the probabilities that its draws had."""

T = TypeVar("T")

WHOLE = slice(None)
"""The rows of a part that is alone in its step."""


def first_state(policy: Policy, seed: int, rows: int, like: Array, filters: Filters | None = None) -> State:
    """What `rows` rows remember at their beginning, for hosts that keep all of it in arrays and put injected texts one
    token at a time. like: an array of the host's library and device."""
    xp = namespace(like)
    state = {name: xp.concat([value] * rows) for name, value in policy.begin(seed, like).items()}
    state[PENDING] = xp.zeros((rows,), dtype=xp.int64, device=like.device)
    if "surprisal" in policy.asked:
        state[SURPRISAL] = xp.full((rows,), math.nan, dtype=real_dtype(xp, like), device=like.device)
    if filters is not None and filters.adapts:
        state[ADAPTIVE] = xp.full((rows,), filters.adaptive_target, dtype=real_dtype(xp, like), device=like.device)
    return state


@dataclass(slots=True)
class Part:
    """The rows that decide by one policy.

    rows: the part's rows, a slice; or a mask `(rows,)`, where the host does not know them: then the policy decides for
    all rows, and those of the mask count. state(level): the state of the rows that it decides for, before the decision;
    keep(level, state): after it. injection: the tokens of the policy's text, None where none may be injected. filters:
    what is taken out of the window before the draw.
    """

    policy: Policy
    rows: slice | Array
    state: Callable[[int], State]
    keep: Callable[[int, State], None]
    injection: Array | None = None
    attention: bool = True
    filters: Filters | None = None


@dataclass(slots=True)
class Decided:
    """One decision per row. forced `(rows,)`: the token that an injection puts there, −1 for none. going_on `(rows,)`:
    it is not the injection's first, so nothing was decided."""

    decisions: Decisions
    forced: Array
    going_on: Array


@dataclass(slots=True)
class Taken:
    """What a step chose, and from which logits. tokens `(rows,)`: the forced ones, else the drawn ones."""

    signals: Signals
    decided: Decided
    window: Window
    choice: Choice
    logits: Array
    kept: tuple[Array, Array] | None = None
    """`(rows, K)`: the tokens of the window that filters leave, and `(rows,)`: which rows have any."""
    aim: Aim | None = None

    @property
    def tokens(self) -> Array:
        forced = self.decided.forced
        return namespace(forced).where(forced >= 0, forced, self.choice.tokens)


def take_step(
    logits: Array,
    signals: Signals,
    parts: Sequence[Part],
    keys: Array,
    *,
    window: int = WINDOW,
    shown: int = 1,
    blind: bool = False,
    level: Array | None = None,
    levels: int = 1,
) -> Taken:
    """Decide, draw, and move the states on.

    logits: `(rows, vocabulary)` after masks; signals: of these logits. keys: `(rows,)`, `noise_key(seed, position)` of
    each row. window: how many of the likeliest tokens are put in order, behind which a draw without top-k looks for
    itself; shown: how many the host wants to see at least. blind: nothing is read back from the device, and nothing
    behind the window is drawn. level `(rows,)`: how many rows of the same sequence stand before, below
    `levels`, since a row's state is the one after those before it; None where no sequence has more than one."""
    most = max(part.policy.max_candidates for part in parts) if blind else None
    top = top_window(logits, window) if blind else None
    decided: Decided | None = None
    kept: tuple[Array, Array] | None = None
    aim: Aim | None = None
    filters = any(part.filters is not None for part in parts)
    for n in range(levels):
        states = [part.state(n) for part in parts]
        surprised = any(SURPRISAL in state for state in states)
        watched = surprised or any(ADAPTIVE in state for state in states)
        found = [_decide(logits, signals, part, state) for part, state in zip(parts, states, strict=True)]
        here = _join(parts, [one for one, _ in found])
        decided = here if decided is None or level is None else merge(level == n, here, decided)
        if watched or n == levels - 1:
            width = max(window if filters else reach(decided.decisions, window), shown)
            seen = top_window(logits, width) if top is None else top.narrow()
            kept = _kept(parts, seen, signals, keys) if filters else None
            goals = _aim(parts, states, signals.entropy)
            aim = goals if aim is None or goals is None or level is None else merge(level == n, goals, aim)
            seen, choice = draw(logits, seen, decided.decisions, keys, kept, aim, most=most)
        surprisal = _surprisal(signals, seen, choice) if surprised else None
        mean = aim.after(choice.probabilities) if aim is not None else None
        for part, before, (one, after) in zip(parts, states, found, strict=True):
            if SURPRISAL in before:
                after = {**after, SURPRISAL: _watch(part, before[SURPRISAL], one.forced, surprisal)}
            if ADAPTIVE in before:
                after = {**after, ADAPTIVE: _watch(part, before[ADAPTIVE], one.forced, mean)}
            part.keep(n, after)
    assert decided is not None
    return Taken(signals, decided, seen, choice, logits, kept, aim)


def draw(
    logits: Array,
    window: Window,
    decisions: Decisions,
    keys: Array,
    kept: tuple[Array, Array] | None = None,
    aim: Aim | None = None,
    *,
    most: int | None = None,
) -> tuple[Window, Choice]:
    """Each row's draw, and the window with what lies behind it where a row looks there; arguments as in `choose`. kept:
    as in `Taken`."""
    whole = window = window.narrow()
    order = None
    if kept is not None:
        window, decisions, order = thinned(window, decisions, *kept)
    if most is None:
        window = widened(logits, window, decisions, keys, max(1, *decisions.candidates.tolist()))
    choice = choose(window, decisions, keys, aim, most=most)
    return (window, choice) if order is None else restored(whole, window, choice, order)


def _decide(logits: Array, signals: Signals, part: Part, state: State) -> tuple[Decided, State]:
    """One policy's decisions and the state after them, for its rows."""
    if type(part.rows) is slice and part.rows != WHOLE:
        logits, signals = logits[part.rows], map_arrays(lambda array: array[part.rows], signals)
    if not part.attention and signals.attention is not None:
        signals = replace(signals, attention=None)
    if SURPRISAL in state:
        signals = replace(signals, surprisal=state[SURPRISAL])
    own = {name: value for name, value in state.items() if name not in (PENDING, SURPRISAL, ADAPTIVE)}
    decisions, after = part.policy(signals, own)
    xp = namespace(decisions.action)
    most = part.policy.max_candidates
    if xp is not np or max(decisions.candidates.tolist()) > most:
        decisions = replace(decisions, candidates=xp.minimum(decisions.candidates, most))
    pending = state.get(PENDING)
    if part.injection is None:
        return Decided(decisions, *_nothing(decisions.action)), after if pending is None else {
            **after,
            PENDING: pending,
        }
    if pending is None and xp is np and int(Action.INJECT) not in decisions.action.tolist():
        return Decided(decisions, *_nothing(decisions.action)), after
    injects = decisions.action == int(Action.INJECT)
    goes_on = xp.zeros_like(injects) if pending is None else pending > 0
    token = part.injection[xp.zeros_like(decisions.action) if pending is None else pending]
    wanted = goes_on | injects
    # a mask is a promise: a text that it forbids is not put there
    forces = wanted & is_possible(logits, xp.where(wanted, token, xp.zeros_like(token)))
    going_on = goes_on & forces
    if pending is not None:
        # the tokens after an injection's first were not decided on: the policy does not see them
        after = {name: xp.where(column(going_on, value), own[name], value) for name, value in after.items()}
        after[PENDING] = xp.where(forces, (pending + 1) % part.injection.shape[0], xp.zeros_like(pending))
    regime = xp.where(going_on, xp.full_like(decisions.regime, int(Regime.CLARIFY)), decisions.regime)
    forced = xp.where(forces, token, xp.full_like(token, -1))
    return Decided(replace(decisions, regime=regime), forced, going_on), after


def _kept(parts: Sequence[Part], window: Window, signals: Signals, keys: Array) -> tuple[Array, Array]:
    """The tokens of the window that each part's filters leave, `(rows, K)`, and the rows that have filters."""
    xp = namespace(window.logits)
    keep = xp.ones_like(window.logits, dtype=xp.bool)
    limited = xp.zeros_like(keys, dtype=xp.bool)
    for part in parts:
        if part.filters is None:
            continue
        if type(part.rows) is slice:
            at = part.rows
            keep[at] = survivors(part.filters, window.logits[at], signals.entropy[at], keys[at])
            limited[at] = True
        else:
            found = survivors(part.filters, window.logits, signals.entropy, keys)
            keep = xp.where(part.rows[:, None], found, keep)
            limited = limited | part.rows
    return keep, limited


def _aim(parts: Sequence[Part], states: Sequence[State], like: Array) -> Aim | None:
    """What the rows of each part aim at; None where none has adaptive-p."""
    if not any(ADAPTIVE in state for state in states):
        return None
    xp = namespace(like)
    goals = Aim(*(xp.full_like(like, math.nan, dtype=real_dtype(xp, like)) for _ in range(3)))
    for part, state in zip(parts, states, strict=True):
        if part.filters is None or ADAPTIVE not in state:
            continue
        own = Aim(part.filters.adaptive_target, part.filters.adaptive_decay, state[ADAPTIVE])
        if type(part.rows) is slice:
            for name in ("target", "decay", "mean"):
                getattr(goals, name)[part.rows] = getattr(own, name)
        else:
            goals = merge(part.rows, own, goals)
    return goals


def _nothing(action: Array) -> tuple[Array, Array]:
    """`forced` and `going_on` of rows of which none is forced."""
    if type(action) is np.ndarray:
        return _nothing_of(len(action))
    xp = namespace(action)
    return xp.full_like(action, -1), xp.zeros_like(action, dtype=xp.bool)


@lru_cache(maxsize=1024)
def _nothing_of(rows: int) -> tuple[Array, Array]:
    found = np.full(rows, -1), np.zeros(rows, np.bool_)
    for array in found:
        array.flags.writeable = False
    return found


def _join(parts: Sequence[Part], found: Sequence[Decided]) -> Decided:
    """The decisions of all rows from those of each part."""
    if len(parts) == 1:
        return found[0]
    if type(parts[0].rows) is slice:
        xp = namespace(found[0].forced)
        return map_arrays(lambda *columns: xp.concat(columns), *found)
    pairs = zip(parts[1:], found[1:], strict=True)
    return reduce(lambda others, pair: merge(pair[0].rows, pair[1], others), pairs, found[0])


def merge(where: Any, one: T, other: T) -> T:
    """`one` in the rows where it holds, `other` elsewhere."""
    xp = namespace(where)
    return map_arrays(lambda mine, others: xp.where(where, mine, others), one, other)


def _surprisal(signals: Signals, window: Window, choice: Choice) -> Array:
    """−ln p of each row's draw, `(rows,)`."""
    return signals.normaliser - take_along(window.logits, choice.ranks[:, None])[:, 0]


def _watch(part: Part, before: Array, forced: Array, drawn: Array) -> Array:
    """What the part's rows remember of their last own draw: a token that is forced is not the row's own."""
    xp = namespace(before)
    mine = drawn[part.rows] if type(part.rows) is slice else drawn
    return xp.where(forced >= 0, before, xp.astype(mine, before.dtype))


def is_possible(logits: Array, tokens: Array) -> Array:
    """Whether masks leave each row this token, `(rows,)`."""
    return take_along(logits, tokens[:, None])[:, 0] > -float("inf")


def column(mask: Array, like: Array) -> Array:
    """`(rows,)` shaped so that it spreads over `like`, `(rows, …)`."""
    return mask.reshape(-1, *[1] * (like.ndim - 1))


def noise_keys(places: Sequence[tuple[int, int]], like: Array) -> Array:
    """The noise keys of (seed, position), where `like` lies."""
    keys = np.array([noise_key(seed, position) for seed, position in places], np.int64)
    xp = namespace(like)
    return keys if xp is np else xp.asarray(keys, device=like.device)
