"""Model Runner V2 brings a pre-empted request back as a new one: who was it?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropix.arrays import namespace
from entropix.plugins.vllm.plan import Saved
from entropix.sampling import position_keys
from entropix.types import Array


@dataclass(frozen=True)
class Departed:
    """A request that has lost its slot, finished or not.

    key: what it asked for. digests, lengths `(depth,)`: of all its tokens, and of all but the last 1, 2, …: what was in
    flight when a request is pre-empted is dropped. A length of −1: so far back reaches no state.
    """

    key: tuple[Any, ...]
    digests: Array
    lengths: Array
    saved: Saved


class Traces:
    """Recognises a request by its tokens, compared on the device: 64 bits of each text, nothing read back.

    vLLM names no request to a logits processor and hands workers in other processes a new copy of its parameters, so
    the text is all there is. Two requests that agree in text, parameters and seed are in the same state, too.
    """

    def __init__(self, states: Any, depth: int, array: Callable[[Any], Any]) -> None:
        self.states, self.depth, self.array = states, depth, array
        self.departed: deque[Departed] = deque(maxlen=states.max_num_reqs)

    def depart(self, slot: int, key: tuple[Any, ...], saved: Saved) -> Departed:
        """The trace of who has this slot, as long as its tokens lie there."""
        digests, total = self._digests(slot)
        xp = namespace(digests)
        lengths = total - xp.arange(self.depth, device=digests.device)
        # one with the same text that stopped before the states begin is another, and further back
        lengths = xp.where(lengths < saved.start, xp.full_like(lengths, -1), lengths)
        return Departed(key, digests[xp.clip(lengths, 0, None)], lengths, saved)

    def keep(self, departed: Departed) -> None:
        """Remember it for as long as as many others as there are slots have left after it."""
        self.departed.append(departed)

    def of(self, key: tuple[Any, ...]) -> Sequence[Departed]:
        """Those who asked for the same."""
        return [d for d in self.departed if d.key == key]

    def match(self, slot: int, departed: Departed) -> Array:
        """Whether the request that is in this slot now is that one, a bool `()`."""
        digests, total = self._digests(slot)
        xp = namespace(digests)
        return xp.any((departed.lengths == total) & (departed.digests == digests[total]))

    def _digests(self, slot: int) -> tuple[Array, Array]:
        """Digests of a slot's first 0, 1, 2, … tokens, and how many it has, `()`."""
        tokens = self.array(self.states.all_token_ids.gpu)[slot]
        total = self.array(self.states.total_len.gpu)[slot]
        xp = namespace(tokens)
        places = xp.arange(tokens.shape[0], dtype=xp.int64, device=tokens.device)
        with np.errstate(over="ignore"):
            sums = xp.cumulative_sum(position_keys(xp.astype(tokens, xp.int64), places), include_initial=True)
        return sums, xp.astype(xp.asarray(total), xp.int64)
