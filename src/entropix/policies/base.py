"""What a policy is, and the shape of its answer.

A policy is a pure function on arrays with one entry per row: no model, no tokenizer, no I/O, no `if row`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from entropix.arrays import namespace, real_dtype
from entropix.errors import CapabilityError, ParameterError
from entropix.parameters import check_parameters
from entropix.types import SIGNALS, Action, Array, Decisions, Regime, Signals, State, Thresholds

FEW = 8
"""Up to as many rows in host memory are read as plain numbers: an array operation costs more than it does for them."""

CANDIDATES = 16
"""Most candidates of a policy that does not say how many it draws."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Base of all policies: (Signals, State) → (Decisions, State).

    Subclasses declare their parameters with `parameter` and implement `decide`; everything else (checking,
    regimes, the shape of the answer) is here. `thresholds` say where the model's regimes begin.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of the signals without which it cannot decide: a host that does not show one refuses the request."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """Names of the signals that it decides by where the host shows them, and does without elsewhere."""

    thresholds: Thresholds

    def __post_init__(self) -> None:
        unknown = sorted(self.asked - SIGNALS)
        if unknown:
            raise ParameterError(
                f"policy {self.name!r} asks for {', '.join(unknown)}; signals are {', '.join(sorted(SIGNALS))}"
            )
        check_parameters(self)

    @property
    def asked(self) -> frozenset[str]:
        """The signals that are measured for it where they can be."""
        return self.needs | self.wants

    @property
    def max_candidates(self) -> int:
        """Most candidates that a decision of it draws; every host cuts `Decisions.candidates` to this. A device that
        must not be waited for draws as many, so say 1 where there is never more than one."""
        return CANDIDATES

    @property
    def injection(self) -> str:
        """The text that Action.INJECT stands for; empty when the policy never injects."""
        return ""

    def initial(self, rows: int, like: Array) -> State:
        """The state of `rows` new sequences, on the device of `like`."""
        return {}

    def begin(self, seed: int, like: Array) -> State:
        """The state of one new sequence whose noise has this seed, `(1, …)`. Override only where the policy itself
        draws at random."""
        return self.initial(1, like)

    def decide(self, signals: Signals, regime: Array, state: State) -> tuple[Decisions, State]:
        """One decision a row. `regime` `(rows,)` has been read off the signals already."""
        raise NotImplementedError

    def __call__(self, signals: Signals, state: State) -> tuple[Decisions, State]:
        return self.decide(signals, self.regimes(signals), state)

    def regimes(self, signals: Signals) -> Array:
        """The regime of each row, `(rows,)` of `Regime` values; exactly one each, whatever the numbers are."""
        t = self.thresholds
        if type(signals.entropy) is np.ndarray and len(signals.entropy) <= FEW and signals.entropy.dtype == np.float64:
            found = []
            for h, v in zip(signals.entropy.tolist(), signals.varentropy.tolist(), strict=True):
                row = (h >= t.entropy_low) + (h > t.entropy_high)
                column = (v >= t.varentropy_low) + (v > t.varentropy_high)
                found.append(self._table[3 * row + column])
            return np.array(found, np.int64)
        xp = namespace(signals.entropy)
        table = self.constants(xp, signals.entropy)["regimes"]
        index = xp.int64
        h = xp.astype(signals.entropy >= t.entropy_low, index) + (signals.entropy > t.entropy_high)
        v = xp.astype(signals.varentropy >= t.varentropy_low, index) + (signals.varentropy > t.varentropy_high)
        return table[3 * h + v]

    def tables(self) -> dict[str, np.ndarray[Any, Any]]:
        """Constant arrays the policy computes with, moved to each device once. Override to add some."""
        return {"regimes": REGIME_TABLE}

    @cached_property
    def _table(self) -> list[int]:
        table: list[int] = self.tables()["regimes"].tolist()
        return table

    @cached_property
    def _moved(self) -> dict[tuple[str, str], dict[str, Array]]:
        return {}

    def constants(self, xp: Any, like: Array) -> dict[str, Array]:
        """`tables()` in the array library and on the device of `like`."""
        key = ("numpy", "") if xp is np else (xp.__name__, str(getattr(like, "device", "")))
        moved = self._moved.get(key)
        if moved is None:
            real = real_dtype(xp, like)
            moved = {}
            for name, table in self.tables().items():
                dtype = real if table.dtype.kind == "f" else xp.int64
                moved[name] = xp.asarray(table, dtype=dtype, device=like.device)
            self._moved[key] = moved
        return moved


# rows: H below the low threshold, between, above the high one; columns: the same for V
REGIME_TABLE = np.array(
    [
        [Regime.FLOW, Regime.ADAPT, Regime.BRANCH],
        [Regime.ADAPT, Regime.ADAPT, Regime.BRANCH],
        [Regime.CLARIFY, Regime.ADAPT, Regime.RESAMPLE],
    ],
    dtype=np.int64,
).reshape(-1)


def check_needs(policy: Policy, shown: Set[str], host: str) -> None:
    """Raise CapabilityError unless a host shows every signal that the policy needs. host: its name, for the message."""
    missing = sorted(policy.needs - shown)
    if missing:
        raise CapabilityError(
            f"policy {policy.name!r} needs {' and '.join(missing)}, and {host} does not show it; "
            "choose another policy, or decode where it is shown"
        )


@lru_cache(maxsize=1024)
def _column(rows: int, value: float, whole: bool) -> np.ndarray[Any, Any]:
    """A constant column, made once: most parameters of most policies are the same at every step."""
    column = np.full((rows,), value, np.int64 if whole else np.float64)
    column.flags.writeable = False
    return column


def sampled(
    regime: Array,
    *,
    like: Array,
    temperature: Array | float,
    top_k: Array | int = 0,
    top_p: Array | float = 1.0,
    min_p: Array | float = 0.0,
    candidates: Array | int = 1,
    action: Array | int = int(Action.SAMPLE),
) -> Decisions:
    """Decisions that sample, scalars spread over the rows."""
    xp = namespace(like)
    rows = like.shape[0]
    real = real_dtype(xp, like)
    device = like.device

    def spread(value: Any, dtype: Any) -> Array:
        if hasattr(value, "shape") and value.shape:
            return value if value.dtype == dtype else xp.astype(value, dtype)
        if xp is np:
            return _column(rows, float(value), dtype is np.int64)
        return xp.full((rows,), value, dtype=dtype, device=device)

    return Decisions(
        action=spread(action, xp.int64),
        regime=regime,
        temperature=spread(temperature, real),
        top_k=spread(top_k, xp.int64),
        top_p=spread(top_p, real),
        min_p=spread(min_p, real),
        candidates=spread(candidates, xp.int64),
    )
