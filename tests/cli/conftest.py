"""The command line over a scripted model, in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import entropix
from entropix.cli import main
from entropix.engines.scripted import Script, ScriptedEngine, saying
from entropix.model import Model


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    """Runs commands; `loads` are the arguments models were loaded with."""

    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]
    script: Script = field(default_factory=lambda: saying("Hello, 😀 [red]world[/red]\x1b[31m!", certainty=20))
    engine: dict[str, Any] = field(default_factory=dict)
    loads: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    noise: Callable[[], None] = lambda: None

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> Outcome:
        if stdin is not None:
            self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        try:
            code = main(list(arguments))
        except SystemExit as error:  # argparse
            code = error.code if isinstance(error.code, int) else 1
        out, err = self.capfd.readouterr()
        return Outcome(code, out, err)

    def load(self, name: Any, **options: Any) -> Model:
        self.loads.append((name, options))
        self.noise()
        return Model(ScriptedEngine(self.script, **self.engine), options.get("profile"))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    command = CommandLine(monkeypatch, capfd)
    monkeypatch.setattr(entropix, "load", command.load, raising=False)
    return command
