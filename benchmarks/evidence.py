"""The runs behind docs/evidence.md, worked off in the order of their worth.

    python -m benchmarks.evidence --models DIR --data DIR --out runs/evidence             # goes on where it stopped
    python -m benchmarks.evidence … --minutes 10 --engine transformers --device cuda      # one part on a GPU
    python -m benchmarks.evidence … --status                                              # what is there, what is left
    python -m benchmarks.evidence … --keep docs/evidence                                  # outcomes without any texts

`benchmarks/evidence.toml` is the plan. Every answer is kept as soon as it is there, so it may be killed at any time.
Run it beside other work as `nice -n 19`, and stop it while speed is measured. What is left is said in hours of this
machine, from the seconds an item has taken here."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import entropix
from benchmarks import ballots
from entropix.errors import ParameterError
from entropix.evaluate import Store, evaluate, load_task, read_specs, units
from entropix.evaluate.tasks import Item, Task

PLAN = Path(__file__).with_name("evidence.toml")
KEYS = {
    "name": str, "kind": str, "model": str, "task": str, "items": int, "instruction": str, "skip": int,
    "ballots": int, "max_tokens": int, "seeds": int, "specs": str,
}  # fmt: skip
NEEDED = ("name", "kind", "model", "task", "items", "max_tokens")


@dataclass(frozen=True)
class Run:
    """One run of the plan. model: the name of a file."""

    name: str
    kind: str
    model: str
    task: str
    items: int
    max_tokens: int
    instruction: str | None = None
    skip: int = 0
    ballots: int = 0
    seeds: int = 1
    specs: str = ""

    def load(self, data: Path) -> tuple[Task, list[Item]]:
        """The task and the items that are reported on."""
        task = load_task(str(data / self.task), instruction=self.instruction)
        found = list(task.items[self.skip : self.skip + self.items])
        if len(found) < self.items:
            raise ParameterError(f"run {self.name!r} wants {self.items} items after {self.skip}, not {len(found)}")
        return task, found


def read_plan(file: Path) -> tuple[list[Run], int]:
    """The runs in their order, and how many items of one are done before the next gets as many.

    Raises ParameterError."""
    plan = tomllib.loads(file.read_text(encoding="utf-8"))
    models, runs = plan.get("models", {}), []
    for table in plan.get("run", []):
        wrong = [k for k, v in table.items() if k not in KEYS or type(v) is not KEYS[k]]
        missing = [k for k in NEEDED if k not in table]
        if wrong or missing:
            raise ParameterError(f"{file}: run {table.get('name', '?')!r}: wrong {wrong}, missing {missing}")
        if table["model"] not in models or table["kind"] not in ("ballots", "eval"):
            raise ParameterError(f"{file}: run {table['name']!r} has an unknown model or kind")
        runs.append(Run(**{**table, "model": models[table["model"]]}))
    if len({run.name for run in runs}) < len(runs) or not runs:
        raise ParameterError(f"{file}: names of runs must differ, and there must be one")
    return runs, int(plan.get("part", 20))


class Work:
    """A run and what is there of it, in a directory of its own."""

    def __init__(self, run: Run, args: argparse.Namespace) -> None:
        self.run, self.args = run, args
        self.directory = Path(args.out) / run.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.task, self.items = run.load(Path(args.data))
        self.seconds: list[float] = self._times()

    @property
    def raw(self) -> Path:
        return self.directory / "raw.jsonl"

    @property
    def clock(self) -> Path:
        return self.directory / "seconds.jsonl"

    def _times(self) -> list[float]:
        return [json.loads(line)["seconds"] for line in ballots.whole_lines(self.clock)]

    def left(self) -> list[Item]:
        """Items without all their answers."""
        if self.run.kind == "ballots":
            done = {json.loads(line)["id"] for line in ballots.whole_lines(self.raw)}
            return [item for item in self.items if item.id not in done]
        done = {json.loads(line)["id"] for line in ballots.whole_lines(self.clock)}
        return [item for item in self.items if item.id not in done]

    def hours_left(self) -> float | None:
        """By the mean of what an item has taken; None before the first."""
        return None if not self.seconds else statistics.fmean(self.seconds) * len(self.left()) / 3600

    def step(self, items: list[Item], until: float) -> None:
        """Answer these items, or as many as there is time for."""
        begun = time.monotonic()

        def done(id: str) -> None:
            nonlocal begun
            now = time.monotonic()  # items overlap, so what counts is how often one is done
            took, begun = now - begun, now
            self.seconds.append(took)
            clock.write(json.dumps({"id": id, "seconds": round(took, 2)}) + "\n")
            clock.flush()
            print(f"{self.run.name}: {id}, {took:.0f} s; {self.hours_left():.1f} h left of this run", flush=True)

        def go_on() -> bool:
            return time.monotonic() < until

        model = entropix.load(Path(self.args.models) / self.run.model, **self.options())
        with model, self.clock.open("a", encoding="utf-8") as clock:
            if self.run.kind == "ballots":
                ballots.answer(
                    model, self.task, items, self.raw, self.run.ballots, self.run.max_tokens, self.args, go_on, done
                )
                return
            for item in items:
                if not go_on():
                    return
                self.compare(model, item)
                done(item.id)

    def compare(self, model: entropix.Model, item: Item) -> None:
        one = Task(**{**vars(self.task), "items": (item,)})
        specs = read_specs([self.run.specs])
        manifest = {
            "model": model.info.name,
            "tasks": {one.name: {"extractor": one.extractor}},
            "specs": {s.name: {"policy": s.policy, "search": s.search, "max_tokens": s.max_tokens} for s in specs},
        }
        with Store(self.directory, manifest) as store:
            evaluate(model, units([one], specs, range(1, self.run.seeds + 1)), store, max_tokens=self.run.max_tokens)

    def options(self) -> dict[str, Any]:
        return {"sequences": self.args.slots, "context": 2048, **ballots.options(self.args)}

    def keep(self, folder: Path) -> int:
        """Outcomes without any texts into `folder`/NAME; how many items."""
        if self.run.kind == "eval":
            kept = folder / self.run.name
            kept.mkdir(parents=True, exist_ok=True)
            lines = map(json.loads, ballots.whole_lines(self.directory / "outcomes.jsonl"))
            silent = ({k: v for k, v in line.items() if k != "text"} for line in lines)
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in silent)
            (kept / "outcomes.jsonl").write_text(text, encoding="utf-8")
            if (self.directory / "run.json").exists():
                shutil.copy(self.directory / "run.json", kept / "run.json")
        elif ballots.whole_lines(self.raw):
            shutil.rmtree(folder / self.run.name, ignore_errors=True)
            said = self.directory / "said.jsonl"
            model = Path(self.args.models) / self.run.model
            ballots.convert_to(self.raw, folder / self.run.name, model, said if said.exists() else None)
        return len(self.items) - len(self.left())


def status(work: list[Work]) -> None:
    total = 0.0
    for one in work:
        hours = one.hours_left()
        total += hours or 0.0
        done = len(one.items) - len(one.left())
        said = "not begun, so its time is not known" if hours is None else f"{hours:.1f} h left"
        print(f"{one.run.name:16} {done:4} of {len(one.items)} items · {said}")
    print(f"{total:.1f} h left of those that have begun")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--models", required=True, help="directory of the model files")
    parser.add_argument("--data", required=True, help="directory of the questions")
    parser.add_argument("--out", default="runs/evidence")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these runs, in this order")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no item after so many")
    parser.add_argument("--slots", type=int, default=20, help="texts at a time")
    ballots.engine_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--status", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    try:
        runs, part = read_plan(args.plan)
        named = {run.name: run for run in runs}
        unknown = [name for name in args.only or () if name not in named]
        if unknown:
            raise ParameterError(f"--only {unknown[0]!r} is unknown; known are {', '.join(named)}")
        work = [Work(named[name], args) for name in args.only or named]
    except (ParameterError, OSError) as error:
        sys.exit(f"benchmarks.evidence: {error}")
    if args.keep:
        for one in work:
            print(f"{one.run.name}: {one.keep(args.keep)} of {len(one.items)} items")
        return
    if not args.status:
        until = time.monotonic() + 60 * args.minutes
        while time.monotonic() < until:
            least = min(work, key=lambda w: (not w.left(), (len(w.items) - len(w.left())) // part))
            left = least.left()
            if not left:
                break
            least.step(left[:part], until)
    status(work)


if __name__ == "__main__":
    main()
