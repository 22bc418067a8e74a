"""Controls: a policy that decides by signals of the wrong place. If it does as well, the signals are not the cause."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from entropix.arrays import map_arrays, namespace, real_dtype
from entropix.errors import ParameterError
from entropix.policies.base import Policy
from entropix.types import ATTENTION, Array, Decisions, Signals, State

CONTROLS = {
    "random": "all signals of one earlier token of the same answer, drawn at random",
    "shuffled": "each signal of another earlier token, drawn on its own",
    "low": "the signals of the token whose entropy has the opposite rank: acts where the model is sure",
}
MEMORY = 256
"""Tokens that are remembered; a longer answer draws from its last ones."""

DRAWS = 1024
"""Tokens after which the random draws repeat."""

FIRST = ("entropy", "varentropy", *(f"attention.{name}" for name in ATTENTION))
"""The columns that every control has, before those of the further signals that its policy asks for."""


@dataclass(frozen=True, kw_only=True)
class Control(Policy):
    """`of`, deciding by the signals of another token of the same answer instead of the current one's.

    Every action is taken at the rate at which `of` would take it on this text, but elsewhere: the control that
    the evaluation protocol asks for. Steps record the true signals beside the regime that was acted on. kind: a
    key of `CONTROLS`. Source: this project, docs/evidence.md.
    """

    of: Policy
    kind: str
    summary: ClassVar[str] = "a policy that decides by the signals of another token"

    def __post_init__(self) -> None:
        if self.kind not in CONTROLS:
            raise ParameterError(f"{self.of.name}: control={self.kind!r} is unknown; allowed are {', '.join(CONTROLS)}")

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.of.name}:control={self.kind}"

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return self.of.needs

    @property
    def wants(self) -> frozenset[str]:  # type: ignore[override]
        return self.of.wants

    @property
    def max_candidates(self) -> int:
        return self.of.max_candidates

    @property
    def injection(self) -> str:
        return self.of.injection

    def begin(self, seed: int, like: Array) -> State:
        return {**self.of.begin(seed, like), **self._memory([seed], like)}

    def initial(self, rows: int, like: Array) -> State:
        return {**self.of.initial(rows, like), **self._memory(range(rows), like)}

    def _memory(self, seeds: Any, like: Array) -> State:
        """What was seen so far, and the draws of each row, (rows, tokens, signals)."""
        xp = namespace(like)
        real, device = real_dtype(xp, like), like.device
        draws = np.stack([self._draws(seed) for seed in seeds])
        return {
            "control.seen": xp.zeros((len(draws),), dtype=xp.int64, device=device),
            "control.memory": xp.zeros((len(draws), MEMORY, len(self.columns)), dtype=real, device=device),
            "control.draws": xp.asarray(draws, dtype=real, device=device),
        }

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The signals that are exchanged, as `_shown` names them: those always measured and those asked for."""
        return (*FIRST, *sorted((self.of.asked | {"normaliser"}) - {"attention", *FIRST}))

    def _draws(self, seed: int) -> np.ndarray[Any, Any]:
        """Uniform numbers of one row, `(DRAWS, signals)`."""
        g = np.random.default_rng(seed & ((1 << 64) - 1))  # any integer is a seed, as for the noise
        return np.hstack([g.random((DRAWS, n)) for n in (len(FIRST), len(self.columns) - len(FIRST))])

    def __call__(self, signals: Signals, state: State) -> tuple[Decisions, State]:
        xp = namespace(signals.entropy)
        own = {k: v for k, v in state.items() if not k.startswith("control.")}
        seen, memory, draws = (state[f"control.{k}"] for k in ("seen", "memory", "draws"))
        now = self._columns(signals)
        places = xp.arange(MEMORY, device=signals.entropy.device)[None, :]  # (1, memory)
        memory = xp.where((places == (seen % MEMORY)[:, None])[:, :, None], now[:, None, :], memory)
        known = xp.clip(seen + 1, None, MEMORY)  # (rows,)
        if self.kind == "low":
            index = self._opposite(memory[:, :, 0], now[:, 0], places < known[:, None], known)
        else:
            turns = xp.arange(DRAWS, device=signals.entropy.device)[None, :] == (seen % DRAWS)[:, None]
            u = xp.sum(xp.where(turns[:, :, None], draws, xp.zeros_like(draws)), axis=1)  # (rows, signals)
            index = xp.astype(xp.floor(u * known[:, None]), xp.int64)
            if self.kind == "random":
                index = index[:, :1]
        chosen = places[:, :, None] == index[:, None, :]  # (rows, memory, signals or 1)
        taken = xp.sum(xp.where(chosen, memory, xp.zeros_like(memory)), axis=1)
        decisions, own = self.of(self._signals(signals, taken), own)
        return decisions, {**own, "control.seen": seen + 1, "control.memory": memory, "control.draws": draws}

    def _opposite(self, entropies: Array, now: Array, valid: Array, known: Array) -> Array:
        """Where the token stands whose rank from the top is the current one's rank from the bottom, (rows, 1)."""
        xp = namespace(entropies)
        rank = xp.sum(xp.astype(valid & (entropies < now[:, None]), xp.int64), axis=1)
        order = xp.argsort(xp.where(valid, entropies, xp.full_like(entropies, np.inf)), axis=1, stable=True)
        wanted = (known - 1 - rank)[:, None] == xp.arange(MEMORY, device=now.device)[None, :]
        return xp.sum(xp.where(wanted, order, xp.zeros_like(order)), axis=1)[:, None]

    def _columns(self, signals: Signals) -> Array:
        """The signals side by side, `(rows, signals)`; 0 for one that is not shown."""
        xp = namespace(signals.entropy)
        zero = xp.zeros_like(signals.entropy)
        shown = _shown(signals)
        real = real_dtype(xp, signals.entropy)
        return xp.stack([xp.astype(shown.get(name, zero), real) for name in self.columns], axis=-1)

    def _signals(self, signals: Signals, columns: Array) -> Signals:
        """`signals` with every array that is shown taken from `columns`."""
        names = iter(_shown(signals))

        def taken(array: Array) -> Array:
            name = next(names)
            return columns[:, self.columns.index(name)] if name in self.columns else array

        return map_arrays(taken, signals)


def _shown(signals: Any, prefix: str = "") -> dict[str, Array]:
    """The arrays of `signals` by name, with a dot within the attention signals, in the order of the fields."""
    found: dict[str, Array] = {}
    for field in fields(signals):
        value, name = getattr(signals, field.name), prefix + field.name
        if value is not None:
            found |= _shown(value, f"{name}.") if is_dataclass(value) else {name: value}
    return found
