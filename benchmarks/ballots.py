"""Raw ballots of many questions, and a run of `entropix eval` made of them.

    python -m benchmarks.ballots draw MODEL TASK OUT.jsonl --instruction TEXT --ballots 16 --max-tokens 400
    python -m benchmarks.ballots assess MODEL OUT.jsonl SAID.jsonl
    python -m benchmarks.ballots convert OUT.jsonl RUN --model MODEL --assessed SAID.jsonl
    entropix replay RUN --first greedy --move 2 4 --shuffles 20

`draw` answers each question greedily and with so many samples at temperature 0.7, keeps every token with its
log-probability, one line per question, and goes on where it stopped. `assess` asks the model which of a question's
distinct answers is right. `convert` reads the answers off the texts again,
so that a better extractor needs no model time."""

from __future__ import annotations

import argparse
import codecs
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import entropix
from entropix.answers.extractors import extractor, number
from entropix.answers.short import matches
from entropix.answers.spans import measured
from entropix.decoding import Decoder
from entropix.evaluate.replay import Rule, replayed
from entropix.evaluate.run import ENDS
from entropix.evaluate.store import Store
from entropix.evaluate.tasks import Item, Task, load_task
from entropix.search.assessment import MOST
from entropix.search.seeds import derived
from entropix.search.tally import tally
from entropix.uncertainty.readings import ALTERNATIVES, StepsReading

POLICY = "sample:temperature=0.7"


def draw(args: argparse.Namespace) -> None:
    """Every item that is not there yet."""
    task = load_task(args.task, instruction=args.instruction)
    out = Path(args.out)
    done = {json.loads(line)["id"] for line in out.read_text().splitlines()} if out.exists() else set()
    model = entropix.load(args.model, **options(args), sequences=args.slots, context=2048)
    waiting = [item for item in task.items[args.skip :] if item.id not in done]
    answer(model, task, waiting, out, args.ballots, args.max_tokens, args)


def answer(
    model: entropix.Model,
    task: Task,
    items: Sequence[Item],
    out: Path,
    ballots: int,
    max_tokens: int,
    args: argparse.Namespace,
    go_on: Callable[[], bool] = lambda: True,
    done: Callable[[str], None] = lambda id: None,
) -> None:
    """Items in order, `slots` texts at a time; each is one line of `out` as soon as its texts have ended. go_on: asked
    before an item begins; done: called with the id of each that is kept."""
    decoder = Decoder(model.engine)
    waiting = deque((item, n) for item in items for n in range(-1, ballots))
    running: dict[Any, Any] = {}
    texts: dict[str, list[dict[str, Any]]] = {}
    with out.open("a", encoding="utf-8") as sink:
        while waiting or running:
            while waiting and len(running) < args.slots:
                if waiting[0][1] < 0 and not go_on():
                    waiting.clear()
                    break
                item, n = waiting.popleft()
                policy = "greedy" if n < 0 else POLICY
                seed = derived(args.seed, hash_of(item.id), n + 1)
                request = model.request(
                    item.prompt, policy=policy, seed=seed, max_tokens=max_tokens, leading=ALTERNATIVES
                )
                running[decoder.submit(request)] = item, n
            ended = {id: len(found) for id, found in texts.items()}
            for event in decoder.step():
                if event.step is not None:
                    continue
                item, n = running.pop(event.job)
                found = model.result(event.job)
                reading = StepsReading(found.steps)
                texts.setdefault(item.id, []).append(
                    {
                        "kind": "greedy" if n < 0 else "sample",
                        "n": n,
                        "text": found.text,
                        "finish": found.finish_reason,
                        "before": ended.get(item.id, 0),
                        "tokens": list(found.tokens),
                        "logprobs": [s.logprob for s in found.steps],
                        "entropies": [None if s.entropy is None else round(s.entropy, 5) for s in found.steps],
                        "bottom": reading.bottom,
                        "claimed": reading.claimed,
                    }
                )
                if len(texts[item.id]) > ballots:
                    line = {"task": task.name, "id": item.id, "gold": list(item.answers) or item.answer}
                    line |= {"question": item.question or item.prompt, "prompt_tokens": found.prompt_tokens}
                    sink.write(json.dumps({**line, "seconds": 0, "texts": texts.pop(item.id)}) + "\n")
                    sink.flush()
                    done(item.id)
    decoder.close()


def engine_options(parser: argparse.ArgumentParser) -> None:
    """Which engine, where and with how many threads; `options` reads them."""
    parser.add_argument("--engine")
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int)


def options(args: argparse.Namespace) -> dict[str, Any]:
    """What `load` is told of the engine; what is not given is left to it."""
    given = {"engine": args.engine, "device": args.device, "threads": args.threads}
    return {name: value for name, value in given.items() if value is not None}


