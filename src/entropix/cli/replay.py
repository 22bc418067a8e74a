"""`entropix replay`: what other rules would have made of a run's votes, without a model."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from entropix.cli.options import add_color_option, positive

DESCRIPTION = """\
Count the stored ballots of a run again: when a vote would have stopped, what other weights and selectors would have
chosen, what ballots that move between questions would have cost, and how well a confidence can be calibrated. No model
is loaded. RUN is a directory of `entropix eval` with a vote of independent samples that cast every ballot
(vote:n=16,stop=none). The report is written beside the run's own, as replay.md and replay.html.

A stop rule is none, overtake (as soon as nothing can change any more), beta:θ (the winner is ahead with probability θ)
or lead:L (by L ballots): docs/effort.md."""

EXAMPLES = """\
examples:
  entropix replay runs/mine
  entropix replay runs/mine --stop lead:2 lead:3 beta:0.95 --most 8 16 --first greedy
  entropix replay runs/mine --stop none --weight count span --select vote likeliest
  entropix replay runs/mine --move 2 3 4 6
  entropix replay runs/mine --stop lead:3 --calibrate --risk 10%
  entropix replay runs/mine --first greedy --polygraph stats.json

exit codes: 0 done, 2 something given was wrong"""

STOPS = ("overtake", "beta:0.8", "beta:0.95", "lead:2", "lead:3", "lead:4")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("run_directory", type=Path, metavar="RUN", help="directory of a run of `entropix eval`")
    parser.add_argument("--spec", metavar="NAME", help="whose votes (default: those of most ballots)")
    parser.add_argument(
        "--stop", nargs="+", default=list(STOPS), metavar="RULE", help="stop rules (default: several of each kind)"
    )
    parser.add_argument(
        "--most", nargs="+", type=positive, default=[0], metavar="N", help="ballots at most (default: all there are)"
    )
    parser.add_argument("--first", default="", metavar="NAME", help="the text of this spec is the first ballot")
    parser.add_argument(
        "--wave", type=positive, default=1, metavar="N", help="look at the rule after every N ballots (default: 1)"
    )
    parser.add_argument(
        "--order",
        default="cast",
        help="ballots as they were cast, as they ended if all began together, or as they finished in the run "
        "(default: cast)",
    )
    parser.add_argument(
        "--weight", nargs="+", default=["count"], metavar="KIND", help="what a ballot weighs: count, text, span"
    )
    parser.add_argument(
        "--select",
        nargs="+",
        default=["vote"],
        metavar="KIND",
        help="whose answer: vote, likeliest, span, shortest, assessed",
    )
    parser.add_argument(
        "--move",
        nargs="+",
        type=float,
        default=[],
        metavar="MEAN",
        help="let ballots move between the questions, so many per question",
    )
    parser.add_argument(
        "--shuffles",
        type=positive,
        default=0,
        metavar="N",
        help="mean over N orders of the ballots, which are exchangeable (default: as they were cast)",
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="calibrate the confidence on half of the items, see it on the others"
    )
    parser.add_argument("--splits", type=positive, default=200, metavar="N", help="random halves (default: 200)")
    parser.add_argument("--risk", default="10%", help="share of wrong answers to be kept (default: %(default)s)")
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="NAME",
        help="of the fit: agreement, margin, span, length (default: agreement, with enough items span and length too)",
    )
    parser.add_argument(
        "--polygraph",
        type=Path,
        metavar="FILE",
        help="write the ballots, beside the text of --first, in the form that lm-polygraph scores, and do nothing else",
    )
    parser.add_argument("--baseline", metavar="NAME", help="what rules are compared with (default: the whole vote)")
    add_color_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no notes")


def run(args: argparse.Namespace) -> int:
    from entropix.cli.eval import show_report, stored
    from entropix.cli.output import Screen
    from entropix.errors import ModelError, ParameterError, TaskError

    try:
        from entropix.evaluate import summarise
        from entropix.evaluate.alternatives import replay, with_calibration
        from entropix.evaluate.replay import Rule
    except ImportError as missing:
        raise ModelError(f"replay needs {missing.name}; install it with: pip install 'entropix-llm[eval]'") from None
    from entropix.profiles.confidence import FEATURES, parse_risk
    from entropix.search.stopping import parse_stop

    screen = Screen(args.color, quiet=args.quiet)
    risk = parse_risk(args.risk)
    features = tuple(dict.fromkeys(args.features)) if args.features else None
    for name in features or ():
        if name not in FEATURES:
            raise ParameterError(f"--features {name!r} is unknown; known are {', '.join(FEATURES)}")
    rules = [
        Rule(parse_stop(stop), most, args.wave, weight, select, args.order, args.first)
        for weight in args.weight
        for select in args.select
        for stop in args.stop
        for most in args.most
    ]
    manifest, outcomes = stored(args.run_directory)
    if args.polygraph is not None:
        return _export(args, screen, manifest, outcomes)
    beside = [args.baseline] if args.baseline else []
    found = replay(outcomes, rules, args.move, spec=args.spec, beside=beside, shuffles=args.shuffles)
    try:
        summary = summarise(
            found.outcomes, args.baseline or found.base, {**manifest.get("families", {}), **found.families}
        )
    except ValueError as error:
        raise TaskError(f"{args.run_directory}: {error}") from None
    if args.calibrate:
        summary = with_calibration(summary, found, splits=args.splits, risk=risk, features=features)
    policy = manifest.get("specs", {}).get(found.base, {}).get("policy", "")
    counted = {name: {"policy": policy, "search": f"the ballots of {found.base!r}"} for name in found.rules}
    told = {
        **manifest,
        "specs": {**manifest.get("specs", {}), **counted},
        "families": {**manifest.get("families", {}), **found.families},
        "commands": [*manifest.get("commands", []), shlex.join(["entropix", *sys.argv[1:]])],
    }
    return show_report(summary, told, args.run_directory, "replay", screen)


def _export(args: argparse.Namespace, screen: Any, manifest: dict[str, Any], outcomes: list[dict[str, Any]]) -> int:
    """Write the ballots as lm-polygraph takes them."""
    import json

    from entropix.cli.eval import write_page
    from entropix.evaluate.alternatives import base_of
    from entropix.evaluate.polygraph import exported

    made = exported(outcomes, base_of(outcomes, args.spec), args.first, str(manifest.get("model", "")))
    print(write_page(args.polygraph, json.dumps(made) + "\n"))
    screen.tell(f"{len(made['quality'])} answers with {', '.join(made['stats'])}")
    return 0
