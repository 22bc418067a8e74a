"""`entropix calibrate`: measure a model on its own text."""

from __future__ import annotations

import argparse

from entropix.cli.eval import add_split_options
from entropix.cli.options import (
    add_color_option,
    add_model_options,
    add_profile_option,
    folder,
    named,
    positive,
    read_text,
)

DESCRIPTION = """\
Measure where a model's regimes begin. The model answers a set of prompts, and quantiles of the
entropy and varentropy of its own tokens become the thresholds between sure and unsure; the attention
signals are measured too. The profile is used whenever the model is loaded from then on."""

EXAMPLES = """\
examples:
  entropix calibrate smollm2
  entropix calibrate ./my-model.gguf --prompts my-prompts.txt
  entropix calibrate smollm2 --answers questions.jsonl --limit 200 --effort medium
  entropix calibrate organisation/model --tokens 256 --out model.json
  entropix generate --model ./my-model.gguf --profile model.json "Name a river.\""""


ENOUGH = 1000
"""Tokens of which 50 lie above the 95th percentile."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("model", metavar="MODEL", help="a name, a .gguf file, a transformers directory or a hub name")
    parser.add_argument(
        "--prompts", metavar="FILE", help="prompts to answer, one per line (default: a mix that comes with entropix)"
    )
    parser.add_argument(
        "--tokens", type=positive, default=128, metavar="N", help="most tokens of each answer (default: %(default)s)"
    )
    parser.add_argument("--name", help="what to call the profile (default: the model's name)")
    parser.add_argument(
        "--out",
        type=named,
        metavar="FILE",
        help="where to write the profile (default: your own profiles, found automatically)",
    )
    group = parser.add_argument_group(
        "confidence", "fit how often answers are right to labelled items, and keep it in the profile"
    )
    group.add_argument("--answers", nargs="+", metavar="TASK", help="answer these tasks of `entropix eval`")
    group.add_argument(
        "--run",
        dest="run_directory",
        type=folder,
        metavar="DIR",
        help="keep the answers here and go on from them; without --answers, take those that are there",
    )
    group.add_argument(
        "-e", "--effort", choices=("low", "medium", "high"), default="medium", help="of the answers (default: medium)"
    )
    group.add_argument(
        "-n", "--max-tokens", type=positive, default=512, metavar="N", help="most tokens of one text (default: 512)"
    )
    add_split_options(group)  # type: ignore[arg-type]  # an argument group takes arguments as a parser does
    add_profile_option(parser)
    add_model_options(parser, model=False)
    add_color_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar; print only the path")


def run(args: argparse.Namespace) -> int:
    if args.answers or args.run_directory:
        from entropix.cli.answers import run as calibrate_answers

        return calibrate_answers(args)
    from entropix import profiles
    from entropix.cli.output import Screen, file_name, progress_bar
    from entropix.cli.running import loaded

    prompts = read_lines(args.prompts) if args.prompts else None
    profiles.check_writable(args.out or profiles.user_directory() / "profile.json")  # before minutes of measuring
    screen = Screen(args.color, quiet=args.quiet)
    with loaded(args, screen, args.model) as model, progress_bar(screen) as progress:
        task = progress.add_task("measuring", total=None)
        profile = profiles.calibrate(
            model.engine,
            prompts,
            name=args.name or "",
            tokens=args.tokens,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    path = profile.save(args.out or profiles.user_directory() / f"{file_name(profile.name)}.json")
    print(path)
    if profile.tokens < ENOUGH:
        screen.tell(
            f"measured on {profile.tokens} tokens only, so the thresholds are rough; with {ENOUGH} and more (--tokens, "
            "or more prompts) the upper ones rest on 50 or more"
        )
    limits = profile.thresholds
    screen.tell(
        f"{profile.name}, {profile.tokens} tokens: "
        f"entropy {limits.entropy_low:.3f} and {limits.entropy_high:.3f} nats, "
        f"varentropy {limits.varentropy_low:.3f} and {limits.varentropy_high:.3f} nats²"
    )
    for signal, (median, spread) in limits.attention.items():
        screen.tell(f"attention {signal}: median {median:.4f}, spread {spread:.4f}")
    return 0


def read_lines(file: str) -> list[str]:
    """One prompt a line; empty lines do not count. Raises PromptError."""
    from entropix.errors import PromptError

    prompts = [line.strip() for line in read_text(file).split("\n") if line.strip()]
    if not prompts:
        raise PromptError(f"there are no prompts in {file!r}; write one per line")
    return prompts
