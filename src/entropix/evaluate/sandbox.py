"""Run an unreviewed program, such as a model's answer, where it can do no harm.

`jail` shuts it in: without network, without the host's files and processes, with limits on time, memory, output and
disk. Docs: docs/tasks.md says what this guards against and what not.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from entropix.errors import EntropixError, TaskError
from entropix.evaluate.jail import SCRATCH
from entropix.evaluate.syscalls import OWN, calls_refused

JAIL = Path(__file__).with_name("jail.py")
UNSAFE = "ENTROPIX_UNSAFE_CODE"
START = 30.0
"""Seconds that starting may take, which a busy machine needs and an answer cannot use."""
SYSTEM = (
    "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/lib", "/lib32", "/lib64",
    "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/nix/store",
)  # fmt: skip


class SandboxError(EntropixError):
    """The sandbox could not be started, which says nothing about the program."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a program. reason: passed, assertion, error (any other exception), syntax, exit (it ended itself
    early), timeout, memory, output (it printed too much) or crash (a signal ended it). detail: the exception and its
    line, if there was one. output: the end of what it printed. seconds: wall time without starting."""

    ok: bool
    reason: str
    detail: str = ""
    output: str = ""
    seconds: float = 0.0


def run(
    program: str,
    tests: str = "",
    *,
    seconds: float = 10.0,
    memory: int = 1 << 30,
    disk: int = 16 << 20,
    output: int = 1 << 20,
    processes: int = 32,
    without: Collection[str] = (),
) -> Ran:
    """Run `program`, then `tests` with its names; ok if both came to their end.

    seconds: wall time, and CPU time up to a second more; memory: bytes of address space; disk: bytes that may be
    written, in files that are gone afterwards; output: bytes that may be printed; processes: at most, threads
    included. without: layers to leave out, for tests: namespaces, landlock, seccomp.

    Raises TaskError where the program cannot be isolated, SandboxError when the sandbox fails."""
    result, missing, _ = _run(
        program,
        tests,
        {"seconds": seconds, "memory": memory, "disk": disk, "processes": processes, "without": sorted(without)},
        output,
        os.environ.get(UNSAFE) == "1",
    )
    if result is None:
        raise TaskError(refusal(missing))
    return result


@cache
def isolation() -> tuple[str, ...]:
    """What a program cannot be kept from on this system: some of network, files, processes; empty is good."""
    config: dict[str, Any] = {"seconds": 10, "memory": 1 << 30, "disk": 1 << 20, "processes": 32, "without": []}
    try:
        return _run("", "", config, 1 << 10, unsafe=False)[1]
    except SandboxError:
        return "network", "files", "processes"


def require() -> None:
    """Raise TaskError when programs cannot be isolated here and the user has not said to go on nevertheless."""
    if os.environ.get(UNSAFE) != "1" and isolation():
        raise TaskError(refusal(isolation()))


def refusal(missing: Collection[str]) -> str:
    return (
        f"code tasks run what the model writes, and this system cannot keep it from the {', the '.join(missing)}. Use "
        "Linux with user namespaces, or with Landlock (5.13) and seccomp, on x86_64 or aarch64; or set "
        f"{UNSAFE}=1 to run it without that protection, on a machine where nothing can be lost"
    )


def _run(
    program: str, tests: str, config: dict[str, Any], most: int, unsafe: bool
) -> tuple[Ran | None, tuple[str, ...], list[str]]:
    """What became of it (None: refused), what is missing, and the layers that hold."""
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="entropix-", ignore_cleanup_errors=True) as directory:
        config |= {"program": program, "tests": tests, "nonce": nonce, "unsafe": unsafe, **_places(directory)}
        keep = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(JAIL)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=directory,
                env={**config["environment"], **keep},
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"the sandbox cannot be started: {error.strerror or error}") from error
        assert process.stdin is not None
        events: queue.Queue[list[str] | None] = queue.Queue()
        printed = bytearray()
        readers = [
            threading.Thread(target=_lines, args=(process.stderr, events), daemon=True),
            threading.Thread(target=_tail, args=(process.stdout, printed, most, events), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            data = json.dumps(config).encode()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(struct.pack(">Q", len(data)) + data)
                process.stdin.flush()
            result, missing, layers = _follow(events, nonce, config["seconds"])
        finally:
            _end(process)
        for reader in readers:
            reader.join(1.0)
        for stream in (process.stdout, process.stderr):
            if stream is not None and not any(reader.is_alive() for reader in readers):
                stream.close()
    if isinstance(result, str):
        raise SandboxError(f"the sandbox failed: {result}")
    if result is not None:
        text = bytes(printed[-2000:]).decode("utf-8", "replace")
        result = Ran(result.ok, result.reason, result.detail, text, result.seconds)
    return result, missing, layers


def _places(directory: str) -> dict[str, Any]:
    """What the inside needs to know of this system: paths, its environment, and the calls to refuse."""
    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    libraries = [f"{prefix}/{lib}" for prefix in (sys.base_prefix, sys.prefix) for lib in ("lib", "lib64")]
    readable = [path for path in dict.fromkeys([*SYSTEM, *libraries, *own]) if os.path.exists(path)]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": SCRATCH, "TMPDIR": SCRATCH}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # its threads would take the address space
    return {
        "root": os.path.realpath(directory),
        "readable": sorted(readable, key=len),
        "stdlib": own[0],
        "packages": own[2:],
        "environment": environment,
        "own": OWN,
        "calls_refused": [calls_refused(attributes=False), calls_refused(attributes=True)],
    }


def _follow(
    events: queue.Queue[list[str] | None], nonce: str, seconds: float
) -> tuple[Ran | str | None, tuple[str, ...], list[str]]:
    """Listen until the program has ended or its time is over. A text is an error of the sandbox."""
    missing: tuple[str, ...] = ()
    layers: list[str] | None = None
    begun = time.monotonic()
    while True:
        try:
            event = events.get(timeout=max(0.0, begun + (START if layers is None else seconds) - time.monotonic()))
        except queue.Empty:
            if layers is None:
                return f"it did not start in {START:g} s", missing, []
            return Ran(False, "timeout", seconds=seconds), missing, layers
        took = time.monotonic() - begun
        match event:
            case ["missing", *names] if layers is None:
                missing = tuple(names)
            case ["ready", *names] if layers is None:
                layers, begun = names, time.monotonic()
            case ["passed", said] if layers is not None and secrets.compare_digest(said.encode(), nonce.encode()):
                return Ran(True, "passed", seconds=took), missing, layers
            case ["failed", reason, detail] if layers is not None:
                readable = detail.encode("utf-8", "replace").decode()  # it may hold lone surrogates
                return Ran(False, reason, readable, seconds=took), missing, layers
            case ["too much"]:
                return Ran(False, "output", seconds=took), missing, layers or []
            case ["signal", number] if layers is not None:
                return Ran(False, *_by_signal(number), seconds=took), missing, layers
            case ["exit"] | None if layers is not None:
                return Ran(False, "exit", "it ended before its tests did", seconds=took), missing, layers
            case ["exit"] if missing:
                return None, missing, []
            case ["broken", why] if layers is None:
                return why, missing, []
            case ["exit"] | None if layers is None:
                return "it ended before it was ready", missing, []
            case _:
                continue


def _by_signal(number: str) -> tuple[str, str]:
    try:
        name = signal.Signals(int(number)).name
    except ValueError:
        name = f"signal {number[:20]}"
    return ("timeout", "it used up its CPU time") if name == "SIGXCPU" else ("crash", f"it was ended by {name}")


def _lines(stream: IO[bytes], events: queue.Queue[list[str] | None]) -> None:
    """Pass on what the sandbox says, up to a bound: the answer could write here too."""
    left, rest = 1 << 16, b""
    while left > 0 and (part := _read(stream, left)):
        left -= len(part)
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            try:
                words = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                events.put(words)
    events.put(["too much"] if left <= 0 else None)


def _tail(stream: IO[bytes], printed: bytearray, most: int, events: queue.Queue[list[str] | None]) -> None:
    """Keep the end of what is printed, and stop at `most` bytes."""
    left = most
    while part := _read(stream, 1 << 16):
        left -= len(part)
        printed += part
        del printed[:-4000]
        if left < 0:
            events.put(["too much"])
            return


def _read(stream: IO[bytes], most: int) -> bytes:
    try:
        return os.read(stream.fileno(), most)
    except (OSError, ValueError):
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End everything: the keeper does so when its standard input closes; if it does not, its group is killed."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(5.0 if hasattr(os, "fork") else 0.1)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        process.wait()
