"""The class that SGLang unpacks from a request and calls in its sampler."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import torch
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor

from entropix.errors import EntropixError
from entropix.plugins.sglang.asking import read
from entropix.policies import Policy
from entropix.sampling import distribution
from entropix.signals import measure_unchecked

CHUNK = 1 << 22
"""Most logits that are put in order at a time: SGLang leaves its device little memory beside the KV cache."""
REQUEST = "__req__"
"""Where SGLang puts the request itself, so that a processor may read it."""
log = logging.getLogger("sglang.entropix")


class PolicyLogitProcessor(CustomLogitProcessor):  # type: ignore[misc]  # SGLang is not there when types are checked
    """Shapes each row so that SGLang's plain draw is the draw that the row's policy asks for.

    The policy's temperature, top-k, top-p and min-p are in the logits then; drawing, and seeds, stay SGLang's. It keeps
    nothing between calls: SGLang makes a new object for every batch, calls it for halves of prompts too and, where
    decoding overlaps, before it knows the last token."""

    def __call__(
        self, logits: torch.Tensor, custom_param_list: Sequence[Mapping[str, Any] | None] | None = None
    ) -> torch.Tensor:
        """logits `(rows, vocabulary)`, changed in place; custom_param_list: of each row. A row that names no policy
        stays as it is, and so does one that asks for what there is not: SGLang ends that request, and no other."""
        groups: dict[int, tuple[Policy, list[int]]] = {}
        for row, params in enumerate(custom_param_list or ()):
            policy = _asked(params, logits.shape[-1])
            if policy is not None:
                groups.setdefault(id(policy), (policy, []))[1].append(row)
        some = max(CHUNK // logits.shape[-1], 1)
        for policy, rows in groups.values():
            for start in range(0, len(rows), some):
                places = torch.tensor(rows[start : start + some], device=logits.device)
                logits[places] = shaped(policy, logits[places].float()).to(logits.dtype)
        return logits


def shaped(policy: Policy, logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities `(rows, vocabulary)` of the token that the policy draws, −∞ where it cannot be drawn."""
    signals = measure_unchecked(logits, asked=policy.asked)
    decisions, _ = policy(signals, policy.initial(logits.shape[0], signals.entropy))
    found: torch.Tensor = distribution(logits, decisions)
    return found


def _asked(params: Mapping[str, Any] | None, vocabulary: int) -> Policy | None:
    """The row's policy. An error here would end SGLang and everybody's answers, so that a request which cannot be kept
    is ended alone, with the reason, as SGLang does it."""
    try:
        return read(params, vocabulary)
    except EntropixError as error:
        if params is None or REQUEST not in params:
            raise
        from sglang.srt.managers.schedule_batch import FINISH_ABORT

        log.warning("a request is ended: %s", error)
        params[REQUEST].to_finish = FINISH_ABORT(str(error), HTTPStatus.BAD_REQUEST, "BadRequestError")
        return None
