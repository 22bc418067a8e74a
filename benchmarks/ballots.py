"""Raw ballots of many questions, and a run of `entropix eval` made of them.

    python -m benchmarks.ballots draw MODEL TASK OUT.jsonl --instruction TEXT --ballots 16 --max-tokens 400
    python -m benchmarks.ballots convert OUT.jsonl RUN --model MODEL
    entropix replay RUN --first greedy --move 2 4 --shuffles 20

`draw` answers each question greedily and with so many samples at temperature 0.7, keeps every token with its
log-probability, one line per question, and goes on where it stopped. `convert` reads the answers off the texts again,
so that a better extractor needs no model time."""

from __future__ import annotations

import argparse
import codecs
import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import entropix
from entropix.decoding import Decoder
from entropix.evaluate.replay import Rule, replayed
from entropix.evaluate.run import ENDS
from entropix.evaluate.store import Store
from entropix.evaluate.tasks import load_task
from entropix.search.answers import extractor, number
from entropix.search.seeds import derived
from entropix.search.short import matches
from entropix.search.spans import measured

POLICY = "sample:temperature=0.7"


def draw(args: argparse.Namespace) -> None:
    """Questions in order, `slots` texts at a time."""
    task = load_task(args.task, instruction=args.instruction)
    out = Path(args.out)
    done = {json.loads(line)["id"] for line in out.read_text().splitlines()} if out.exists() else set()
    model = entropix.load(args.model, threads=args.threads, sequences=args.slots, context=2048)
    decoder = Decoder(model.engine)
    waiting = deque(
        (item, n) for item in task.items[args.skip :] if item.id not in done for n in range(-1, args.ballots)
    )
    running: dict[Any, Any] = {}
    texts: dict[str, list[dict[str, Any]]] = {}
    with out.open("a", encoding="utf-8") as sink:
        while waiting or running:
            while waiting and len(running) < args.slots:
                item, n = waiting.popleft()
                policy = "greedy" if n < 0 else POLICY
                seed = derived(args.seed, hash_of(item.id), n + 1)
                request = model.request(item.prompt, policy=policy, seed=seed, max_tokens=args.max_tokens, leading=0)
                running[decoder.submit(request)] = item, n
            for event in decoder.step():
                if event.step is not None:
                    continue
                item, n = running.pop(event.job)
                found = model.result(event.job)
                texts.setdefault(item.id, []).append(
                    {
                        "kind": "greedy" if n < 0 else "sample",
                        "n": n,
                        "text": found.text,
                        "finish": found.finish_reason,
                        "tokens": list(found.tokens),
                        "logprobs": [s.logprob for s in found.steps],
                    }
                )
                if len(texts[item.id]) > args.ballots:
                    line = {"task": task.name, "id": item.id, "gold": list(item.answers) or item.answer}
                    line |= {"question": item.question or item.prompt, "prompt_tokens": found.prompt_tokens}
                    sink.write(json.dumps({**line, "seconds": 0, "texts": texts.pop(item.id)}) + "\n")
                    sink.flush()


def hash_of(text: str) -> int:
    """A number of its own for every question."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def convert(args: argparse.Namespace) -> None:
    """Outcomes of "greedy" and "vote N", without the texts."""
    piece = entropix.load(args.model, sequences=1, context=64).engine.tokenizer.piece
    rows = [json.loads(line) for line in Path(args.raw).read_text().splitlines()]
    ballots = max(len(row["texts"]) for row in rows) - 1
    vote = f"vote {ballots}"
    manifest = {
        "model": Path(args.model).name,
        "tasks": {name: {"extractor": read} for name, read in {r["task"]: reader(r) for r in rows}.items()},
        "specs": {
            "greedy": {"policy": "greedy", "search": None, "max_tokens": 0},
            vote: {"policy": POLICY, "search": f"vote:n={ballots},stop=none", "max_tokens": 0},
        },
        "families": {"greedy": "greedy", vote: "vote"},
    }
    with Store(args.run, manifest) as store:
        for row in rows:
            texts = sorted(row["texts"], key=lambda t: t["n"])
            for name, kept in (("greedy", texts[:1]), (vote, texts[1:])):
                store.add(outcome(row, name, kept, piece))


def reader(row: dict[str, Any]) -> str:
    return "short" if isinstance(row["gold"], list) else "number"


def outcome(row: dict[str, Any], name: str, texts: list[dict[str, Any]], piece: Callable[[int], bytes]) -> Any:
    """An outcome as `entropix eval` keeps it, its vote counted as every replay counts."""
    extract = extractor(reader(row), row.get("question", ""))
    assert extract is not None
    golds = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    answers = [extract(t["text"]) for t in texts]
    right = [matches(a, golds) if reader(row) == "short" else a is not None and a == number(golds[0]) for a in answers]
    costs = [max(len(t["tokens"]) - 1, 0) for t in texts]
    stored = {
        **{"task": row["task"], "item": row["id"], "seed": 1, "spec": name, "gold": " / ".join(golds)},
        **{"ballots": answers, "ballot_right": right},
        **{"ballot_tokens": costs, "ballot_ends": [t["finish"] for t in texts]},
        "texts": [
            measured(list(pieces(t["tokens"], piece)), t["logprobs"], a, extract)
            for t, a in zip(texts, answers, strict=True)
        ],
        "independent": all(t["finish"] in ENDS for t in texts),
        "forwarded": row["prompt_tokens"] + sum(costs),
        "unshared": row["prompt_tokens"] * len(texts) + sum(costs),
        "ledger": {"prompt": row["prompt_tokens"], "shared": 0},
    }
    made = replayed(stored, Rule(), name)
    ledger = stored["ledger"]
    return {**made, "ledger": ledger, "seconds": math.nan, "independent": stored["independent"] and len(texts) > 1}


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
    numbers = {"ballots": 16, "max-tokens": 400, "skip": 0, "slots": 20, "seed": 0, "threads": 1}
    for option, default in numbers.items():
        one.add_argument(f"--{option}", type=int, default=default)
    two = commands.add_parser("convert")
    two.add_argument("raw")
    two.add_argument("run", metavar="RUN")
    two.add_argument("--model", required=True)
    args = parser.parse_args()
    (convert if hasattr(args, "raw") else draw)(args)


if __name__ == "__main__":
    main()
