"""Which profile a model gets: the user's own, one that ships, or the generic one."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

from entropix.errors import ProfileError
from entropix.folders import found, home
from entropix.profiles.profile import Profile
from entropix.types import ModelInfo, Thresholds


def user_directory() -> Path:
    """Where `entropix calibrate` puts profiles, and where they are looked for first. Raises ProfileError for a user
    without a home directory."""
    below = home()
    if below is None:
        raise ProfileError("there is no home directory to keep profiles in; name a file (--out), or set HOME")
    return below / ".config" / "entropix" / "profiles"


def shipped() -> list[Profile]:
    """The profiles that come with the package, by name."""
    folder = resources.files("entropix.profiles") / "shipped"
    found = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".json"):
            data = json.loads(entry.read_text(encoding="utf-8"))
            found.append(Profile.from_dict(data, f"shipped:{entry.name}"))
    return found


def own() -> list[Profile]:
    """The user's profiles, newest first. A broken one raises ProfileError: it would be missed silently otherwise."""
    files = found(user_directory() if home() is not None else None, "*.json")
    files.sort(key=lambda f: f.stat().st_mtime, reverse=True)
    return [Profile.load(f) for f in files]


def generic(info: ModelInfo) -> Profile:
    """For a model that has not been measured. Attention statistics are unknown, so attention terms stay neutral."""
    return Profile(
        name="generic",
        fingerprint=info.fingerprint,
        vocabulary=info.vocabulary,
        thresholds=generic_thresholds(info.vocabulary),
        source="generic",
    )


def generic_thresholds(vocabulary: int) -> Thresholds:
    """Rough values between those of the models that ship; entropies scale with ln(vocabulary) from one of 49 k."""
    scale = math.log(max(vocabulary, 3)) / math.log(49152)
    return Thresholds(entropy_low=0.25 * scale, entropy_high=2.5 * scale, varentropy_low=0.35, varentropy_high=3.0)


def find(info: ModelInfo) -> Profile:
    """The profile of a model: the user's newest with its fingerprint, the shipped one, or the generic one."""
    for profile in [*own(), *shipped()]:
        if profile.fingerprint == info.fingerprint:
            return profile
    return generic(info)


def named(name: str | Path) -> Profile:
    """The profile in a file, or by the name of one of the user's or the shipped ones. Raises ProfileError."""
    path = Path(name)
    if path.suffix == ".json" or path.exists():
        return Profile.load(path)
    known = [*own(), *shipped()]
    for profile in known:
        if profile.name.lower() == str(name).lower():
            return profile
    names = ", ".join(dict.fromkeys(p.name for p in known)) or "none"
    raise ProfileError(f"there is no profile {str(name)!r}; known are {names}; a path to a .json file works too")
