"""Accuracy, tokens and time of searches on word problems: `python -m benchmarks.svamp MODEL DATA.jsonl`.

Every item's outcome is one line in --out; a run that is killed goes on where it stopped. Intervals are Wilson's, 95 %.
`sample` and `vote 4` are counted on the first one and four ballots of `vote 8`, which are the same samples.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import entropix
from entropix.evaluate.statistics import share
from entropix.search.answers import number

SPECS: dict[str, tuple[str, str | None]] = {
    "greedy": ("greedy", None),
    "vote 8": ("sample:temperature=0.7", "vote:n=8,answer=number,share=1,floor=8"),
    "tree 8, H > 1.14": (
        "greedy",
        "tree:trigger=entropy,threshold=1.14,max_sequences=8,ratio=0+vote:answer=number,share=1,floor=8",
    ),
    "tree 8, running quantile": (
        "greedy",
        "tree:trigger=quantile,threshold=0.5,quantile=0.97,max_sequences=8+vote:answer=number,share=1,floor=8",
    ),
    "tree 8, afterwards": (
        "greedy",
        "tree:when=end,trigger=entropy,threshold=0.3,late=0.5,max_sequences=8,rounds=7+vote:answer=number,share=1,floor=8",
    ),
    "tree 8, afterwards, rounds, early stop": (
        "greedy",
        "tree:when=end,trigger=entropy,threshold=0.3,late=0.5,max_sequences=8,rounds=2+vote:answer=number,floor=3",
    ),
    "tree 8, afterwards, sampled": (
        "sample:temperature=0.7",
        "tree:when=end,trigger=entropy,threshold=0.3,late=0.5,max_sequences=8,rounds=7+vote:answer=number,share=1,floor=8",
    ),
    "tree 8, afterwards, sampled, early places": (
        "sample:temperature=0.7",
        "tree:when=end,trigger=entropy,threshold=0.3,late=0,max_sequences=8,rounds=7+vote:answer=number,share=1,floor=8",
    ),
    "lookahead": ("greedy", "lookahead:trigger=entropy,threshold=0.46"),
    "branch": ("greedy", "branch:trigger=entropy,threshold=1.14"),
    "backtrack": ("greedy", "backtrack:trigger=entropy,threshold=1.5"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("svamp.jsonl"))
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further item after so many minutes")
    parser.add_argument("--only", action="append", default=[], help="a name of a spec; may be repeated")
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--together", type=int, default=1, help="items decoded in one batch")
    parser.add_argument("--sequences", type=int, default=9, help="live sequences of the whole batch")
    parser.add_argument("--report", action="store_true", help="print what --out holds and compute nothing")
    args = parser.parse_args()
    done = {}
    if args.out.exists():
        for line in args.out.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            done[record["spec"], record["id"]] = record
    items = [json.loads(line) for line in args.data.read_text(encoding="utf-8").splitlines()][: args.limit]
    if not args.report:
        compute(args, items, done)
    report(done)


def compute(args: argparse.Namespace, items: list[dict[str, Any]], done: dict[tuple[str, str], Any]) -> None:
    """Every spec over groups of --together items, which are decoded as one batch; an item has its share of the time."""
    started = time.monotonic()
    with (
        entropix.load(
            args.model, context=1024, sequences=args.sequences, cells=448 * args.sequences, threads=args.threads
        ) as model,
        open(args.out, "a") as out,
    ):
        for begin in range(0, len(items), args.together):
            for name, (policy, search) in SPECS.items():
                group = [i for i in items[begin : begin + args.together] if (name, i["id"]) not in done]
                if not group or (args.only and name not in args.only):
                    continue
                if time.monotonic() - started > args.minutes * 60:
                    return
                options: dict[str, Any] = {"policy": policy, "search": search, "seed": 1, "leading": 0}
                now = time.monotonic()
                results = model.generate([i["question"] for i in group], max_tokens=args.max_tokens, **options)
                seconds = (time.monotonic() - now) / len(group)
                for item, result in zip(group, results, strict=True):
                    done[name, item["id"]] = record = outcome(name, item, result, seconds)
                    out.write(json.dumps(record) + "\n")
                out.flush()


def outcome(name: str, item: dict[str, Any], result: entropix.Result, seconds: float) -> dict[str, Any]:
    """One line of --out; a branch is (number, parent, origin, tokens, why opened, answer, why ended)."""
    tried = result.search.branches if result.search else ()
    return {
        "spec": name,
        "id": item["id"],
        "gold": item["answer"],
        "answer": result.search.answer if result.search and result.search.ballots else number(result.text),
        "forwarded": result.ledger.forwarded,
        "seconds": seconds,
        "confidence": result.confidence,
        "text": result.text,
        "branches": [[b.number, b.parent, b.origin, len(b.steps), b.opened, b.answer, b.ended] for b in tried],
    }


def first(n: int, record: dict[str, Any]) -> dict[str, Any]:
    """A vote of n from the ballots of `vote 8`; ties go to the ballot drawn first. Time is not known."""
    ballots = record["branches"][:n]
    answers = [b[5] for b in ballots if b[5] is not None and b[6] != "length"] or [b[5] for b in ballots if b[5]]
    answer = max(answers, key=lambda a: (answers.count(a), -answers.index(a)), default=None)
    own = sum(b[3] for b in record["branches"])
    forwarded = record["forwarded"] - own + sum(b[3] for b in ballots) + len(record["branches"]) - len(ballots)
    return {**record, "answer": answer, "forwarded": forwarded, "seconds": math.nan, "branches": ballots}


def report(done: dict[tuple[str, str], dict[str, Any]]) -> None:
    table: dict[str, list[dict[str, Any]]] = {}
    for (name, _), record in done.items():
        table.setdefault(name, []).append(record)
        if name == "vote 8":
            table.setdefault("vote 4", []).append(first(4, record))
            table.setdefault("sample", []).append(first(1, record))
    # only items that every spec has answered, so that specs are compared on the same questions
    common = set.intersection(*({r["id"] for r in records} for records in table.values())) if table else set()
    print(f"{'':42}{'items':>6}{'accuracy':>10}{'95 % interval':>18}{'pass@k':>8}{'forwarded':>11}{'s':>7}")
    for name in ["sample", "vote 4", *SPECS]:
        records = [r for r in table.get(name, []) if r["id"] in common]
        if not records:
            continue
        right = sum(r["answer"] == number(r["gold"]) for r in records)
        any_right = sum(
            number(r["gold"]) in [b[5] for b in r["branches"]] or r["answer"] == number(r["gold"]) for r in records
        )
        accuracy = share(right, len(records))
        n = len(records)
        forwarded = sum(r["forwarded"] for r in records) / n
        seconds = sum(r["seconds"] for r in records) / n
        interval = f"{accuracy.value:10.1%}{accuracy.low:10.1%}…{accuracy.high:6.1%}"
        print(f"{name:42}{n:6}{interval}{any_right / n:8.0%}{forwarded:11.0f}{seconds:7.1f}")


if __name__ == "__main__":
    main()
