"""Candidate window, filters, keyed noise → token. Works on any array library, one row per sequence."""

from entropix.sampling.adaptive import Aim, aimed
from entropix.sampling.behind import Behind, widened
from entropix.sampling.choose import Choice, apply_filters, choose, distribution, reach
from entropix.sampling.filters import Filters, make_filters, restored, survivors, thinned
from entropix.sampling.noise import keyed_gumbel, noise_key, position_keys, seed_key
from entropix.sampling.repetition import Repetition, make_repetition
from entropix.sampling.settings import make_settings
from entropix.sampling.window import WINDOW, Window, top_window

__all__ = [
    "WINDOW",
    "Aim",
    "Behind",
    "Choice",
    "Filters",
    "Repetition",
    "Window",
    "aimed",
    "apply_filters",
    "choose",
    "distribution",
    "keyed_gumbel",
    "make_filters",
    "make_repetition",
    "make_settings",
    "noise_key",
    "position_keys",
    "reach",
    "restored",
    "seed_key",
    "survivors",
    "thinned",
    "top_window",
    "widened",
]
