"""A policy within transformers' own loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

from entropix.arrays import namespace
from entropix.decoding.step import Part, first_state, noise_keys, take_step
from entropix.engines.transformers import TransformersEngine
from entropix.model import Model
from entropix.policies import Policy, check_needs
from entropix.profiles import Profile
from entropix.signals import measure_unchecked
from entropix.types import SIGNALS, Array, State


class PolicyProcessor(transformers.LogitsProcessor):  # type: ignore[misc]  # transformers ships no types
    """Leaves each row the one token that the policy draws, so that greedy and sampling loops take it.

    policy: one that does without attention signals. seed: of the noise of every row. injection: the tokens of its text,
    put in one after the other; () for none. pad: the token that fills prompts on the left, which is not counted; None
    for none. The last of the processors: do_sample=False, and no temperature after it. No beams. A new prompt begins
    anew, so one object serves one `generate` at a time. `of` makes one for a model."""

    def __init__(self, policy: Policy, *, seed: int = 0, injection: Sequence[int] = (), pad: int | None = None) -> None:
        check_needs(policy, SIGNALS - {"attention"}, "a logits processor")
        self.policy, self.seed, self.injection, self.pad = policy, seed, tuple(injection), pad
        self._seen: torch.Tensor | None = None
        self._state: State = {}
        self._padding: list[int] = []

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        policy: str | Policy = "entropix",
        *,
        seed: int = 0,
        profile: Profile | str | None = None,
    ) -> PolicyProcessor:
        """With the thresholds of the model's profile. Raises ParameterError, CapabilityError."""
        with Model(TransformersEngine(model, tokenizer), profile) as loaded:
            made = loaded.policy(policy)
            injection = loaded.tokenizer.encode(made.injection) if made.injection else ()
        return cls(made, seed=seed, injection=injection, pad=tokenizer.pad_token_id)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids `(rows, tokens)`, scores `(rows, vocabulary)`: −∞ but for a 0 at each row's token."""
        logits: Array = scores.float()
        logits = logits.numpy() if scores.device.type == "cpu" else logits
        signals = measure_unchecked(logits, None, asked=self.policy.asked)
        if self._seen is None or not _goes_on(self._seen, input_ids):
            self._begin(input_ids, signals.entropy)
        places = [(self.seed, input_ids.shape[1] - padding) for padding in self._padding]
        part = Part(self.policy, slice(None), lambda _: self._state, self._keep, self._tokens(logits), attention=False)
        taken = take_step(logits, signals, [part], noise_keys(places, logits))
        self._seen = input_ids
        chosen = torch.as_tensor(taken.tokens, device=scores.device).reshape(-1, 1).to(torch.int64)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    def _begin(self, input_ids: torch.Tensor, like: Array) -> None:
        rows = input_ids.shape[0]
        self._state = first_state(self.policy, self.seed, rows, like)
        first = [] if self.pad is None else (input_ids != self.pad).to(torch.int64).argmax(1).tolist()
        self._padding = first or [0] * rows

    def _tokens(self, like: Array) -> Array | None:
        xp = namespace(like)
        return xp.asarray(self.injection, dtype=xp.int64, device=like.device) if self.injection else None

    def _keep(self, _: int, after: State) -> None:
        self._state = after


def _goes_on(before: torch.Tensor, now: torch.Tensor) -> bool:
    """Whether each row has one token more than before, and the others as they were."""
    return now.shape == (before.shape[0], before.shape[1] + 1) and bool((now[:, :-1] == before).all())
