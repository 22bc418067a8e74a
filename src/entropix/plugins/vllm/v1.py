"""vLLM's Model Runner V1: requests are rows of a batch that is condensed and reordered between steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from entropix.plugins.vllm.asking import check
from entropix.plugins.vllm.attention.board import Board
from entropix.plugins.vllm.draw import Draw
from entropix.plugins.vllm.model import served
from entropix.plugins.vllm.penalties import Penalties
from entropix.plugins.vllm.plan import Saved
from entropix.plugins.vllm.seats import Desk

SAVED = "_entropix"


@dataclass
class Seat:
    """A request of ours in the batch: its slot, and what says how many tokens it has."""

    slot: int
    prompt: int
    answer: list[int]
    sampling: Any
    seed: int
    penalties: Penalties | None

    @property
    def start(self) -> int:
        """The position of the token that is chosen next."""
        return self.prompt + len(self.answer)


@dataclass(frozen=True)
class Left:
    """A request that has left the batch, finished or not. answer: vLLM's own list of its tokens."""

    answer: list[int]
    seed: int
    saved: Saved


def comes_back(left: list[Left], answer: list[int]) -> Left | None:
    """Which of those that left with these parameters has `answer`; it is taken out. None for a request that is new.

    Answers to one request without a seed share their parameters where vLLM runs in one process. Who has no token yet
    loses nothing by beginning anew. With asynchronous scheduling the list is another one after a pre-emption, and its
    last tokens may not have been known when the request left: −1."""
    if not answer:
        return None
    for i, one in enumerate(left):
        if one.answer is answer or all(a in (b, -1) for a, b in zip(one.answer, answer, strict=False)):
            return left.pop(i)
    return None


class FirstRunner(LogitsProcessor):  # type: ignore[misc]
    """Entropix for Model Runner V1.

    vLLM says which requests join, leave and move, and hands over the list in which it keeps each one's tokens: how many
    there are shows whether the last choice was taken. A request that leaves may come back after a pre-emption, with
    the same SamplingParams object, so what is to be remembered is kept on that object and ends with it.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.device, self.pinned = device, is_pin_memory and device.type != "cpu"
        self.host = device.type == "cpu"
        slots = int(vllm_config.scheduler_config.max_num_seqs)
        like = np.zeros(1) if self.host else torch.zeros(1, device=device)
        self.desk = Desk(served(vllm_config), vllm_config)
        self.draw = Draw(self.desk.served, slots, 2, like, self.desk.meter)
        self.board = Board(vllm_config)
        self.free = list(range(slots))
        self.rows = 0
        self.seats: dict[int, Seat] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        check(sampling_params)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is not None:
            self.rows = batch_update.batch_size
            self._change(batch_update)
        looks = [row for row, seat in self.seats.items() if self.draw.looks(seat.slot)]
        wanted = np.zeros(self.rows, np.bool_)
        wanted[looks] = True
        self.board.wants(wanted if looks else None)

    def _change(self, batch_update: BatchUpdate) -> None:
        for row in batch_update.removed:
            self._leave(row)
        for row, sampling, prompt, answer in batch_update.added:
            self._leave(row)
            self._join(row, sampling, prompt, answer)
        for one, other, kind in batch_update.moved:
            seat = self.seats.pop(one, None)
            if kind is MoveDirectionality.SWAP:
                back = self.seats.pop(other, None)
                if back is not None:
                    self.seats[one] = back
            else:
                self._leave(other)
            if seat is not None:
                self.seats[other] = seat

    def _join(self, row: int, sampling: Any, prompt: list[int] | None, answer: list[int]) -> None:
        asked = self.desk.asked(sampling)
        if asked is None:
            return
        if not answer:
            self.desk.meter.request(asked.policy)
        left = comes_back(vars(sampling).get(SAVED, []), answer)
        seed, saved = (self.desk.seed(sampling), None) if left is None else (left.seed, left.saved)
        slot = self.free.pop()
        self.draw.join(slot, asked, seed, saved, injects=self.desk.injects(sampling))
        penalties = Penalties.of(sampling, prompt or [])
        self.seats[row] = Seat(slot, len(prompt or []), answer, sampling, seed, penalties)

    def _leave(self, row: int) -> None:
        seat = self.seats.pop(row, None)
        if seat is None:
            return
        left = Left(seat.answer, seat.seed, self.draw.leave(seat.slot))
        vars(seat.sampling).setdefault(SAVED, []).append(left)
        self.free.append(seat.slot)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        seats = {row: seat for row, seat in self.seats.items() if row < len(logits)}
        if not seats:
            return logits
        rows = len(logits)
        slots, starts = np.full(rows, self.draw.spare), np.zeros(rows, np.int64)
        for row, seat in seats.items():
            slots[row], starts[row] = seat.slot, seat.start
            if seat.penalties is not None:
                seat.penalties.apply(logits[row], seat.answer)
        array = logits.numpy() if self.host else logits
        self.draw.step(array, self._there(slots), self._there(starts), attention=self.board.take())
        return logits

    def _there(self, array: np.ndarray[Any, Any]) -> Any:
        """`array` where the logits lie; the host does not wait for the copy."""
        if self.host:
            return array
        tensor = torch.from_numpy(array)
        return (tensor.pin_memory() if self.pinned else tensor).to(self.device, non_blocking=True)

    @property
    def live(self) -> Iterable[int]:
        """The slots that are taken."""
        return self.draw.seats.keys()
