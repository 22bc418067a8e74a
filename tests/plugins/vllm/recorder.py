"""A logits processor of vLLM's Model Runner V1 that only writes down what the board shows in each step."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from entropix.plugins.vllm.attention.board import Board
from entropix.types import ATTENTION


class Recorder(LogitsProcessor):
    """Watches requests whose `extra_args` hold `watch`, a name of the test's own.

    `shown[name][position]` are the four signals at the position from which a token was drawn, `steps` the sizes
    of the batches that `apply` saw, each with the number of rows that asked, `entered` the names in the order in
    which they came into the batch, again after every pre-emption."""

    shown: dict[str, dict[int, list[float] | None]] = {}  # noqa: RUF012 - shared on purpose: vLLM makes the instance
    steps: list[tuple[int, int]] = []  # noqa: RUF012
    entered: list[str] = []  # noqa: RUF012

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self.board = Board(vllm_config)
        self.watched: dict[int, tuple[str, int, list[int]]] = {}
        self.size = 0

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self.watched, batch_update, self.entry)
        if batch_update is not None:
            self.size = batch_update.batch_size
        rows = np.zeros(self.size, bool)
        rows[list(self.watched)] = True
        self.board.wants(rows)

    def entry(self, params: SamplingParams, prompt: list[int] | None, output: list[int]) -> Any:
        name = (params.extra_args or {}).get("watch")
        if name is None:
            return None
        self.entered.append(name)
        return name, len(prompt or ()), output

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        assert len(logits) == self.size
        signals = self.board.take()
        self.steps.append((self.size, len(self.watched)))
        for row, (name, prompt, output) in self.watched.items():
            values = None if signals is None else [float(getattr(signals, field)[row]) for field in ATTENTION]
            self.shown.setdefault(name, {})[prompt + len(output)] = values
        if signals is not None:
            others = np.ones(self.size, bool)
            others[list(self.watched)] = False
            assert np.isnan(np.asarray(signals.entropy)[others]).all()
        if path := os.environ.get("ENTROPIX_TEST_RECORD"):
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"shown": self.shown, "process": os.getpid()}, file)
        return logits
