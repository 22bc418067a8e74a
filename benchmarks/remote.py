"""Votes and trees over an OpenAI-compatible endpoint on word problems: accuracy, tokens, requests' prompts.

    python -m benchmarks.remote URL svamp_300.jsonl [--limit 12] [--minutes 10]

Every item is answered with each spec in turn. Tokens are the ledger's: what the endpoint wrote, thrown-away texts
included, and what of the prompts it had to read beside what its prefix cache saved.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from entropix.evaluate.statistics import share
from entropix.remote import connect
from entropix.search.answers import number

VOTE = "vote:n=4,answer=number,early="
SPECS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "vote, 4": {"temperature": 0.7, "search": f"{VOTE}no"},
    "vote, 4, early stop": {"temperature": 0.7, "search": f"{VOTE}yes"},
    "tree, 4, H > 1.14": {
        "temperature": 0.0,
        "search": "tree:trigger=entropy,threshold=1.14,max_sequences=4+vote:answer=number,early=no",
    },
}
ASKED = "{question}\nThink step by step. End with: The answer is NUMBER."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=12, help="items")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no further item after so many minutes")
    args = parser.parse_args()
    items = [json.loads(line) for line in args.data.read_text(encoding="utf-8").splitlines()][: args.limit]
    endpoint = connect(args.url, timeout=600.0)
    rows: dict[str, list[tuple[bool, int, int, int]]] = {name: [] for name in SPECS}
    began = time.monotonic()
    for item in items:
        if time.monotonic() - began > 60 * args.minutes:
            break
        for name, options in SPECS.items():
            asked = ASKED.format(question=item["question"])
            result = endpoint.generate(asked, seed=1, max_tokens=args.max_tokens, **options)
            ledger = result.ledger
            said = result.search.answer if result.search else number(result.text)
            right = said is not None and float(said) == float(item["answer"])
            rows[name].append((right, ledger.sampled + ledger.abandoned, ledger.prompt, ledger.shared))
    print(f"{endpoint.model}, {len(rows['greedy'])} items, at most {args.max_tokens} tokens a text")
    for name, outcomes in rows.items():
        n = len(outcomes)
        solved = sum(o[0] for o in outcomes)
        _, low, high = share(solved, n)
        written, read, saved = (sum(o[k] for o in outcomes) / n for k in (1, 2, 3))
        interval = f"{100 * low:.0f} … {100 * high:.0f} %"
        print(f"| {name} | {solved} of {n} | {interval} | {written:.0f} | {read:.0f} | {saved:.0f} |")


if __name__ == "__main__":
    main()
