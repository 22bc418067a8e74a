"""What both interfaces decide for a request before it has a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from entropix.errors import EntropixError
from entropix.plugins.vllm.asking import PolicyRequest, read
from entropix.plugins.vllm.meter import Meter
from entropix.plugins.vllm.model import Served


class Desk:
    """Reads requests: which policy, which seed, whether texts may be put into the answer.

    Tensor-parallel workers must choose alike: a request without a seed gets one from a generator that is seeded as vLLM
    seeds its own, and every worker sees the same requests in the same order.
    """

    def __init__(self, served: Served, config: Any) -> None:
        self.served = served
        self.meter = Meter.from_config(config)
        # the rank is 0 in every replica of a dense model; the index is not
        replica = int(getattr(config.parallel_config, "data_parallel_index", 0) or 0)
        self._seeds = np.random.default_rng([int(config.model_config.seed or 0), replica])

    def asked(self, sampling: Any) -> PolicyRequest | None:
        """What a request gets, None for vLLM's own sampling. sampling: SamplingParams that were admitted, or those of a
        caller who went round admission: then what cannot be read is not ours."""
        try:
            found = read(sampling.extra_args)
        except EntropixError:
            return None
        found = self.served.default if found is None else found
        return None if found is None or found.is_off else found

    def seed(self, sampling: Any) -> int:
        """The request's seed, drawn where it has none."""
        return int(self._seeds.integers(1 << 62)) if sampling.seed is None else int(sampling.seed)

    def injects(self, sampling: Any) -> bool:
        """Not into what must follow a grammar: every token is data there, and an aside would be part of it."""
        return getattr(sampling, "structured_outputs", None) is None
