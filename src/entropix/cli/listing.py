"""Kinds with declared parameters, policies and strategies, as a list, as the parameters of one, and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entropix.cli.options import add_color_option

if TYPE_CHECKING:
    from entropix.registry import Registry


def configure_listing(parser: argparse.ArgumentParser, noun: str) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"show the parameters of this {noun}")
    parser.add_argument("--json", action="store_true", help="one JSON object with all that is known")
    add_color_option(parser)


def list_kinds(args: argparse.Namespace, known: Registry[type[Any]], more: Mapping[str, str]) -> int:
    """Print all kinds, or the one that the command line names. more: further attributes of a kind, sets of names, by
    the heading of their column. What cannot be loaded is said on standard error.
    Raises ParameterError for a name that there is not, PluginError for one that cannot be loaded."""
    from entropix.cli import fail
    from entropix.cli.output import Screen

    chosen, problems = ({args.name: known.find(args.name)}, []) if args.name else known.usable()
    found = {name: describe(kind, tuple(more)) for name, kind in chosen.items()}
    if args.json:
        from entropix.trace import to_json

        print(to_json(found))
    elif args.name:
        _show_one(Screen(args.color), args.name, found[args.name])
    else:
        _show_all(Screen(args.color), known.noun, found, more)
    for problem in problems:
        fail(problem)
    return 0


def describe(kind: type[Any], more: Sequence[str] = ()) -> dict[str, Any]:
    """A policy or a strategy as the code declares it. Ranges include their ends; None: without an end."""
    from entropix.parameters import described

    sets = {name: sorted(getattr(kind, name)) for name in more}
    return {"summary": kind.summary, **sets, "parameters": described(kind)}


def allowed_text(parameter: dict[str, Any]) -> str:
    """What a parameter may be, for a person."""
    if parameter["allowed"]:
        return ", ".join(parameter["allowed"])
    if isinstance(parameter["default"], str):
        return "text"
    low, high = ("" if parameter[end] is None else f"{parameter[end]:g}" for end in ("low", "high"))
    return f"{low} … {high}".strip() if low or high else "any number"


def _show_all(screen: Any, noun: str, found: dict[str, dict[str, Any]], more: Mapping[str, str]) -> None:
    from entropix.cli.output import write_table

    headings = dict.fromkeys(more.values())
    rows = []
    for name, kind in found.items():
        columns = [", ".join(n for key in more if more[key] == heading for n in kind[key]) for heading in headings]
        rows.append((name, str(len(kind["parameters"])), *columns, kind["summary"]))
    write_table(screen, (noun, "parameters", *headings, "what it does"), rows)


def _show_one(screen: Any, name: str, kind: dict[str, Any]) -> None:
    from entropix.cli.output import write_table

    screen.out.print(f"{name}: {kind['summary']}", soft_wrap=True)
    if not kind["parameters"]:
        screen.out.print("It has no parameters.")
        return
    rows = [
        (key, repr(p["default"]) if isinstance(p["default"], str) else f"{p['default']:g}", allowed_text(p), p["doc"])
        for key, p in kind["parameters"].items()
    ]
    write_table(screen, ("parameter", "default", "allowed", "what it does"), rows)
