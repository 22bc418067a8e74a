"""Votes and trees over an OpenAI-compatible endpoint on word problems: accuracy, tokens, requests' prompts.

    python -m benchmarks.remote URL svamp_300.jsonl [--limit 12] [--minutes 10] [--at-once 4] [--plug-in]

Every item is answered with each spec in turn, several items at a time. With --plug-in, for a vLLM that has ours, also
by the policy `entropix` and with votes of its texts. Tokens are the ledger's: what the endpoint wrote, thrown-away
texts included, and what of the prompts it had to read beside what its prefix cache saved.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from entropix.answers.extractors import number
from entropix.evaluate.statistics import share
from entropix.remote import Endpoint, connect

VOTE = "vote:n=4,answer=number,stop="
SPECS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "vote, 4": {"temperature": 0.7, "search": f"{VOTE}none"},
    "vote, 4, early stop": {"temperature": 0.7, "search": f"{VOTE}overtake"},
    "tree, 4, H > 1.14": {
        "temperature": 0.0,
        "search": "tree:trigger=entropy,threshold=1.14,max_sequences=4+vote:answer=number,stop=none",
    },
}
PLUG_IN: dict[str, Any] = {"vllm_xargs": {"entropix": "entropix"}}
OURS: dict[str, dict[str, Any]] = {
    "entropix, in the engine": {"fields": PLUG_IN},
    "vote, 4, of entropix": {"fields": PLUG_IN, "search": f"{VOTE}none"},
}
ASKED = '{question}\nSolve the problem step by step, then give the result as "The answer is" and the number.'
"""As `entropix eval` asks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=12, help="items")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no further item after so many minutes")
    parser.add_argument("--at-once", type=int, default=1, help="items")
    parser.add_argument("--plug-in", action="store_true", help="the endpoint is a vLLM with our plug-in")
    args = parser.parse_args()
    items = [json.loads(line) for line in args.data.read_text(encoding="utf-8").splitlines()][: args.limit]
    endpoint = connect(args.url, timeout=600.0)
    specs = {**SPECS, **(OURS if args.plug_in else {})}
    began = time.monotonic()

    def answer(item: dict[str, Any]) -> list[Outcome] | None:
        if time.monotonic() - began > 60 * args.minutes:
            return None
        return [ask(endpoint, item, args.max_tokens, options) for options in specs.values()]

    with ThreadPoolExecutor(args.at_once) as pool:
        answered = [row for row in pool.map(answer, items) if row is not None]
    print(f"{endpoint.model}, {len(answered)} items, at most {args.max_tokens} tokens per text")
    for name, outcomes in zip(specs, zip(*answered, strict=True), strict=True):
        n = len(outcomes)
        solved = sum(o.right for o in outcomes)
        _, low, high = share(solved, n)
        written, read, saved = (sum(o[k] for o in outcomes) / n for k in (1, 2, 3))
        interval = f"{100 * low:.0f} … {100 * high:.0f} %"
        print(f"| {name} | {solved} of {n} | {interval} | {written:.0f} | {read:.0f} | {saved:.0f} |")


class Outcome(NamedTuple):
    """One item under one spec; tokens that were written, and of prompts those read and those saved by a cache."""

    right: bool
    written: int
    read: int
    saved: int


def ask(endpoint: Endpoint, item: dict[str, Any], most: int, options: dict[str, Any]) -> Outcome:
    result = endpoint.generate(ASKED.format(question=item["question"]), seed=1, max_tokens=most, **options)
    ledger = result.ledger
    said = result.search.answer if result.search else number(result.text)
    right = said is not None and float(said) == float(item["answer"])
    return Outcome(right, ledger.sampled + ledger.abandoned, ledger.prompt, ledger.shared)


if __name__ == "__main__":
    main()
