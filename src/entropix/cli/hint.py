"""Said once, after the first command on a terminal: what a newcomer would not find by himself."""

from __future__ import annotations

import argparse
import sys

from entropix.folders import cache_directory

HINT = (
    "(said once) `entropix doctor` says what is installed here and what is missing; Tab completes commands, options\n"
    'and models after: eval "$(entropix completion bash)"'
)
SILENT = ("doctor", "completion", "serve")
"""Commands of which it would say nothing new, and one that does not end."""


def first_use(args: argparse.Namespace, command: str) -> None:
    """Say the hint, unless it has been said, quiet is asked for, or the output goes into a pipe or a file.

    Remembered by an empty file in the cache folder. Where that cannot be written, nothing is said at all, since it
    would be said again and again."""
    if command in SILENT or getattr(args, "quiet", False) or getattr(args, "json", False):
        return
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return
    folder = cache_directory()
    if folder is None:
        return
    try:
        (folder / "entropix").mkdir(parents=True, exist_ok=True)
        (folder / "entropix" / "hint-said").open("x").close()
    except OSError:  # said already, or no place to remember it
        return
    print(f"\n{HINT}", file=sys.stderr)
