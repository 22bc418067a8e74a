"""Traces on disk: one JSON object a line, so that a run that is killed leaves a trace up to its last token.

The first line is the header, then one line per step, and after an answer's last step its result. Every line has
`schema` and `kind`; readers ignore kinds and fields they do not know. In a conversation a line of kind "prompt"
stands before each answer. docs/traces.md describes every field.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from entropix.errors import TraceError
from entropix.lines import counted, line, quoted
from entropix.trace.records import (
    result_from,
    result_record,
    step_from,
    step_record,
    thresholds_from,
    thresholds_record,
    to_json,
)
from entropix.types import Result, Step, Thresholds
from entropix.version import entropix_version

SCHEMA = "entropix.trace/1"


def make_header(
    *,
    model: str,
    fingerprint: str,
    policy: str,
    engine: str = "",
    parameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
    profile: str = "",
    thresholds: Thresholds | None = None,
    prompts: Sequence[Any] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What a reader needs to know before the first step. `prompts`: texts or conversations, one per answer."""
    return {
        "model": model,
        "fingerprint": fingerprint,
        "engine": engine,
        "policy": policy,
        "parameters": dict(parameters or {}),
        "seed": seed,
        "profile": profile,
        "thresholds": thresholds_record(thresholds),
        "prompts": list(prompts),
        "version": entropix_version(),
        "notes": list(notes),
    }


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise TraceError if a trace certainly cannot be written to `path`; touches nothing."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise _cannot("write", path, "it is a folder; name a file in it")
    if not folder.is_dir():
        raise _cannot("write", path, f"there is no folder {str(folder)!r}; create it first")
    if not os.access(target if target.exists() else folder, os.W_OK):
        raise _cannot("write", path, "permission denied")


