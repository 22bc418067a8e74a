"""`entropix searches`: what search strategies there are, and the parameters of one."""

from __future__ import annotations

import argparse

from entropix.cli.listing import configure_listing, list_kinds

DESCRIPTION = """\
List the search strategies, which explore more than one continuation of an answer, or the parameters of
one: what they do, their defaults and allowed ranges. Use one with --search NAME or
--search NAME:PARAMETER=VALUE,…, or several joined by +."""

EXAMPLES = """\
examples:
  entropix searches
  entropix searches vote
  entropix generate --search vote:n=8,answer=number -p sample:temperature=0.7 "What is 17 * 23?"
  entropix generate --search best:n=4 -p sample:temperature=0.7 "Name a river.\""""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    configure_listing(parser, "search")


def run(args: argparse.Namespace) -> int:
    from entropix.search import STRATEGIES

    return list_kinds(args, STRATEGIES, {})
