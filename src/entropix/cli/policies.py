"""`entropix policies`: what policies there are, and the parameters of one."""

from __future__ import annotations

import argparse

from entropix.cli.listing import configure_listing, list_kinds

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
    configure_listing(parser, "policy")


def run(args: argparse.Namespace) -> int:
    from entropix.policies import POLICIES

    return list_kinds(args, POLICIES, {"needs": "signals", "wants": "signals"})
