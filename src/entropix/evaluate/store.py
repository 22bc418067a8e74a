"""A directory that holds a run: what was asked, and one line per outcome. Survives being killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from entropix.errors import TaskError

Key: TypeAlias = tuple[str, str, int, str]
"""(task, item, seed, spec)"""

MANIFEST, OUTCOMES = "run.json", "outcomes.jsonl"


def key_of(outcome: dict[str, Any]) -> Key:
    return outcome["task"], outcome["item"], outcome["seed"], outcome["spec"]


def cost(outcome: dict[str, Any]) -> int:
    """Tokens that an answer costs by itself: those it forwarded, and those of its prompt that happened to be in the
    cache for another answer of the same batch. Otherwise the first to come to an item would pay for all."""
    return int(outcome["forwarded"] + outcome["ledger"]["shared"])


class Store:
    """The outcomes of a run on disk. Opening an existing one resumes it if it was asked for the same."""

    def __init__(self, directory: Path | str, manifest: dict[str, Any]) -> None:
        """Raises TaskError when the directory cannot be used or holds a run that was asked for something else."""
        self.directory = Path(directory)
        self.outcomes: dict[Key, dict[str, Any]] = {}
        manifest = json.loads(json.dumps(manifest))
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._check(manifest)
            self._read()
            self._file = (self.directory / OUTCOMES).open("a", encoding="utf-8")
        except OSError as error:
            raise TaskError(f"{self.directory} cannot be written: {error.strerror or error}") from error

    def _check(self, manifest: dict[str, Any]) -> None:
        file = self.directory / MANIFEST
        if file.exists():
            before = read_manifest(self.directory)
            for name in ("model", "fingerprint", "max_tokens", "budget", "tuning"):
                if before.get(name) != manifest.get(name):
                    raise TaskError(
                        f"{self.directory} holds a run with {name} {before.get(name)!r}, not {manifest.get(name)!r}; "
                        "its outcomes cannot be compared with new ones, so give another directory"
                    )
            for name in ("tasks", "specs"):
                for key, value in before.get(name, {}).items():
                    if manifest[name].get(key, value) != value:
                        raise TaskError(
                            f"{self.directory} holds a run in which {name[:-1]} {key!r} was {value!r}, not "
                            f"{manifest[name][key]!r}; give the new one another name, or another directory"
                        )
                manifest[name] = {**before.get(name, {}), **manifest[name]}
            manifest["families"] = {**before.get("families", {}), **manifest.get("families", {})}
            manifest["commands"] = [*before.get("commands", []), *manifest.get("commands", [])]
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(file)

    def _read(self) -> None:
        """Take over the outcomes that are there; a last line that was cut off is dropped from the file."""
        file = self.directory / OUTCOMES
        if not file.exists():
            return
        data = file.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        for outcome in _lines(whole.decode("utf-8"), file):
            self.outcomes[key_of(outcome)] = outcome
        if len(whole) < len(data):
            with file.open("r+b") as f:
                f.truncate(len(whole))

    def add(self, outcome: dict[str, Any]) -> None:
        """Keep an outcome. Raises TaskError when the disk takes it not; nothing that was kept is lost."""
        try:
            self._file.write(json.dumps(outcome, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise TaskError(
                f"{self.directory / OUTCOMES} cannot be written: {error.strerror or error}; what was done before is "
                "kept, and the same command goes on from there"
            ) from error
        self.outcomes[key_of(outcome)] = outcome

    def close(self) -> None:
        with contextlib.suppress(OSError):  # said when it was written
            self._file.flush()
            os.fsync(self._file.fileno())
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def read_manifest(directory: Path) -> dict[str, Any]:
    """What a run was asked for. Raises TaskError."""
    file = directory / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{directory} holds no run: there is no {MANIFEST} in it") from None
    except (OSError, ValueError) as error:
        raise TaskError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(manifest, dict):
        raise TaskError(f"{file} is not the description of a run")
    return manifest


def read_outcomes(directory: Path) -> list[dict[str, Any]]:
    """The outcomes of a run, without changing it. Raises TaskError."""
    file = directory / OUTCOMES
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TaskError(f"{file} cannot be read: {error.strerror or error}") from None
    return list({key_of(o): o for o in _lines(text[: text.rfind("\n") + 1], file)}.values())


def _lines(text: str, file: Path) -> Iterator[dict[str, Any]]:
    for n, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        try:
            outcome = json.loads(line)
            key_of(outcome)
        except (ValueError, KeyError, TypeError) as error:
            raise TaskError(
                f"{file}, line {n}, is damaged ({error}); take the line out, and it is done again"
            ) from None
        yield outcome
