"""Filters under every policy: they take tokens out of the window before the policy's own temperature and nucleus.

In the order in which llama.cpp has them: top-k, typical, min-p, top-H, XTC. All of them see the model's probabilities,
after biases, penalties and constraints and before temperature, and each sees what the one before it has left,
renormalised. adaptive-p, which takes nothing out, comes after the policy's own (`adaptive.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from entropix.arrays import namespace, real_dtype, take_along
from entropix.parameters import check_parameters, fitted, parameter, parse_spec, spec_of
from entropix.sampling.choose import Choice
from entropix.sampling.noise import keyed_uniform
from entropix.sampling.window import Window
from entropix.types import Array, Decisions

XTC_ID = -7
"""What stands for the token in the noise that decides whether XTC is applied at a place."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Settings of the filters; the defaults switch each off."""

    name: ClassVar[str] = "filters"

    top_k: int = parameter(0, 0, 1_000_000, doc="keep so many of the likeliest, at most 256; 0: all")
    typical: float = parameter(1.0, 0.0, 1.0, doc="mass of the tokens whose surprisal is nearest to the entropy")
    min_p: float = parameter(0.0, 0.0, 1.0, doc="least probability relative to the likeliest token")
    top_h: float = parameter(1.0, 0.0, 1.0, doc="share of the entropy that the kept tokens may have (arXiv 2509.02510)")
    xtc_probability: float = parameter(0.0, 0.0, 1.0, doc="how often the likeliest tokens are left out")
    xtc_threshold: float = parameter(0.1, 0.0, 1.0, doc="probability above which XTC leaves out all but the last token")
    adaptive_target: float = parameter(-1.0, -1.0, 1.0, doc="mean probability of the tokens drawn; below 0: off")
    adaptive_decay: float = parameter(0.9, 0.0, 0.99, doc="how much of that mean a token keeps")

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def active(self) -> bool:
        return self != OFF

    @property
    def adapts(self) -> bool:
        """Whether adaptive-p is among them."""
        return self.adaptive_target >= 0

    def __str__(self) -> str:
        return spec_of(self).partition(":")[2]


OFF = Filters()


def make_filters(asked: Filters | str | None) -> Filters:
    """Filters from "top_k=40,min_p=0.05". Raises ParameterError."""
    if isinstance(asked, Filters):
        return asked
    _, values = parse_spec(f"filters:{asked or ''}")
    return Filters(**fitted("filters", Filters, values))


def survivors(filters: Filters, logits: Array, entropy: Array, keys: Array) -> Array:
    """Which tokens of a window the filters leave, `(rows, K)`; at least one in each row.

    logits: `(rows, K)`, descending, before temperature; entropy: `(rows,)`, nats, of the whole distribution; keys:
    `(rows,)` of the draw's noise."""
    xp = namespace(logits)
    z = xp.astype(logits, real_dtype(xp, logits))
    rank = xp.arange(z.shape[-1], device=getattr(z, "device", None))[None, :]
    keep = (z > -math.inf) | (rank == 0)
    if filters.top_k:
        keep = keep & (rank < filters.top_k)
    if filters.typical < 1:
        keep = keep & _typical(xp, z, keep, filters.typical)
    if filters.min_p > 0:
        top = xp.max(xp.where(keep, z, -math.inf), axis=-1, keepdims=True)
        keep = keep & (z >= top + math.log(filters.min_p))
    if filters.top_h < 1:
        keep = keep & _top_h(xp, z, keep, filters.top_h * xp.astype(entropy, z.dtype))
    if filters.xtc_probability > 0 and filters.xtc_threshold <= 0.5:
        keep = keep & _xtc(xp, z, keep, filters, keys)
    return keep


def _probabilities(xp: Any, z: Array, keep: Array) -> Array:
    z = xp.where(keep, z, -math.inf)
    p = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return p / xp.sum(p, axis=-1, keepdims=True)


