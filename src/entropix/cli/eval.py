"""`entropix eval`: compare ways to decode on questions with known answers."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropix.cli.options import add_color_option, add_model_options, add_profile_option, folder, positive

if TYPE_CHECKING:
    from entropix.cli.output import Screen
    from entropix.evaluate import Spec, Task
    from entropix.evaluate.summary import Summary

DESCRIPTION = """\
Answer the questions of a task with several policies and searches, and compare them item by item: accuracy with
95 % intervals, tokens, paired tests, and whether the uncertainty separates right answers from wrong ones.

TASK is arithmetic, logic or code (made from a seed, nothing to download), a file ending in .jsonl with one
{"question": …, "answer": …}, {…, "answers": […]} or {…, "tests": …} per line (FILE.jsonl:EXTRACTOR says how
answers are read: number, choice, boxed, code, short, text), or gsm8k, svamp, multiarith, math-500, mmlu, arc,
humaneval, mbpp (downloaded, needs the package datasets). Code that a model writes is run in a sandbox.

A SPEC is POLICY, "POLICY | SEARCH", "POLICY + FILTERS" or "NAME = POLICY + FILTERS | SEARCH", or a .toml file with a
table [NAME] of policy, search and filters for each. FILTERS are filters and penalties, such as
typical=0.9,dry_multiplier=0.8. SEARCH may be effort:LEVEL, or effort:LEVEL,ballots=N whose ballots move between items.
The first one is the baseline. Every outcome is kept in --out as soon as it is there; the same command goes on where it
stopped.
Specs whose names differ only in a number at the end, such as "vote 4" and "vote 8", are a family, whose accuracy over
tokens is a curve that all others are compared with at their own cost."""

EXAMPLES = """\
examples:
  entropix eval arithmetic --limit 50 --compare greedy entropix
  entropix eval questions.jsonl:number --out runs/mine --seeds 3 --compare greedy sample:temperature=0.7 \\
      "vote = sample:temperature=0.7 | vote:n=4,answer=number" \\
      "xtc = sample:temperature=0.7 + xtc_probability=0.5"
  entropix eval logic --model ./my-model.gguf --compare specs.toml --budget 1000
  entropix eval --report runs/mine

