"""A logits processor that decides nothing and counts what a request tells it to: loaded by the server under test."""

from __future__ import annotations

from typing import Any

import numpy as np
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from entropix.plugins.vllm.meter import Meter


class Counting(LogitsProcessor):
    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self.meter = Meter.from_config(vllm_config)
        self.rows: dict[int, tuple[int, float]] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self.rows, batch_update, self.asked)

    def asked(self, params: Any, prompt: Any, output: list[int]) -> tuple[int, float] | None:
        extra = params.extra_args or {}
        if "regime" not in extra:
            return None
        if not output:
            self.meter.request("counting")
        return int(extra["regime"]), float(extra["entropy"])

    def apply(self, logits: Any) -> Any:
        if self.rows:
            regimes, entropies = map(np.array, zip(*self.rows.values(), strict=True))
            self.meter.record(regimes, entropies)
        return logits
