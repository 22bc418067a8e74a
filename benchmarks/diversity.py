"""What the token-level policies do to open text: how different the texts of a prompt are, how much a text repeats
itself, and how likely the model finds it; beside the accuracy of the same specs on a task.

    python -m benchmarks.diversity MODEL OUT.jsonl --specs docs/evidence/tokens.toml       # goes on where it stopped
    python -m benchmarks.diversity --report OUT.jsonl [--accuracy RUN]

100 open prompts, made of ten requests and ten subjects; of each prompt and spec so many texts, which end after so many
tokens. RUN is a directory of `entropix eval` with specs of the same names. No text is kept, only what was measured."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import entropix
from benchmarks.ballots import engine_options, options, whole_lines
from entropix.evaluate import read_specs
from entropix.evaluate import statistics as st
from entropix.evaluate.diversity import distinct, repeated
from entropix.evaluate.specs import Spec
from entropix.evaluate.store import read_outcomes
from entropix.search.seeds import derived
from entropix.types import Result

REQUESTS = (
    "Write the beginning of a short story about {}.",
    "Describe {} to someone who has never seen anything like it.",
    "Write a letter to a friend about {}.",
    "Write a dialogue between two people who disagree about {}.",
    "Write a poem about {}.",
    "Give advice to someone who wants to know more about {}.",
    "Write a page of a diary that mentions {}.",
    "Explain to a child why people care about {}.",
    "Write a funny advertisement for {}.",
    "Imagine the world in a hundred years, and what has become of {}.",
)
SUBJECTS = (
    "a lighthouse", "an old bicycle", "the first snow", "a night train", "a garden on a roof",
    "a lost letter", "bread", "a small island", "the last library", "a street musician",
)  # fmt: skip
PROMPTS = tuple(request.format(subject) for request in REQUESTS for subject in SUBJECTS)
MEASURES = ("distinct-1", "distinct-2", "repeated", "surprisal", "tokens")
"""surprisal: nats per token under the model as it is, whatever the policy made of it."""


def measured(texts: Sequence[Result]) -> dict[str, float | None]:
    """What is kept of the texts of one prompt."""
    written = [text.text for text in texts]
    repeats = [share for text in written if (share := repeated(text)) is not None]
    tokens = sum(len(text.steps) for text in texts)
    return {
        "distinct-1": distinct(written, 1),
        "distinct-2": distinct(written, 2),
        "repeated": sum(repeats) / len(repeats) if repeats else None,
        "surprisal": sum(text.surprisal for text in texts) / tokens if tokens else None,
        "tokens": tokens / len(texts),
    }


def run(args: argparse.Namespace) -> None:
    """The prompts and specs that the file does not hold yet, each kept as soon as its batch has ended."""
    out = Path(args.out)
    done = {(row["spec"], row["prompt"]) for row in rows_of(out)}
    profile = {"profile": args.profile} if args.profile else {}
    with entropix.load(args.model, **options(args), **profile, sequences=args.together, context=512) as model:
        for spec in read_specs([args.specs]):
            waiting = [n for n in range(args.prompts) if (spec.name, n) not in done]
            for some in (waiting[k : k + args.together] for k in range(0, len(waiting), args.together)):
                answers = texts_of(model, spec, some, args)
                with out.open("a", encoding="utf-8") as sink:
                    for n, texts in zip(some, answers, strict=True):
                        sink.write(json.dumps({"spec": spec.name, "prompt": n, **measured(texts)}) + "\n")
                print(f"{spec.name}: {some[-1] + 1} of {args.prompts} prompts", flush=True)


def texts_of(model: entropix.Model, spec: Spec, prompts: Sequence[int], args: argparse.Namespace) -> list[list[Result]]:
    """The texts of each prompt; a text has the same noise whatever else is asked beside it."""
    filters, repetition = spec.settings
    found = [
        model.generate(
            [PROMPTS[n] for n in prompts],
            policy=spec.policy,
            search=spec.search,
            filters=filters,
            repetition=repetition,
            seed=derived(args.seed, k),
            max_tokens=args.max_tokens,
        )
        for k in range(args.texts)
    ]
    return [list(texts) for texts in zip(*found, strict=True)]


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in whole_lines(file)]


def report(file: Path, accuracy: Path | None) -> list[str]:
    """One line a spec, the least diverse first; means over prompts with 95 % intervals."""
    rows = rows_of(file)
    right = read_outcomes(accuracy) if accuracy is not None else []
    names = list(dict.fromkeys(row["spec"] for row in rows))
    means = {name: {m: mean_of([row[m] for row in rows if row["spec"] == name]) for m in MEASURES} for name in names}
    lines = ["| spec | prompts | " + " | ".join(MEASURES) + " | accuracy |", "|---" * (3 + len(MEASURES)) + "|"]
    for name in sorted(names, key=lambda name: means[name]["distinct-2"].value):
        cells = [
            f"{m.value:.0f}" if measure == "tokens" else f"{m.value:.3f} ({m.low:.3f} … {m.high:.3f})"
            for measure, m in means[name].items()
        ]
        judged = [outcome["right"] for outcome in right if outcome["spec"] == name]
        share = st.share(sum(judged), len(judged)) if judged else None
        said = f"{share.value:.1%} ({share.low:.1%} … {share.high:.1%}) of {len(judged)}" if share else "–"
        prompts = sum(row["spec"] == name for row in rows)
        lines.append(f"| {name} | {prompts} | {' | '.join(cells)} | {said} |")
    return lines


def mean_of(values: Sequence[float | None]) -> st.Interval:
    """Over the prompts that have a value; NaN where none has."""
    known = [value for value in values if value is not None]
    return st.cluster_mean(known, [1] * len(known)) if known else st.Interval(float("nan"), float("nan"), float("nan"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--specs", help="a file of specs, as `entropix eval --compare` takes it")
    parser.add_argument("--profile", help="thresholds of the policy, where not those that ship with the model")
    numbers = {"prompts": len(PROMPTS), "texts": 2, "max-tokens": 80, "together": 50, "seed": 0}
    for option, default in numbers.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    engine_options(parser)
    parser.add_argument("--report", type=Path, metavar="OUT.jsonl")
    parser.add_argument("--accuracy", type=Path, metavar="RUN")
    args = parser.parse_args()
    if args.report is not None:
        print("\n".join(report(args.report, args.accuracy)))
    elif args.out is None or args.specs is None:
        parser.error("give a model, a file to keep what is measured in and --specs FILE, or --report")
    else:
        run(args)
        print("\n".join(report(Path(args.out), args.accuracy)))


if __name__ == "__main__":
    main()