def _typical(xp: Any, z: Array, keep: Array, mass: float) -> Array:
    """Locally typical sampling (Meister et al. 2022, arXiv 2202.00666)."""
    p = _probabilities(xp, z, keep)
    surprisal = -xp.log(xp.where(p > 0, p, xp.ones_like(p)))
    entropy = xp.sum(p * surprisal, axis=-1, keepdims=True)
    far = xp.where(p > 0, xp.abs(surprisal - entropy), math.inf)
    order = xp.argsort(far, axis=-1, stable=True)
    ordered = take_along(p, order)
    before = xp.cumulative_sum(ordered, axis=-1) - ordered
    back = xp.argsort(order, axis=-1, stable=True)
    # a hair of tolerance: the sum of what stands before a token is rounded
    return take_along(before <= mass + 1e-12, back) & (p > 0)


def _top_h(xp: Any, z: Array, keep: Array, most: Array) -> Array:
    """The likeliest tokens as long as the entropy of those that are kept, renormalised, is at most `most`, nats."""
    p = _probabilities(xp, z, keep)
    log_p = xp.log(xp.where(p > 0, p, xp.ones_like(p)))
    mass = xp.cumulative_sum(p, axis=-1)
    mass = xp.where(mass > 0, mass, xp.ones_like(mass))
    entropy = xp.log(mass) - xp.cumulative_sum(p * log_p, axis=-1) / mass
    first = xp.cumulative_sum(xp.astype(keep, xp.int64), axis=-1) <= 1
    over = xp.astype((entropy > most[:, None]) & ~first, xp.int64)
    return xp.cumulative_sum(over, axis=-1) == 0


def _xtc(xp: Any, z: Array, keep: Array, filters: Filters, keys: Array) -> Array:
    """Exclude top choices: of the tokens at least as likely as the threshold, all but the least likely are left out."""
    above = (_probabilities(xp, z, keep) >= filters.xtc_threshold) & keep
    count = xp.sum(xp.astype(above, xp.int64), axis=-1, keepdims=True)
    number = xp.cumulative_sum(xp.astype(above, xp.int64), axis=-1)
    ids = xp.full((keys.shape[0], 1), XTC_ID, dtype=xp.int64, device=getattr(z, "device", None))
    applies = keyed_uniform(keys, ids) <= filters.xtc_probability
    return ~(above & (number < count) & applies)


def thinned(window: Window, decisions: Decisions, keep: Array, limited: Array) -> tuple[Window, Decisions, Array]:
    """What the filters leave, as a window that `choose` takes: the kept tokens first, the others behind them with −∞.

    keep: `(rows, K)`; limited: `(rows,)`, the rows that have filters: they draw from the window alone. Also returns the
    decisions for it, and where each of its tokens stood in `window`, `(rows, K)`."""
    xp = namespace(window.logits)
    order = xp.argsort(xp.astype(~keep, xp.int64), axis=-1, stable=True)
    logits = take_along(xp.where(keep, window.logits, -math.inf), order)
    size = window.logits.shape[-1]
    top_k = decisions.top_k
    inside = xp.where((top_k <= 0) | (top_k > size), xp.full_like(top_k, size), top_k)
    decisions = replace(decisions, top_k=xp.where(limited, inside, top_k))
    return Window(take_along(window.ids, order), logits), decisions, order


def restored(whole: Window, thin: Window, found: Choice, order: Array) -> tuple[Window, Choice]:
    """The window before it was thinned, with what lies behind `thin`, and a choice with the ranks of it."""
    xp = namespace(whole.logits)
    size, width = whole.ids.shape[-1], thin.ids.shape[-1]
    if width > size:
        ids = xp.concat([whole.ids, thin.ids[:, size:]], axis=-1)
        whole = Window(ids, xp.concat([whole.logits, thin.logits[:, size:]], axis=-1), thin.behind)
        rest = xp.zeros_like(thin.ids[:, size:]) + xp.arange(size, width, device=getattr(order, "device", None))
        order = xp.concat([order, rest], axis=-1)
    ranks = take_along(order, found.ranks[:, None])[:, 0]
    filtered, drawn = found.filtered, found.drawn
    if filtered is not None:
        shape = (filtered.shape[0], width - filtered.shape[-1])
        rest = xp.full(shape, -math.inf, dtype=filtered.dtype, device=getattr(filtered, "device", None))
        back = xp.argsort(order, axis=-1, stable=True)
        filtered = take_along(xp.concat([filtered, rest], axis=-1), back)
    if drawn is not None:
        drawn = xp.where(drawn >= 0, take_along(order, xp.clip(drawn, 0, None)), drawn)
    return whole, replace(found, ranks=ranks, filtered=filtered, drawn=drawn)
