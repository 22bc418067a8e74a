"""`entropix tune`: choose a policy's parameters for a model on questions with known answers."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropix.cli.eval import add_split_options, load_tasks
from entropix.cli.options import add_color_option, add_model_options, add_profile_option, folder, positive

if TYPE_CHECKING:
    from entropix.cli.output import Screen
    from entropix.evaluate.tune import Trial

DESCRIPTION = """\
Try settings of a policy on the questions of a task, the development split, and write a profile with the best one.
`--profile FILE` then uses it in every command. The profile remembers the questions, and `entropix eval` refuses to
report on them: what was chosen on a question says nothing about the next one.

PARAMETER is a name from `entropix policies NAME`, regimes_low or regimes_high (the percentiles of the model's own
entropies and varentropies where regimes begin), each with =LOW..HIGH if you like. Tune what you compare it with,
such as sample, with as many trials."""

EXAMPLES = """\
examples:
  entropix tune arithmetic --task-seed 1 --limit 40 --policy entropix
  entropix tune questions.jsonl --limit 50 --policy sample --tune temperature=0..1 min_p --trials 40 --out runs/sample
  entropix eval questions.jsonl --skip 50 --profile runs/sample/profile.json --compare greedy sample

exit codes: 0 done, 2 something given was wrong, 130 stopped by Ctrl-C; the same command goes on where it stopped"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="questions to tune on, as in `entropix eval`")
    parser.add_argument("-p", "--policy", default="entropix", metavar="NAME", help="what to tune (default: entropix)")
    parser.add_argument("--search", metavar="SEARCH", help="search with this while tuning, as in `entropix generate`")
    parser.add_argument(
        "--tune", nargs="+", default=[], metavar="PARAMETER", help="what to choose (default: the usual)"
    )
    parser.add_argument("--trials", type=positive, default=24, metavar="N", help="settings to try (default: 24)")
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="seeds per item (default: 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of settings (default: 0)")
    parser.add_argument("-o", "--out", type=folder, metavar="DIR", help="keep trials and profile here")
    add_split_options(parser)
    parser.add_argument(
        "-n", "--max-tokens", type=positive, default=512, metavar="N", help="most tokens of an answer (default: 512)"
    )
    parser.add_argument(
        "--together", type=positive, default=16, metavar="N", help="answers decoded at a time (default: %(default)s)"
    )
    add_model_options(parser)
    add_profile_option(parser)
    add_color_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no notes")


def run(args: argparse.Namespace) -> int:
    from entropix.cli import INTERRUPTED
    from entropix.cli.output import Screen, file_name, progress_bar
    from entropix.cli.running import interruptible, loaded
    from entropix.errors import ModelError
    from entropix.policies import POLICIES

    try:
        import optuna  # noqa: F401 - said here rather than after the model has been loaded

        from entropix.evaluate import Spec, Store
        from entropix.evaluate.tune import space, tune, tuned
    except ImportError as missing:
        raise ModelError(f"tune needs {missing.name}; install it with: pip install 'entropix-llm[eval]'") from None
    POLICIES.find(args.policy)
    plan = Spec("", args.policy, args.search).plan(None)
    screen = Screen(args.color, quiet=args.quiet)
    tasks = load_tasks(args)
    sequences = max(args.together, plan.max_sequences if plan else 1)
    with loaded(args, screen, args.model, sequences=sequences) as model:
        ranges = space(args.policy, args.tune, model.profile)
        name = f"tune-{args.policy}-{'-'.join(t.name for t in tasks)}-{model.info.name}"
        directory = args.out or Path("runs") / file_name(name)
        for note in model.notes:
            screen.tell(note)
        answers = sum(len(task.items) for task in tasks) * args.seeds
        with Store(directory, manifest_of(args, model, ranges)) as store, progress_bar(screen) as bar:
            kept = len(store.outcomes)
            if kept:
                screen.tell(f"{directory} holds {kept} answers; going on from there")
            total = answers * args.trials
            shown = bar.add_task("trying", total=total, completed=min(kept, total))
            with interruptible() as interrupt:

                def go_on() -> bool:
                    bar.update(shown, completed=min(len(store.outcomes), total))
                    return not interrupt.requested

                trials = tune(
                    model,
                    tasks,
                    args.policy,
                    ranges,
                    store,
                    trials=args.trials,
                    seeds=args.seeds,
                    seed=args.seed,
                    search=args.search,
                    max_tokens=args.max_tokens,
                    together=args.together,
                    go_on=go_on,
                )
        if interrupt.requested:
            screen.tell(f"stopped; what was tried is kept in {directory}, and the same command goes on")
            return INTERRUPTED
        how = {"search": args.search, "seeds": args.seeds, "max_tokens": args.max_tokens, "seed": args.seed}
        profile = tuned(model.profile, args.policy, trials, tasks, **how)
    file = profile.save(directory / "profile.json")
    show(trials, answers, screen)
    screen.tell(f"profile: {file}; use it with --profile {shlex.quote(str(file))}, on other questions")
    return 0


def show(trials: list[Trial], answers: int, screen: Screen) -> None:
    """The defaults and the five best, with the words that keep them from being taken for a result."""
    from entropix.cli.output import write_table
    from entropix.evaluate.tune import best

    chosen = best(trials)
    ranked = sorted(trials, key=lambda t: (-t.value, t.number))[:5]
    rows = []
    for trial in [trials[0], *(t for t in ranked if t is not trials[0])]:
        kind = "chosen" if trial is chosen else "defaults" if trial is trials[0] else ""
        settings = ", ".join(f"{n}={v:g}" for n, v in trial.settings.items())
        rows.append((str(trial.number), kind, f"{trial.accuracy:.1%}", f"{trial.tokens:.0f}", settings))
    write_table(screen, ("trial", "", "accuracy", "tokens", "settings"), rows)
    print(
        f"\nbest of {len(trials)} trials on {answers} answers each: too high by selection, no result; measure on other "
        "questions",
        flush=True,
    )


def manifest_of(args: argparse.Namespace, model: Any, ranges: Any) -> dict[str, Any]:
    return {
        "model": model.info.name,
        "fingerprint": model.info.fingerprint,
        "max_tokens": args.max_tokens,
        "budget": None,
        "tasks": {},
        "specs": {},
        "tuning": {
            "policy": args.policy,
            "search": args.search,
            "seed": args.seed,
            "profile": model.profile.name,
            "ranges": {n: [r.low, r.high] for n, r in ranges.items()},
        },
        "commands": [shlex.join(["entropix", *sys.argv[1:]])],
    }
