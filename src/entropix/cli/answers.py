"""`entropix calibrate --answers`: how often answers are right that are so sure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def run(args: argparse.Namespace) -> int:
    from entropix import profiles
    from entropix.cli import INTERRUPTED
    from entropix.cli.eval import load_tasks, stored
    from entropix.cli.output import Screen, file_name
    from entropix.cli.running import loaded
    from entropix.errors import ModelError, TaskError

    try:
        from entropix.evaluate.answers import calibrated, check_enough, effort_spec, outcomes_of, with_confidence
    except ImportError as missing:
        raise ModelError(f"--answers needs {missing.name}; install it with: pip install 'entropix-llm[eval]'") from None
    screen = Screen(args.color, quiet=args.quiet)
    profiles.check_writable(args.out or profiles.user_directory() / "profile.json")
    args.tasks = args.answers or []
    tasks = load_tasks(args) if args.tasks else []
    if tasks:  # before a model answers what will not be enough
        check_enough(len({item.prompt for task in tasks for item in task.items}))
    specs = {task.name: effort_spec(args.effort, task.extractor) for task in tasks}
    spec = effort_spec(args.effort, "number")
    before = None if tasks else stored(args.run_directory)
    with loaded(args, screen, args.model, sequences=16) as model:
        directory = args.run_directory or Path("runs") / file_name(
            f"answers-{'-'.join(specs)}-{args.effort}-{model.info.name}"
        )
        if tasks and not answer(args, screen, model, directory, tasks, specs):
            return INTERRUPTED
        manifest, outcomes = before or stored(directory)
        if manifest.get("fingerprint") != model.info.fingerprint or manifest.get("model") != model.info.name:
            raise TaskError(
                f"{directory} holds answers of {manifest.get('model')!r}, not of {model.info.name!r}; a confidence is "
                "calibrated for one model file"
            )
        found = outcomes_of(args.effort, manifest, outcomes)
        if tasks:
            found = [o for o in found if o["task"] in specs]
        setting = model.setting(model.policy(spec.policy), spec.plan(None))
        assert setting is not None
        template = manifest.get("template", setting.template)
        if template != setting.template:
            raise TaskError(f"{directory} was answered with another chat template ({template} and {setting.template})")
        made, held = calibrated(found, setting)
        profile = with_confidence(model.profile, model.info.name, made)
    print(profile.save(args.out or profiles.user_directory() / f"{file_name(profile.name)}.json"))
    screen.tell(f"effort {args.effort}: {made.source}; on items left out, means over {held.splits} random halves:")
    for name, values in (("share of the ballots", held.share), ("calibrated", held.fit)):
        auroc, ece, brier, prr = values
        screen.tell(f"  {name}: AUROC {auroc:.3f}, ECE {ece:.3f}, Brier {brier:.3f}, PRR {prr:.3f}")
    screen.tell(f"  an exactly right confidence would show ECE {held.chance:.3f} on halves of {len(made.items) // 2}")
    screen.tell(f"  a risk of {held.wished:.0%} was kept in {held.kept:.0%} of the halves")
    for bound in made.bounds:
        told = (
            "cannot be kept, more labelled answers may"
            if bound.threshold is None
            else f"from {bound.threshold:.1%} sure on, {bound.accepted} of {len(made.items)} answers"
        )
        screen.tell(f"  risk {bound.risk:.3g}: {told}")
    return 0


def answer(
    args: argparse.Namespace, screen: Any, model: Any, directory: Path, tasks: list[Any], specs: dict[str, Any]
) -> bool:
    """Answer what the run in `directory` does not hold yet; False when stopped by Ctrl-C."""
    from dataclasses import replace

    from entropix.cli.eval import manifest_of
    from entropix.cli.output import progress_bar
    from entropix.cli.running import interruptible
    from entropix.evaluate import Store, evaluate, units

    # one name per way to read answers: a run holds one search under a name
    named = {t.name: replace(specs[t.name], name=f"{specs[t.name].name}, {t.extractor}") for t in tasks}
    work = [unit for task in tasks for unit in units([task], [named[task.name]], [1])]
    args.budget = None
    manifest = manifest_of(args, model, tasks, list(named.values()))
    with Store(directory, manifest) as store, progress_bar(screen) as bar, interruptible() as interrupt:
        shown = bar.add_task("answering", total=len(work))
        evaluate(
            model,
            work,
            store,
            max_tokens=args.max_tokens,
            together=4,
            progress=lambda done: bar.update(shown, completed=done),
            go_on=lambda: not interrupt.requested,
        )
        if interrupt.requested:
            screen.tell(f"stopped; what was answered is kept in {directory}, and the same command goes on")
        return not interrupt.requested
