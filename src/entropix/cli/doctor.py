"""`entropix doctor`: what is installed, what is used, what is missing, and the command that brings it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entropix.cli.diagnosis import Check

DESCRIPTION = """\
Look at this installation: version, extras, which engine and which llama.cpp would be used and why,
threads, GPU, caches, compiled kernels or their fallback, what is missing and the command for it.
Nothing is downloaded or changed, except that kernels are compiled if they are not yet."""

EXAMPLES = """\
examples:
  entropix doctor
  entropix doctor --json > doctor.json      to add to a report of a fault

exit codes: 0 it can answer, 1 it cannot, 2 something given was wrong"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--json", action="store_true", help="one JSON object with every check")


def run(args: argparse.Namespace) -> int:
    from entropix.cli.diagnosis import diagnose
    from entropix.version import entropix_version

    checks, why = diagnose()
    if args.json:
        found = {
            "can_answer": not why,
            "why": why,
            "version": entropix_version(),
            "checks": [asdict(c) for c in checks],
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(report(checks, why))
    return 1 if why else 0


def report(checks: list[Check], why: str) -> str:
    """The checks as lines of text, without colours: it is to be pasted."""
    from entropix.cli.diagnosis import FAULT, OK

    lines: list[str] = []
    section = ""
    width = max(len(check.name) for check in checks)
    for check in checks:
        if check.section != section:
            section = check.section
            lines += ["", section] if lines else [section]
        state = {OK: "", FAULT: FAULT.upper()}.get(check.state, check.state)
        lines.append(f"  {state:8}{check.name:{width}}  {shown(check.text)}")
    wanted = dict.fromkeys((check.fix, check.state == FAULT) for check in checks if check.fix)
    if wanted:
        lines += ["", "what would bring the rest"]
        lines += [f"  {fix}" for fix, _ in sorted(wanted, key=lambda pair: not pair[1])]
    lines += ["", f"It cannot answer: {why}." if why else "It can answer."]
    return "\n".join(lines)


def shown(text: str) -> str:
    """A text without what a terminal would take for commands."""
    plain = " ".join(text.split())
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return "".join(c if c.isprintable() else "?" for c in plain).encode(encoding, "replace").decode(encoding)
