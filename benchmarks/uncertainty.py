"""What every estimator of uncertainty is worth on stored runs: the table of docs/uncertainty.md.

    python -m benchmarks.uncertainty docs/evidence/svamp docs/evidence/pooled docs/evidence/nq-large
    python -m benchmarks.uncertainty docs/evidence/… --write docs/uncertainty.md   # put it in its place there
    python -m benchmarks.uncertainty --cost                                        # milliseconds of each

A run is a directory of `entropix eval`, or of `benchmarks.ballots`. Judged are the text of every spec that has one, the
answer of every vote, and, where a run holds both, the greedy text with the votes' samples beside it, as the literature
has it. A run too small or too one-sided to say anything (fewer than `--least` right or wrong answers) is left out, and
that is said. New runs stand in the table by being named."""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from entropix.evaluate.estimates import Judged, judge, observed_beside
from entropix.evaluate.store import read_manifest, read_outcomes
from entropix.types import Action, Candidate, Regime, Step
from entropix.uncertainty import BASELINES, ESTIMATORS, Observed, StepsReading, Uncertainties, estimate

Outcome = dict[str, Any]

BEGIN, END = "<!-- measured: python -m benchmarks.uncertainty -->", "<!-- end of what was measured -->"
GREEDY = "greedy"


def groups(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str, list[Outcome]]]:
    """(task, what is judged, its outcomes): every spec, and the greedy text beside the samples of every vote."""
    found: dict[tuple[str, str], dict[tuple[str, int], Outcome]] = defaultdict(dict)
    for o in outcomes:
        found[o["task"], o["spec"]][o["item"], o["seed"]] = o
    for (task, spec), own in found.items():
        greedy = found.get((task, GREEDY), {})
        yield task, spec, list(own.values())
        if spec == GREEDY or not all(o.get("independent") for o in own.values()):
            continue
        made = []
        for key, vote in own.items():
            if key in greedy:
                seen = observed_beside(greedy[key], vote)
                made.append({**greedy[key], "uncertainties": dict(Uncertainties(lambda seen=seen: seen))})  # type: ignore[misc]
        if made:
            yield task, f"{GREEDY}, {spec} beside it", made


def table(runs: Sequence[Path], least: int, specs: Sequence[str]) -> list[str]:
    """The table as lines of Markdown."""
    lines = ["| run | judged | right | estimator | needs | AUROC | PRR | AURC |", "|---|---|---|---|---|---|---|---|"]
    left = []
    for run in runs:
        model = Path(str(read_manifest(run).get("model", ""))).name.removesuffix(".gguf")
        for task, name, outcomes in groups(read_outcomes(run)):
            if specs and not any(name in (s, f"{GREEDY}, {s} beside it") for s in specs):
                continue
            right = sum(bool(o["right"]) for o in outcomes)
            if min(right, len(outcomes) - right) < least:
                left.append(f"{run.name}, {name}: {right} of {len(outcomes)} right")
                continue
            where = f"{run.name} ({task}, {model})"
            for n, one in enumerate(ordered(judge(outcomes))):
                head = f"| {where} | {name} | {right} of {len(outcomes)} " if not n else "| | | "
                figures = f"{_interval(one.auroc)} | {_interval(one.prr)} | {one.aurc:.3f}"
                lines.append(f"{head}| `{one.name}` | {one.needs} | {figures} |")
    if left:
        lines += ["", f"Left out, with fewer than {least} right or wrong answers: {'; '.join(left)}."]
    return lines


def ordered(found: Sequence[Judged]) -> list[Judged]:
    """The baselines first, then by falling AUROC."""
    return sorted(found, key=lambda j: (j.name not in BASELINES, -j.auroc.value if j.name not in BASELINES else 0))


def _interval(found: Any) -> str:
    if not math.isfinite(found.value):
        return "–"
    return (
        f"{found.value:.2f} ({found.low:.2f} … {found.high:.2f})" if math.isfinite(found.low) else f"{found.value:.2f}"
    )


def costs(tokens: int = 200, texts: int = 8, repeats: int = 20) -> list[str]:
    """Milliseconds of each estimator for an answer of `texts` texts of so many tokens, 20 candidates a step."""

    def text(n: int) -> list[Step]:
        leading = tuple(Candidate(k, f" word{k}", 0.5 / (k + 1), 0.0) for k in range(20))
        return [
            Step(
                i,
                i,
                i % 20,
                f" word{i % 20}",
                f" word{i % 20}",
                Regime.FLOW,
                Action.SAMPLE,
                0.7,
                logprob=-0.7,
                leading=leading,
            )
            for i in range(tokens + n)
        ]

    drawn = [text(n) for n in range(texts)]

    def last(said: str) -> str | None:
        return said.split()[-1] if said.split() else None

    lines = ["| estimator | ms | tokens beside the answer's own |", "|---|---|---|"]
    for name, kind in ESTIMATORS.items():
        best = math.inf
        for _ in range(repeats):
            readings = [StepsReading(steps, str(n % 3), extract=last) for n, steps in enumerate(drawn)]
            readings[0].answer = last("".join(s.text for s in drawn[0]))
            seen = Observed(readings[0], tuple(readings[1:]), 0.5)
            begun = time.process_time()
            estimate(name, seen)
            best = min(best, time.process_time() - begun)
        lines.append(f"| `{name}` | {1000 * best:.2f} | {kind().cost} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--specs", nargs="+", default=[], help="judge these only (default: all)")
    parser.add_argument(
        "--least", type=int, default=10, help="right and wrong answers that a group needs (default: 10)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between its marks in this page")
    parser.add_argument("--cost", action="store_true", help="the milliseconds of each estimator instead")
    args = parser.parse_args()
    if not args.runs and not args.cost:
        parser.error("there is no run; name one, such as docs/evidence/svamp")
    lines = costs() if args.cost else table(args.runs, args.least, args.specs)
    if args.write is None:
        print("\n".join(lines))
        return
    page = args.write.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        parser.error(f"{args.write} has no marks {BEGIN!r} and {END!r} to put the table between")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    args.write.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


if __name__ == "__main__":
    main()
