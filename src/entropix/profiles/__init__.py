"""Measured thresholds per model, and the calibration that measures them."""

from entropix.profiles.calibrate import calibrate, default_prompts
from entropix.profiles.library import find, generic, generic_thresholds, named, own, shipped, user_directory
from entropix.profiles.profile import Profile, check_writable

__all__ = [
    "Profile",
    "calibrate",
    "check_writable",
    "default_prompts",
    "find",
    "generic",
    "generic_thresholds",
    "named",
    "own",
    "shipped",
    "user_directory",
]
