"""Logits and attention → uncertainty signals."""

from entropix.signals.attention import attention_signals, mean_over_layers
from entropix.signals.bounds import ENTROPY_BOUNDS
from entropix.signals.logits import logit_std, measure, measure_unchecked, token_confidence

__all__ = [
    "ENTROPY_BOUNDS",
    "attention_signals",
    "logit_std",
    "mean_over_layers",
    "measure",
    "measure_unchecked",
    "token_confidence",
]
