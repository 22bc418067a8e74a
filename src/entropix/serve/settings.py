"""The settings of a server: where it listens, who may ask, and how much."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from entropix.errors import ParameterError
from entropix.search.effort import check_effort

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*?#@A-Z]+")
LEAST_KEY = 16
"""Characters of an API key: shorter ones are guessed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one server.

    host, port: where to listen; 0 lets the system choose a port. keys: who may ask, empty for everybody on this
    machine. origins: other web pages that a browser lets ask (CORS). aliases: further names of the model. policy,
    search, effort, reproducible: of a request that does not say. parse_special: whether markup in the prompt of a
    completion becomes its token. strict: what would be answered with a note is refused. places: answers decoded at a
    time. queue: requests that may wait beside those that are answered. kept: ended answers whose KV cache stays for the
    next turn; kept_cells: most tokens in the older ones of them, None for a sixteenth of the cache. max_body: bytes of
    a request. max_prompt: most tokens of a prompt, None for what the context holds. max_choices: answers per request.
    max_tokens: of an answer. time_limit: seconds a request may take with its waiting. grace: seconds that running
    answers get to end when the server is asked to stop. hang_limit: seconds without a sign of progress after which a
    supervised engine's process is started again, 0 for never.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    policy: str = "entropix"
    search: str | None = None
    reproducible: bool = False
    parse_special: bool = True
    strict: bool = False
    effort: str | None = None
    places: int = 16
    queue: int = 64
    kept: int = 8
    kept_cells: int | None = None
    max_body: int = 4 * 1024 * 1024
    max_prompt: int | None = None
    max_choices: int = 64
    max_tokens: int = 4096
    time_limit: float = 600.0
    grace: float = 30.0
    hang_limit: float = 60.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65535),
            ("places", 1, 128),
            ("queue", 0, 100_000),
            ("kept", 0, 127),
            ("kept_cells", 0, 1 << 30),
            ("max_body", 1024, 1 << 30),
            ("max_prompt", 1, 1 << 30),
            ("max_choices", 1, 128),
            ("max_tokens", 1, 1 << 30),
            ("time_limit", 0.001, 86400),
            ("grace", 0, 3600),
            ("hang_limit", 0, 86400),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ParameterError(f"{name}={value!r} is out of range; allowed is {low:g} to {high:g}")
        if self.effort is not None:
            check_effort(self.effort)
            if self.effort != "none" and self.search not in (None, "none"):
                raise ParameterError("effort is a search of its own: give effort or search, not both")
        if any(len(key) < LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key for key in self.keys):
            raise ParameterError(
                f"an API key is too short or has odd characters; allowed are at least {LEAST_KEY} printable ASCII "
                "characters without spaces, for example from: openssl rand -hex 24"
            )
        for origin in self.origins:
            if origin == "null":
                raise ParameterError(
                    "origin 'null' is that of every file and of every sandboxed frame, whatever site it is from, so it "
                    "cannot be allowed alone; serve the page from an address, and allow that: SCHEME://HOST, or with "
                    ":PORT"
                )
            if not ORIGIN.fullmatch(origin):
                raise ParameterError(
                    f"origin {origin!r} is not one that a browser sends; allowed is SCHEME://HOST or with :PORT, in "
                    "small letters without a path, for example https://chat.example.org; give several one by one"
                )
        if not self.is_local and not self.keys:
            raise ParameterError(
                f"host {self.host!r} can be reached from other machines, so an API key is needed; give one with "
                "--api-key-file FILE, or listen on 127.0.0.1"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_keys(path: str | Path) -> tuple[str, ...]:
    """The API keys of a file, one per line; empty lines and lines from # on do not count. Raises ParameterError, which
    never shows a key."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ParameterError(f"API key file {file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ParameterError(f"API key file {file} is not text; it holds one key a line") from None
    lines = (line.strip() for line in text.splitlines())
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ParameterError(f"API key file {file} holds no key; write one per line")
    return keys
