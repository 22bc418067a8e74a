"""Candidate window, filters, keyed noise → token. Works on any array library, one row per sequence."""

from entropix.sampling.behind import Behind, widened
from entropix.sampling.choose import Choice, apply_filters, choose, reach
from entropix.sampling.noise import keyed_gumbel, noise_key, position_keys, seed_key
from entropix.sampling.window import WINDOW, Window, top_window

__all__ = [
    "WINDOW",
    "Behind",
    "Choice",
    "Window",
    "apply_filters",
    "choose",
    "keyed_gumbel",
    "noise_key",
    "position_keys",
    "reach",
    "seed_key",
    "top_window",
    "widened",
]