exit codes: 0 done, 2 something given was wrong, 130 stopped by Ctrl-C"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="what to answer; several are reported one by one")
    parser.add_argument("-c", "--compare", nargs="+", default=[], metavar="SPEC", help="ways to decode")
    parser.add_argument("-o", "--out", type=folder, metavar="DIR", help="keep the run here (default: runs/TASK-MODEL)")
    add_split_options(parser)
    parser.add_argument(
        "--seeds", type=positive, default=1, metavar="N", help="answer every item with N seeds (default: 1)"
    )
    parser.add_argument(
        "-n", "--max-tokens", type=positive, default=512, metavar="N", help="most tokens of an answer (default: 512)"
    )
    parser.add_argument(
        "--budget", type=positive, metavar="N", help="most tokens that all branches of an answer take together"
    )
    parser.add_argument(
        "--together", type=positive, default=16, metavar="N", help="answers decoded at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--uncertainty",
        nargs="+",
        default=[],
        metavar="NAME",
        help="estimators that ask the model about the answers of votes, such as self-assessment; their cost counts",
    )
    parser.add_argument("--baseline", metavar="NAME", help="the spec the others are compared with (default: the first)")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="make the report of a run again, without a model, and do nothing else",
    )
    add_model_options(parser, short=False)
    add_profile_option(parser)
    add_color_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no notes")


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Which items of a task are taken."""
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N items of each task")
    parser.add_argument(
        "--skip", type=positive, default=0, metavar="N", help="leave out the first N items, such as those tuned on"
    )
    parser.add_argument(
        "--task-seed", type=int, default=0, metavar="N", help="which generated items (default: %(default)s)"
    )
    parser.add_argument(
        "--instruction", metavar="TEXT", help="say this after each question instead of the usual words; '' for nothing"
    )


def load_tasks(args: argparse.Namespace) -> list[Task]:
    """The tasks of the command line, as much of them as is wanted. Raises TaskError."""
    from dataclasses import replace

    from entropix.errors import TaskError
    from entropix.evaluate import load_task

    if not args.tasks:
        args.parser.error("there is no task; name one, such as arithmetic")
    limit = None if args.limit is None else args.skip + args.limit
    tasks = []
    for name in dict.fromkeys(args.tasks):
        task = load_task(name, limit=limit, seed=args.task_seed, instruction=args.instruction)
        if len(task.items) <= args.skip:
            raise TaskError(f"task {name!r} has {len(task.items)} items, and --skip {args.skip} leaves none")
        tasks.append(replace(task, items=task.items[args.skip :]))
    return tasks


def run(args: argparse.Namespace) -> int:
    from entropix.cli import INTERRUPTED
    from entropix.cli.output import Screen, file_name, progress_bar
    from entropix.cli.running import interruptible, loaded
    from entropix.errors import ModelError
    from entropix.model.afterwards import asks_forward

    try:
        from entropix.evaluate import Store, evaluate, read_specs, units
        from entropix.evaluate.run import check_untuned, is_done
    except ImportError as missing:
        raise ModelError(f"eval needs {missing.name}; install it with: pip install 'entropix-llm[eval]'") from None
    screen = Screen(args.color, quiet=args.quiet)
    if args.report:
        return report(args.report, args.baseline, screen)
    tasks = load_tasks(args)
    specs = read_specs(args.compare or ["greedy", "entropix"])
    check_specs(specs)
    asks_forward(args.uncertainty)
    if args.baseline and args.baseline not in [spec.name for spec in specs]:
        args.parser.error(f"--baseline {args.baseline!r} is not one of the specs: {', '.join(s.name for s in specs)}")
    branches = max(spec.branches for spec in specs)
    with loaded(args, screen, args.model, sequences=max(args.together, branches)) as model:
        names = "-".join(task.name for task in tasks)
        directory = args.out or Path("runs") / file_name(f"{names}-{model.info.name}")
        for note in (*model.notes, *misread(tasks, specs)):
            screen.tell(note)
        work = units(tasks, specs, range(1, args.seeds + 1))
        check_untuned(model.profile, work)
        with Store(directory, manifest_of(args, model, tasks, specs)) as store, progress_bar(screen) as bar:
            kept = sum(is_done(unit, store) for unit in work)
            if kept:
                screen.tell(f"{directory} holds {kept} of {len(work)} answers; going on from there")
            shown = bar.add_task("answering", total=len(work), completed=kept)
            with interruptible() as interrupt:
                evaluate(
                    model,
                    work,
                    store,
                    max_tokens=args.max_tokens,
                    budget=args.budget,
                    together=args.together,
                    uncertainty=args.uncertainty,
                    progress=lambda done: bar.update(shown, completed=kept + done),
                    go_on=lambda: not interrupt.requested,
                )
    if interrupt.requested:
        screen.tell(f"stopped; {len(store.outcomes)} answers are kept in {directory}, and the same command goes on")
        return INTERRUPTED
    return report(directory, args.baseline, screen)


def report(directory: Path, baseline: str | None, screen: Screen) -> int:
    """Write the report of a run beside its outcomes, and show the main figures."""
    from entropix.errors import TaskError
    from entropix.evaluate import summarise

    manifest, outcomes = stored(directory)
    try:
        summary = summarise(outcomes, baseline, manifest.get("families"), rules=True)
    except ValueError as error:
        raise TaskError(f"{directory}: {error}") from None
    return show_report(summary, manifest, directory, "report", screen)


def stored(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run's description and its outcomes, in the order in which the specs were given. Raises TaskError."""
    from entropix.errors import TaskError
    from entropix.evaluate.store import read_manifest, read_outcomes

    manifest = read_manifest(directory)
    outcomes = read_outcomes(directory)
    if not outcomes:
        raise TaskError(f"{directory} holds no answers yet; run the same command again to go on")
    order = list(manifest.get("specs", {}))  # as they were given, not as they came to an end
    outcomes.sort(key=lambda o: order.index(o["spec"]) if o["spec"] in order else len(order))
    return manifest, outcomes


