"""Penalties for Model Runner V1, which applies its own only after logits processors: too late, the token is chosen."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch


class Penalties:
    """One request's repetition, frequency and presence penalties, and which tokens it has seen.

    As vLLM's: a logit of a token in prompt or answer is divided by the repetition penalty if positive and multiplied
    otherwise; then frequency × count in the answer and presence are taken away.
    """

    def __init__(self, prompt: list[int], repetition: float, frequency: float, presence: float) -> None:
        self.repetition, self.frequency, self.presence = repetition, frequency, presence
        self.seen = dict.fromkeys(prompt, 0)
        self.read = 0

    @classmethod
    def of(cls, sampling: Any, prompt: list[int]) -> Penalties | None:
        """None for a request that has none. sampling: SamplingParams."""
        strengths = sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty
        return None if strengths == (1.0, 0.0, 0.0) else cls(prompt, *strengths)

    def apply(self, line: torch.Tensor, answer: list[int]) -> None:
        """Change one row of logits, `(vocabulary,)`, in place. answer: its tokens so far."""
        for token, count in Counter(answer[self.read :]).items():
            self.seen[token] = self.seen.get(token, 0) + count
        self.read = len(answer)
        known = [token for token in self.seen if 0 <= token < len(line)]
        if not known:
            return
        counts = torch.tensor([float(self.seen[token]) for token in known])
        tokens = torch.tensor(known).to(line.device, non_blocking=True)
        less = self.frequency * counts + self.presence * (counts > 0)
        z = line[tokens]
        z = torch.where(z > 0, z / self.repetition, z * self.repetition)
        line[tokens] = z - less.to(line.device, non_blocking=True)
