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


@dataclass(eq=False)
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
    """Who among those that left with these parameters is back with `answer`; it is taken out. None for a request that
    is new.

    A request keeps its list: also one that left before its first token, as part of its prompt was computed, and which
    must not stay here to be taken for itself later. Only with asynchronous scheduling the list is another one after a
    pre-emption, and its last tokens may not have been known when the request left: −1. Answers to one request without a
    seed share their parameters where vLLM runs in one process, so the one of the most similar length is meant."""
    for i, one in enumerate(left):
        if one.answer is answer:
            return left.pop(i)
    if not answer:
        return None
    alike = [
        i
        for i, one in enumerate(left)
        if one.answer and all(a in (b, -1) for a, b in zip(one.answer, answer, strict=False))
    ]
    return left.pop(min(alike, key=lambda i: abs(len(left[i].answer) - len(answer)))) if alike else None


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
        """All leave before one joins: who was pre-empted may be back in the same step, in another row. Who has left is
        named, or another request joins or moves into its row."""
        rows: dict[int, Any] = dict(self.seats)
        for row in batch_update.removed:
            rows.pop(row, None)
        rows |= {row: joins for row, *joins in batch_update.added}
        for one, other, kind in batch_update.moved:
            seat, back = rows.pop(one, None), rows.pop(other, None)
            if seat is not None:
                rows[other] = seat
            if back is not None and kind is MoveDirectionality.SWAP:
                rows[one] = back
        stay = {row: seat for row, seat in rows.items() if isinstance(seat, Seat)}
        kept = set(stay.values())
        for seat in self.seats.values():  # in the same order on every worker
            if seat not in kept:
                self._leave(seat)
        self.seats = stay
        for row, joins in rows.items():
            if row not in stay:
                self._join(row, *joins)

    def _join(self, row: int, sampling: Any, prompt: list[int] | None, answer: list[int]) -> None:
        asked = self.desk.asked(sampling)
        if asked is None:
            return
        left = comes_back(vars(sampling).get(SAVED, []), answer)
        if left is None and not answer:
            self.desk.meter.request(asked.policy)
        seed, saved = (self.desk.seed(sampling), None) if left is None else (left.seed, left.saved)
        slot = self.free.pop()
        self.draw.join(slot, asked, seed, saved, injects=self.desk.injects(sampling))
        penalties = Penalties.of(sampling, prompt or [])
        self.seats[row] = Seat(slot, len(prompt or []), answer, sampling, seed, penalties)

    def _leave(self, seat: Seat) -> None:
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
