"""`entropix policies`: what policies there are, and the parameters of one."""

from __future__ import annotations

import argparse
import math
from typing import Any

from entropix.cli.options import add_color_option

DESCRIPTION = """\
List the policies, which choose the tokens, or the parameters of one: what they do, their defaults and
allowed ranges. Use one with --policy NAME, --policy NAME:PARAMETER=VALUE,… or --set."""

EXAMPLES = """\
examples:
  entropix policies
  entropix policies entropix
  entropix generate --policy sample:temperature=0.7,top_p=0.9 "Name a river."
  entropix generate --set candidates=5 "Name a river.\""""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the parameters of this policy")
    parser.add_argument("--json", action="store_true", help="one JSON object with all that is known")
    add_color_option(parser)


def run(args: argparse.Namespace) -> int:
    from entropix.errors import ParameterError
    from entropix.policies import POLICIES

    if args.name and args.name not in POLICIES:
        raise ParameterError(f"there is no policy {args.name!r}; known are {', '.join(POLICIES)}")
    chosen = {args.name: POLICIES[args.name]} if args.name else POLICIES
    if args.json:
        from entropix.trace import to_json

        print(to_json({name: describe(policy) for name, policy in chosen.items()}))
    else:
        show(args, {name: describe(policy) for name, policy in chosen.items()})
    return 0


def describe(policy: Any) -> dict[str, Any]:
    """A policy as the code declares it. Ranges include their ends; None: without an end."""
    from entropix.policies import parameters

    return {
        "summary": policy.summary,
        "needs": sorted(policy.needs),
        "wants": sorted(policy.wants),
        "parameters": {
            name: {
                "default": field.default,
                "low": None if isinstance(field.default, str) else finite(field.metadata["low"]),
                "high": None if isinstance(field.default, str) else finite(field.metadata["high"]),
                "doc": field.metadata["doc"],
            }
            for name, field in parameters(policy).items()
        },
    }


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def allowed(parameter: dict[str, Any]) -> str:
    """The range of a parameter for a person."""
    if isinstance(parameter["default"], str):
        return "text"
    low, high = ("" if parameter[end] is None else f"{parameter[end]:g}" for end in ("low", "high"))
    return f"{low} … {high}".strip() if low or high else "any number"


def show(args: argparse.Namespace, policies: dict[str, dict[str, Any]]) -> None:
    from entropix.cli.output import Screen, write_table

    screen = Screen(args.color)
    if not args.name:
        rows = [
            (name, str(len(policy["parameters"])), ", ".join(policy["needs"] + policy["wants"]), policy["summary"])
            for name, policy in policies.items()
        ]
        write_table(screen, ("policy", "parameters", "signals", "what it does"), rows)
        return
    policy = policies[args.name]
    screen.out.print(f"{args.name}: {policy['summary']}", soft_wrap=True)
    if not policy["parameters"]:
        screen.out.print("It has no parameters.")
        return
    rows = [
        (name, repr(p["default"]) if isinstance(p["default"], str) else f"{p['default']:g}", allowed(p), p["doc"])
        for name, p in policy["parameters"].items()
    ]
    write_table(screen, ("parameter", "default", "allowed", "what it does"), rows)