def show_report(summary: Summary, manifest: dict[str, Any], directory: Path, stem: str, screen: Screen) -> int:
    """Write a report as Markdown and as a page, and print the tables that answer the question."""
    from entropix.cli.output import write_table
    from entropix.evaluate import markdown
    from entropix.evaluate.report import heading, left_out, main_tables

    written = [write_page(directory / f"{stem}.md", markdown(summary, manifest))]
    try:
        from entropix.evaluate.page import html
    except ImportError as missing:
        screen.tell(f"no {stem}.html: it needs {missing.name}; install it with: pip install 'entropix-llm[eval]'")
    else:
        written.append(write_page(directory / f"{stem}.html", html(summary, manifest, stem)))
    for task in summary.tasks:
        print(f"{task.task}: {heading(task)}", flush=True)
        for n, table in enumerate(main_tables(task)):
            if n:
                print(f"\n{table.caption}", flush=True)
            write_table(screen, table.head, table.rows)
        print(flush=True)
    if summary.left_out:
        screen.tell(left_out(summary))
    screen.tell(f"report: {', '.join(map(str, written))}")
    return 0


def write_page(file: Path, text: str) -> Path:
    """Put a report in its place as a whole or not at all. Raises TaskError when the disk takes it not."""
    from entropix.errors import TaskError

    partial = file.with_suffix(".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TaskError(f"{file} cannot be written: {error.strerror or error}") from error
    return file


def check_specs(specs: list[Spec]) -> None:
    """Refuse a spec that no model could run, before one is loaded. Raises ParameterError."""
    from entropix.cli.options import check_policy

    for spec in specs:
        if isinstance(spec.policy, str):
            check_policy(spec.policy, {})


def misread(tasks: list[Task], specs: list[Spec]) -> list[str]:
    """What votes on something else than the task's answers, which makes nearly all of its answers wrong."""
    votes = {
        s.name: {getattr(part, "answer", "none") for part in plan.strategies} for s in specs if (plan := s.plan(0))
    }
    return [
        f"{name!r} votes on answer={read}, but answers to {task.name} are read by {task.extractor}"
        for task in tasks
        for name, found in votes.items()
        for read in sorted(found - {"none", task.extractor})
    ]


def described(spec: Spec) -> dict[str, Any]:
    """A spec as the manifest keeps it: of one without filters as versions did that had none."""
    filters = {"filters": spec.filters} if spec.filters else {}
    return {"policy": spec.policy, "search": spec.search, "max_tokens": spec.max_tokens, **filters}


def manifest_of(args: argparse.Namespace, model: Any, tasks: list[Task], specs: list[Spec]) -> dict[str, Any]:
    import platform

    from entropix.evaluate.specs import family_of
    from entropix.model.confidence import template_digest
    from entropix.version import entropix_version, installed_version

    versions = [f"entropix {entropix_version()}", f"Python {platform.python_version()}"]
    runtimes = ("xllamacpp", "llama-cpp-python", "transformers", "torch", "mlx", "mlx-lm")
    for package in (*runtimes, "numpy", "scipy", "statsmodels"):
        if found := installed_version(package):
            versions.append(f"{package} {found}")
    return {
        "model": model.info.name,
        "fingerprint": model.info.fingerprint,
        "template": template_digest(model.tokenizer),
        "engine": type(model.engine).__name__,
        "profile": model.profile.name,
        "parameters": model.profile.parameters,
        "tuned": [{k: v for k, v in note.items() if k != "items"} for note in model.profile.tuned],
        "max_tokens": args.max_tokens,
        "budget": args.budget,
        "tasks": {t.name: {"extractor": t.extractor, "split": t.split, "source": t.source} for t in tasks},
        "specs": {s.name: described(s) for s in specs},
        "families": {s.name: s.family or family_of(s.name) for s in specs},
        "versions": ", ".join(versions),
        "commands": [shlex.join(["entropix", *sys.argv[1:]])],
    }