def whole_lines(file: Path) -> list[str]:
    """The whole lines of a file, of one that is not there none; a line that was cut off when its writer was killed is
    none."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def hash_of(text: str) -> int:
    """A number of its own for every question."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def assess(args: argparse.Namespace) -> None:
    """What the model itself says of the answers of each question, those with most votes first."""
    model = entropix.load(args.model, **options(args), sequences=MOST + 1, context=1024, cells=(MOST + 1) * 1024)
    out = Path(args.out)
    done = {json.loads(line)["id"] for line in out.read_text().splitlines()} if out.exists() else set()
    with out.open("a", encoding="utf-8") as sink:
        for row in map(json.loads, Path(args.raw).read_text().splitlines()):
            if row["id"] in done:
                continue
            extract = extractor(reader(row), row["question"])
            assert extract is not None
            texts = sorted(row["texts"], key=lambda t: t["n"])
            sums = tally([extract(t["text"]) for t in texts], [1.0] * len(texts), [t["finish"] for t in texts])
            begun = time.perf_counter()
            found = model.assess(row["question"], list(sums)[:MOST]) if sums else None
            said = dict(zip(found.answers, found.probabilities, strict=True)) if found else {}
            line = {"id": row["id"], "said": {a: round(p, 6) for a, p in said.items()}}
            line |= {"none": round(found.none, 6) if found else None, "tokens": found.tokens if found else 0}
            sink.write(json.dumps({**line, "seconds": round(time.perf_counter() - begun, 3)}) + "\n")
            sink.flush()


def convert(args: argparse.Namespace) -> None:
    convert_to(Path(args.raw), Path(args.run), Path(args.model), Path(args.assessed) if args.assessed else None)


def convert_to(raw: Path, run: Path, model: Path, assessed: Path | None = None) -> None:
    """Outcomes of "greedy" and "vote N", without the texts. assessed: what `assess` has written."""
    piece = entropix.load(model, sequences=1, context=64).engine.tokenizer.piece
    rows = [json.loads(line) for line in whole_lines(raw)]
    ballots = max(len(row["texts"]) for row in rows) - 1
    vote = f"vote {ballots}"
    manifest = {
        "model": model.name,
        "tasks": {name: {"extractor": read} for name, read in {r["task"]: reader(r) for r in rows}.items()},
        "specs": {
            "greedy": {"policy": "greedy", "search": None, "max_tokens": 0},
            vote: {"policy": POLICY, "search": f"vote:n={ballots},stop=none", "max_tokens": 0},
        },
        "families": {"greedy": "greedy", vote: "vote"},
    }
    said = {}
    if assessed is not None:
        said = {line["id"]: line["said"] for line in map(json.loads, assessed.read_text().splitlines())}
    with Store(run, manifest) as store:
        for row in rows:
            texts = sorted(row["texts"], key=lambda t: t["n"])
            for name, kept in (("greedy", texts[:1]), (vote, texts[1:])):
                made = outcome(row, name, kept, piece, said.get(row["id"]))
                store.add(made)


def reader(row: dict[str, Any]) -> str:
    return "short" if isinstance(row["gold"], list) else "number"


def outcome(
    row: dict[str, Any], name: str, texts: list[dict[str, Any]], piece: Callable[[int], bytes], said: Any = None
) -> Any:
    """An outcome as `entropix eval` keeps it, its vote counted as every replay counts. said: what `assess` found."""
    extract = extractor(reader(row), row.get("question", ""))
    assert extract is not None
    golds = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    answers = [extract(t["text"]) for t in texts]
    right = [matches(a, golds) if reader(row) == "short" else a is not None and a == number(golds[0]) for a in answers]
    costs = [max(len(t["tokens"]) - 1, 0) for t in texts]
    ends = [t.get("before") for t in texts]  # of the whole question, whose greedy text is an outcome of its own
    before = [None if end is None else sum(e < end for e in ends if e is not None) for end in ends]
    stored = {
        **{"task": row["task"], "item": row["id"], "seed": 1, "spec": name, "gold": " / ".join(golds)},
        **{"ballots": answers, "ballot_right": right},
        **{"ballot_tokens": costs, "ballot_ends": [t["finish"] for t in texts], "ballot_before": before},
        "texts": [
            measured(list(pieces(t["tokens"], piece)), t["logprobs"], a, extract) | read_off(t)
            for t, a in zip(texts, answers, strict=True)
        ],
        "independent": all(t["finish"] in ENDS for t in texts),
        "forwarded": row["prompt_tokens"] + sum(costs),
        "unshared": row["prompt_tokens"] * len(texts) + sum(costs),
        "ledger": {"prompt": row["prompt_tokens"], "shared": 0},
        **({} if said is None else {"assessed": said}),
    }
    made = replayed(stored, Rule(), name)
    ledger = stored["ledger"]
    return {**made, "ledger": ledger, "seconds": None, "independent": stored["independent"] and len(texts) > 1}


def read_off(text: dict[str, Any]) -> dict[str, float | None]:
    """What the other estimators read of a text; files from before they were kept hold no candidates."""
    entropies = [value for value in text.get("entropies", ()) if value is not None]
    found = {
        "entropy": fmean(entropies) if entropies else None,
        "bottom": text.get("bottom"),
        "claimed": text.get("claimed"),
    }
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def pieces(tokens: list[int], piece: Callable[[int], bytes]) -> Iterator[str]:
    """What each token adds to the text."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return (decoder.decode(piece(token)) for token in tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("draw")
    for name in ("model", "task", "out"):
        one.add_argument(name)
    one.add_argument("--instruction")
    numbers = {"ballots": 16, "max-tokens": 400, "skip": 0, "slots": 20, "seed": 0}
    for option, default in numbers.items():
        one.add_argument(f"--{option}", type=int, default=default)
    one.set_defaults(do=draw)
    two = commands.add_parser("assess")
    for name in ("model", "raw", "out"):
        two.add_argument(name)
    two.set_defaults(do=assess)
    engine_options(one)
    engine_options(two)
    three = commands.add_parser("convert")
    three.add_argument("raw")
    three.add_argument("run", metavar="RUN")
    three.add_argument("--model", required=True)
    three.add_argument("--assessed", default="")
    three.set_defaults(do=convert)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
