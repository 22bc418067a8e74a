"""What surrounds one model call: which rows go together, our attention meanwhile, the last logits only."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from entropix.arrays import to_numpy
from entropix.engines.transformers.attention import CURRENT, Call
from entropix.engines.transformers.cache import SlotCache, Span
from entropix.types import ATTENTION, Array, AttentionSignals, Observation


def cache_name(model: Any) -> str:
    """What a model's forward calls its cache: transformers 5.24 has another name for it than those before, whose own
    is to be forgotten in 5.40."""
    known = inspect.signature(type(model).forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def switchable_configs(model: Any) -> list[Any]:
    """The configuration objects from which the model's modules read their attention implementation."""
    held = (getattr(module, "config", None) for module in model.modules())
    configs = {id(config): config for config in held if hasattr(config, "_attn_implementation_internal")}
    return list(configs.values())


@contextmanager
def switched(configs: list[Any], implementation: str, cache: SlotCache, call: Call) -> Iterator[None]:
    """Our attention implementation and the call it serves, for the length of one model call."""
    theirs = [config._attn_implementation_internal for config in configs]
    token = CURRENT.set(call)
    cache.span = call.span
    try:
        for config in configs:
            config._attn_implementation_internal = implementation
        yield
    finally:
        for config, before in zip(configs, theirs, strict=True):
            config._attn_implementation_internal = before
        cache.span = None
        CURRENT.reset(token)


@contextmanager
def last_only(head: torch.nn.Module, span: Span) -> Iterator[None]:
    """The output projection sees each row's last position only, so a prompt's other logits cost nothing.

    A hook and not `logits_to_keep`, which not every model has and which could not distinguish rows."""
    if span.queries == 1:
        yield
        return

    def pick(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden, *rest = args
        if not span.ragged:
            return (hidden[:, -1:], *rest)
        each, last = span.each.to(hidden.device), span.last.to(hidden.device)
        return (hidden[each, last][:, None], *rest)

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def observation(parts: list[tuple[list[int], torch.Tensor, AttentionSignals | None]]) -> Observation:
    """The rows of several model calls, each `(item indices, logits, signals)`, in the order of the items."""
    rows = [n for group, _, _ in parts for n in group]
    back = None if rows == sorted(rows) else sorted(range(len(rows)), key=rows.__getitem__)

    def joined(tensors: list[torch.Tensor]) -> Array:
        whole = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
        whole = (whole if back is None else whole[back]).float()
        if whole.device.type != "cpu":
            return whole
        host = to_numpy(whole)
        host.flags.writeable = False
        return host

    shown = [signals for _, _, signals in parts if signals is not None]
    if not shown:
        return Observation(joined([logits for _, logits, _ in parts]))
    attention = AttentionSignals(*(joined([getattr(signals, name) for signals in shown]) for name in ATTENTION))
    return Observation(joined([logits for _, logits, _ in parts]), attention)
