"""vLLM's Model Runner V2: requests have slots, rows are identified by slot, and a request may own several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcessor, LogitsProcRequestState

from entropix.plugins.vllm.asking import check
from entropix.plugins.vllm.draw import Draw
from entropix.plugins.vllm.model import served
from entropix.plugins.vllm.resume import Departed, Traces
from entropix.plugins.vllm.seats import Desk


class SecondRunner(LogitsProcessor):  # type: ignore[misc]
    """Entropix for Model Runner V2.

    vLLM does not say when a request leaves a slot, only who comes next; and one that was pre-empted comes back as a new
    request, in any slot, with what it has said as part of its prefill. `Traces` finds where it was.
    """

    def __init__(self, vllm_config: Any, req_states: LogitsProcRequestState) -> None:
        self.states = req_states
        self.device = req_states.device
        self.host = torch.device(self.device).type == "cpu"
        like = np.zeros(1) if self.host else torch.zeros(1, device=self.device)
        drafts = int(getattr(vllm_config.speculative_config, "num_speculative_tokens", 0) or 0)
        self.desk = Desk(served(vllm_config), vllm_config)
        self.draw = Draw(self.desk.served, req_states.max_num_reqs, drafts + 2, like, self.desk.meter)
        self.seeds: dict[int, int | None] = {}
        self.traces = Traces(req_states, drafts + 2, self.array)
        self.resumed: dict[int, list[Departed]] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        check(sampling_params)

    def array(self, tensor: Any) -> Any:
        """A tensor as what we compute with: itself, or the NumPy view of what lies in host memory."""
        return tensor.numpy() if self.host else tensor

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        self._displace(req_idx)
        asked = self.desk.asked(sampling_params)
        if asked is None:
            return False
        injects = self.desk.injects(sampling_params)
        key = (asked, injects, sampling_params.seed)
        if self.states.prefill_len.np[req_idx] > self.states.prompt_len.np[req_idx]:
            stale = [slot for slot in self.draw.seats if self._key(slot) == key]
            here = [self.traces.depart(slot, key, self.draw.saved(slot)) for slot in stale]
            self.resumed[req_idx] = [*here, *self.traces.of(key)]
        else:
            self.desk.meter.request(asked.policy)
        self.draw.join(req_idx, asked, self.desk.seed(sampling_params), injects=injects)
        self.seeds[req_idx] = sampling_params.seed
        return True

    def _key(self, slot: int) -> tuple[Any, ...]:
        return (*self.draw.seats[slot], self.seeds[slot])

    def _displace(self, slot: int) -> None:
        """The slot's last request has left it. Its tokens are still there: the next one's are written later."""
        self.resumed.pop(slot, None)
        if slot not in self.draw.seats:
            return
        key, remembers = self._key(slot), self.draw.remembers(slot)
        self.seeds.pop(slot)
        saved = self.draw.leave(slot)
        if remembers:
            self.traces.keep(self.traces.depart(slot, key, saved))

    def apply_staged_writes(self) -> None:
        for slot, candidates in self.resumed.items():
            for departed in candidates:
                self.draw.restore(slot, departed.saved, self.traces.match(slot, departed))
        self.resumed.clear()

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        here = [slot for slot in ctx.idx_mapping_np.tolist() if slot in self.draw.seats]
        if not here:
            return logits
        slots = self.array(ctx.expanded_idx_mapping)
        several = logits.shape[0] != len(ctx.idx_mapping_np)
        level = self.array(ctx.expanded_local_pos) if several else None
        after = self.array(ctx.pos) + 1
        starts = after if level is None else after - level
        # the last row of an unfinished prompt predicts what is known already
        counts = starts == self.array(self.states.total_len.gpu)[slots]
        self.draw.step(self.array(logits), slots, starts, level=level, counts=counts, here=here)
        return logits

    @property
    def live(self) -> Iterable[int]:
        """The slots that were given to requests of ours and not reused since."""
        return self.draw.seats.keys()