class TraceWriter:
    """Writes a trace line by line, each line on its way to disk before the next token.

    Opening writes the header and raises TraceError if that fails. A write that fails later (a full disk) is
    remembered in `error` and raised by `close`: no answer is lost for the sake of its trace, and what was written
    before can be read.
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, Any]) -> None:
        self.path = path
        self.error: TraceError | None = None
        self._written: dict[int, int] = {}
        self._file: TextIO | None = None
        check_writable(path)
        try:
            self._file = open(path, "w", buffering=1, encoding="utf-8", newline="\n")  # noqa: SIM115
        except OSError as error:
            raise _cannot("write", path, _reason(error)) from None
        self._write("header", header)
        if self.error:
            raise self.error

    def prompt(self, answer: int, prompt: Any) -> None:
        """The prompt of `answer`, where the header could not know it."""
        self._write("prompt", {"answer": answer, "prompt": prompt})

    def step(self, answer: int, step: Step) -> None:
        """The next step of `answer`, counted from 0; its text must be certain."""
        self._written[answer] = self._written.get(answer, 0) + 1
        self._write("step", {"answer": answer, **step_record(step)})

    def result(self, answer: int, result: Result) -> None:
        """The end of `answer`: steps that have not been written yet, then the result."""
        for step in result.steps[self._written.get(answer, 0) :]:
            self.step(answer, step)
        self._write("result", {"answer": answer, **result_record(result)})

    def close(self) -> None:
        """Raises TraceError if any write has failed. Closing twice is allowed; the error comes once."""
        self._shut()
        error, self.error = self.error, None
        if error:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._shut()
            if self.error:
                error.add_note(str(self.error))

    def _write(self, kind: str, record: Mapping[str, Any]) -> None:
        if self.error or self._file is None:
            return
        try:
            self._file.write(to_json({"schema": SCHEMA, "kind": kind, **record}) + "\n")
        except OSError as error:
            self._fail(error)

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.error = self.error or _cannot("write", self.path, _reason(error))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a trace. `result` is None when the run ended before the answer did."""

    index: int
    prompt: Any
    steps: tuple[Step, ...]
    result: Result | None

    @property
    def text(self) -> str:
        return self.result.text if self.result else "".join(step.text for step in self.steps)

    def __repr__(self) -> str:
        ended = self.result.finish_reason if self.result else "not ended"
        return line("Answer", self.index, quoted(self.text), counted(self.steps, "token"), ended)


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as read from a file. `problems` say where it is incomplete; empty for a whole trace."""

    header: Mapping[str, Any]
    answers: tuple[Answer, ...]
    problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        of = [f"{key}={quoted(str(self.header[key]))}" for key in ("model", "policy") if self.header.get(key)]
        problems = counted(self.problems, "problem") if self.problems else None
        return line("Trace", counted(self.answers, "answer"), *of, problems)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """The trace in `path`, as far as it goes.

    A line that was cut off at the end of the file and answers without a result are named in `Trace.problems`.
    Raises TraceError, with the line number, for a file that cannot be read or is not a trace."""
    problems: list[str] = []
    header: Mapping[str, Any] | None = None
    prompts: dict[int, Any] = {}
    steps: dict[int, list[Step]] = {}
    results: dict[int, Mapping[str, Any]] = {}
    lines: dict[int, int] = {}
    for number, record in _records(path, problems):
        try:
            kind = record["kind"]
            if kind == "header":
                if header is not None:
                    raise ValueError("a second header; a file holds one trace")
                thresholds_from(record)
                header = record
                prompts = dict(enumerate(_prompts(record)))
            elif kind in ("prompt", "step", "result"):
                answer = record.get("answer")
                if not isinstance(answer, int) or isinstance(answer, bool) or answer < 0:
                    raise ValueError("'answer' is not an integer from 0 on")
                if kind == "prompt":
                    prompts[answer] = record.get("prompt")
                elif kind == "step":
                    steps.setdefault(answer, []).append(step_from(record))
                else:
                    results[answer] = record
                    lines[answer] = number
        except ValueError as error:
            raise _cannot("read", path, f"line {number}: {error}") from None
    if header is None:
        raise _cannot("read", path, "; ".join(["the file has no complete line", *problems]))
    answers = []
    for index in sorted({*steps, *results, *prompts}):
        said = tuple(steps.get(index, ()))
        try:
            result = result_from(results[index], header, said) if index in results else None
        except ValueError as error:
            raise _cannot("read", path, f"line {lines[index]}: {error}") from None
        if result is None:
            problems.append(f"answer {index + 1} has no result: the run ended after {len(said)} tokens of it")
        answers.append(Answer(index, prompts.get(index), said, result))
    return Trace(header, tuple(answers), tuple(problems))


def _records(path: str | os.PathLike[str], problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The lines of a trace as objects, with their numbers. Only the last may be cut off."""
    number = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError) as error:
                    if not line.endswith(b"\n") and number > 1:
                        problems.append(f"line {number} is cut off: the run was ended while it was written")
                        return
                    raise _cannot("read", path, f"line {number} {_not_json(error)}") from None
                if not isinstance(record, dict):
                    raise _cannot("read", path, f"line {number} is not a JSON object")
                _check_schema(path, number, record)
                yield number, record
    except OSError as error:
        raise _cannot("read", path, _reason(error)) from None
    if number == 0:
        raise _cannot("read", path, "the file is empty")


def _check_schema(path: str | os.PathLike[str], number: int, record: Mapping[str, Any]) -> None:
    schema = record.get("schema")
    if schema is None or not isinstance(record.get("kind"), str):
        raise _cannot("read", path, f"line {number} is no line of a trace: it has no 'schema' and 'kind'")
    if schema != SCHEMA:
        raise _cannot("read", path, f"line {number} has schema {schema!r}; this version reads {SCHEMA!r}")
    if number == 1 and record["kind"] != "header":
        raise _cannot("read", path, f"line 1 is a {record['kind']}, not a header; the beginning is missing")


def _prompts(header: Mapping[str, Any]) -> list[Any]:
    prompts = header.get("prompts") or []
    if not isinstance(prompts, list):
        raise ValueError("'prompts' is not a list")
    return prompts


def _not_json(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text (byte {error.object[error.start]:#04x} at offset {error.start} of the line)"
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON ({error.msg} at column {error.colno})"
    return "is not JSON"


def _reason(error: OSError) -> str:
    hints = {errno.ENOSPC: "no space left on the device", errno.ENOENT: "there is no such file"}
    return hints.get(error.errno or 0) or (error.strerror or str(error)).lower()


def _cannot(do: str, path: str | os.PathLike[str], reason: str) -> TraceError:
    return TraceError(f"cannot {do} the trace {os.fspath(path)!r}: {reason}")
