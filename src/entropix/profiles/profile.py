"""What was measured about one model, and the file it is kept in."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entropix.errors import ProfileError
from entropix.profiles.confidence import Calibration
from entropix.types import Thresholds

SCHEMA = "entropix.profile/1"


@dataclass(frozen=True, slots=True)
class Profile:
    """Thresholds of one model and where they come from.

    quantiles: of "entropy" (nats) and "varentropy" (nats²) over the model's own text, by percent. attention: for
    each attention signal its (median, spread), the spread being the interquartile range / 1.349, which is the
    standard deviation of a normal distribution. tokens: how many were measured. prompts: SHA-256 of the prompts.
    parameters: by policy, what takes the place of its defaults on this model. tuned: what they were chosen on, with
    the digests of the questions, so that nothing is reported on those. confidences: of votes, each for a setting.
    """

    name: str
    fingerprint: str
    vocabulary: int
    thresholds: Thresholds
    quantiles: dict[str, dict[str, float]] = field(default_factory=dict)
    tokens: int = 0
    prompts: str = ""
    decoding: str = ""
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    tuned: list[dict[str, Any]] = field(default_factory=list)
    confidences: list[Calibration] = field(default_factory=list)
    source: str = ""
    """Where this profile was found: "shipped", "generic" or a path. Not saved."""

    def save(self, path: Path | str) -> Path:
        """Write the profile as JSON, whole or not at all. Raises ProfileError when it cannot be written."""
        path = Path(path)
        data = dataclasses.asdict(self)
        del data["source"]
        text = json.dumps({"schema": SCHEMA, **data}, indent=2, ensure_ascii=False) + "\n"
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced by a file
                path.write_text(text, encoding="utf-8")
                return path
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise ProfileError(f"profile {path} cannot be written: {error.strerror or error}") from error
        return path

    @classmethod
    def load(cls, path: Path | str) -> Profile:
        """Read a profile. Raises ProfileError naming the file and what is wrong with it."""
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ProfileError(f"profile {path} does not exist; `entropix calibrate MODEL` writes one") from None
        except OSError as error:
            raise ProfileError(f"profile {path} cannot be read: {error.strerror or error}") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ProfileError(f"profile {path} is not JSON: {error}") from None
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, source: str) -> Profile:
        """A profile from parsed JSON, checked. Raises ProfileError."""

        def wrong(what: str) -> ProfileError:
            return ProfileError(f"profile {source}: {what}; write a new one with `entropix calibrate MODEL`")

        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise wrong(f"its schema is not {SCHEMA!r}")
        try:
            t = data["thresholds"]
            limits = {
                name: _number(t[name]) for name in ("entropy_low", "entropy_high", "varentropy_low", "varentropy_high")
            }
            attention = {
                str(name): (_number(median), _number(spread)) for name, (median, spread) in t["attention"].items()
            }
            profile = cls(
                name=str(data["name"]),
                fingerprint=str(data["fingerprint"]),
                vocabulary=int(data["vocabulary"]),
                thresholds=Thresholds(**limits, attention=attention),
                quantiles=data.get("quantiles", {}),
                tokens=int(data.get("tokens", 0)),
                prompts=str(data.get("prompts", "")),
                decoding=str(data.get("decoding", "")),
                parameters={str(k): dict(v) for k, v in data.get("parameters", {}).items()},
                tuned=[{**note, "items": list(note["items"])} for note in data.get("tuned", [])],
                confidences=[Calibration.from_dict(one) for one in data.get("confidences", [])],
                source=source,
            )
        except KeyError as error:
            raise wrong(f"{error.args[0]!r} is missing") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise wrong(f"a value is of the wrong kind ({error})") from None
        for kind in ("entropy", "varentropy"):
            low, high = limits[f"{kind}_low"], limits[f"{kind}_high"]
            if not 0 <= low < high:
                raise wrong(f"{kind}_low={low:g} and {kind}_high={high:g} must satisfy 0 ≤ low < high")
        if any(spread < 0 for _, spread in attention.values()):
            raise wrong("an attention spread is negative")
        return profile


def check_writable(path: Path | str) -> None:
    """Raise ProfileError if a profile certainly cannot be written to `path`; touches nothing."""
    path = Path(path)
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    why = ""
    if path.is_dir():
        why = "it is a folder; name a file in it"
    elif not parent.is_dir():
        why = f"{str(parent)!r} is not a folder"
    elif not os.access(path if path.exists() else parent, os.W_OK):
        why = "permission denied"
    if why:
        raise ProfileError(f"profile {path} cannot be written: {why}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)
