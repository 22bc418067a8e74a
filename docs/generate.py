"""Write the parts of the reference that the code knows: every command's help, every table of names.

    python docs/generate.py            # into docs/reference/
    python docs/generate.py --check    # says what is out of date, and fails

A test does the check, so that no table can say what the code does not."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from entropix.answers import EXTRACTORS
from entropix.cli import COMMANDS, make_parser
from entropix.cli.listing import allowed_text, describe
from entropix.policies import POLICIES
from entropix.search import STRATEGIES
from entropix.uncertainty import ESTIMATORS

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- written by docs/generate.py -->\n"
COLUMNS = "100"


def commands() -> str:
    """Every `--help`, at a width of 100 characters."""
    parts = ["# The command line\n"]
    with mock.patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"}):
        parts.append(_block(make_parser().format_help()))
        for name in COMMANDS:
            parser = make_parser([name])
            sub = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[name]
            parts.append(f"## entropix {name}\n\n{_block(sub.format_help())}")
    return NOTE + "\n".join(parts)


def tables(title: str, kinds: Any) -> str:
    """Policies or strategies, with the parameters of each."""
    found = {
        name: describe(kind) for name, kind in kinds.usable()[0].items() if kind.__module__.startswith("entropix.")
    }
    lines = [f"# {title}\n", "| name | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#{name}) | {_cell(kind['summary'])} |" for name, kind in found.items()]
    for name, kind in found.items():
        lines += [f"\n## {name}\n", kind["summary"][:1].upper() + kind["summary"][1:] + "\n"]
        if not kind["parameters"]:
            lines.append("It has no parameters.")
            continue
        lines += ["| parameter | default | allowed | what it does |", "|---|---|---|---|"]
        for key, p in kind["parameters"].items():
            default = repr(p["default"]) if isinstance(p["default"], str) else f"{p['default']:g}"
            lines.append(f"| `{key}` | {_cell(default)} | {_cell(allowed_text(p))} | {_cell(p['doc'])} |")
    return NOTE + "\n".join(lines) + "\n"


def extractors() -> str:
    """How answers are read off texts."""
    lines = ["# Extractors\n", "What a vote compares, by the name that `answer=` takes; `none` holds no vote.\n"]
    lines += ["| name | what it reads |", "|---|---|"]
    for name, function in EXTRACTORS.items():
        lines.append(f"| `{name}` | {_cell(_first(function.__doc__))} |")
    return NOTE + "\n".join(lines) + "\n"


def estimators() -> str:
    """Estimators of uncertainty."""
    lines = [
        "# Estimators of uncertainty\n",
        "Higher is less sure. What each is good for: [uncertainty](../uncertainty.md).\n",
    ]
    lines += ["| name | what it is | unit | cost beside the answer | in lm-polygraph |", "|---|---|---|---|---|"]
    for name, kind in ESTIMATORS.usable()[0].items():
        if kind.__module__.startswith("entropix."):
            cost = kind.needs.value
            lines.append(f"| `{name}` | {_cell(kind.summary)} | {kind.unit} | {cost} | {kind.peer or '–'} |")
    return NOTE + "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    return {
        "commands.md": commands(),
        "policies.md": tables("Policies and their parameters", POLICIES),
        "searches.md": tables("Searches and their parameters", STRATEGIES),
        "extractors.md": extractors(),
        "estimators.md": estimators(),
    }


def stale() -> Iterator[str]:
    """The files that say something else than the code."""
    for name, text in pages().items():
        file = FOLDER / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            yield name


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _first(text: str | None) -> str:
    """The first paragraph of a docstring."""
    return " ".join((text or "").split("\n\n")[0].split())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        wrong = list(stale())
        for name in wrong:
            print(f"docs/reference/{name} is out of date; run: python docs/generate.py", file=sys.stderr)
        return 1 if wrong else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
