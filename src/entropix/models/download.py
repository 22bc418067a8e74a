"""Large files over HTTP: resumed where they stopped, checked, and shown as they come."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from entropix.errors import ModelError

CHUNK = 1 << 18
ATTEMPTS = 5
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""
SPARE = 64 << 20
"""Bytes that stay free on a disk."""

FULL = (errno.ENOSPC, errno.EDQUOT)
ELSEWHERE = "set ENTROPIX_MODELS (HF_HOME for models of the hub) to a folder on another disk"

Advance = Callable[[int], None]


def fetch(find: Callable[[], str], target: Path, *, size: int, sha256: str, label: str) -> None:
    """Download a file to `target`, beside which `.part` keeps what has come; a later call goes on from there. The
    caller holds the lock. find: the address, asked for once there is room. size: bytes. sha256: of the file, in hex.

    Raises ModelError where there is no room for it, and where the server cannot be reached or sends something else."""
    if target.exists():
        return
    part = target.with_name(target.name + ".part")
    held = part.stat().st_size if part.exists() else 0
    check_room(target.parent, size - held, label)
    url = find()
    with progress(label, size, held) as advance:
        _receive(url, part, size, label, advance)
    if digest(part) != sha256:
        part.unlink()
        raise ModelError(f"{label} arrived damaged: its SHA-256 is not {sha256[:12]}…; it is removed. Try again")
    os.replace(part, target)


def check_room(folder: Path, needed: int, label: str) -> None:
    """Raises ModelError where a folder's disk has not `needed` bytes and some to spare."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise ModelError(
            f"{label} takes {needed / 1e6:,.0f} MB, and {folder} has {free / 1e6:,.0f} MB free: make room, or "
            f"{ELSEWHERE}"
        )


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(url: str, *, accept: str = "*/*", label: str = "") -> bytes:
    """A small answer, whole. Raises ModelError."""
    try:
        with urllib.request.urlopen(request(url, {"Accept": accept}), timeout=TIMEOUT) as answer:
            return bytes(answer.read())
    except (OSError, ValueError) as error:
        raise ModelError(f"{label or url} cannot be reached: {reason(error)}") from error


def request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """A request; a user and password in the address become a header, as urllib does not do."""
    parts = urlsplit(url)
    if parts.username:
        who = f"{parts.username}:{parts.password or ''}".encode()
        headers = headers | {"Authorization": f"Basic {base64.b64encode(who).decode()}"}
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(url, headers={"User-Agent": "entropix"} | headers)


def reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _receive(url: str, part: Path, size: int, label: str, advance: Advance) -> None:
    """Fill `part` up to `size` bytes, over several connections where some are lost."""
    failed = 0
    while True:
        held = part.stat().st_size if part.exists() else 0
        if held == size:
            return
        if held > size:
            advance(-held)
            part.unlink()
            held = 0
        try:
            _connection(url, part, held, advance)
            problem = f"the connection ended after {part.stat().st_size:,} of {size:,} bytes"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 416, 429):
                raise ModelError(f"{label} cannot be downloaded from {url}: {reason(error)}") from error
            problem = reason(error)
            if error.code == 416:  # what is held is not of this file
                advance(-held)
                part.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in FULL:
                raise ModelError(
                    f"{label} does not fit into {part.parent}: {error.strerror}. What has come is kept: make room, or "
                    f"{ELSEWHERE}"
                ) from error
            problem = reason(error)
        now = part.stat().st_size if part.exists() else 0
        failed = 1 if now > held else failed + 1
        if now == size:
            return
        if failed >= ATTEMPTS:
            raise ModelError(f"{label} cannot be downloaded from {url}: {problem}. What has come is kept; try again")
        time.sleep(min(0.2 * 2**failed, 5.0))


def _connection(url: str, part: Path, held: int, advance: Advance) -> None:
    headers = {"Range": f"bytes={held}-"} if held else {}
    with urllib.request.urlopen(request(url, headers), timeout=TIMEOUT) as answer:
        resumed = held and answer.status == 206
        if held and not resumed:
            advance(-held)
        with part.open("ab" if resumed else "wb") as sink:
            while block := answer.read(CHUNK):
                sink.write(block)
                advance(len(block))


@contextmanager
def progress(label: str, size: int, held: int = 0) -> Iterator[Advance]:
    """A bar on the terminal's stderr; a line at the beginning where stderr is none."""
    if not sys.stderr.isatty():
        print(f"downloading {label}, {size / 1e6:,.0f} MB", file=sys.stderr, flush=True)
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    columns += (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=size, completed=held)
        yield lambda n: bar.advance(task, n)


@contextmanager
def locked(target: Path, label: str) -> Iterator[None]:
    """Waits while another process makes `target`, whose folder is made. Without locks in the system or on the disk it
    does not wait. Raises ModelError for a folder that cannot be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.with_name(f".{target.name}.lock").open("wb")
    except OSError as error:
        raise ModelError(
            f"{label} cannot be kept in {target.parent}: {error.strerror or error}. Set ENTROPIX_MODELS to a folder "
            "that can be written, or give another model: -m FILE.gguf"
        ) from error
    with file:
        _lock(file, label)
        yield


def _lock(file: IO[bytes], label: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another process, which downloads {label}", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return
