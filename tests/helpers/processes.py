"""`entropix serve` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from helpers.clients import until

SCRIPTED = str(Path(__file__).parent / "slow_command.py")


class Process:
    """A server process; `url` once it listens, `log` the JSON lines it has written."""

    def __init__(self, *arguments: str, program: tuple[str, ...] = (SCRIPTED,), **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program, "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            text=True,
        )
        self.lines: list[str] = []
        self.url = ""
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: bool(self.url) or self.process.poll() is not None, 60)
        assert self.url, self.lines
        until(self._answers, 30)

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            if " at http://" in line:
                self.url = line.rsplit(" ", 1)[1].strip()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def end(self) -> int:
        code = self.process.wait(timeout=30)
        assert "Traceback" not in "".join(self.lines)
        return code
