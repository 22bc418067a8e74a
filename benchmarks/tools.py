"""What a token of a constrained tool call costs on our server, beside one of a free text: python -m benchmarks.tools

    python -m benchmarks.tools [MODEL] [--pairs 7] [--tokens 120] [--threads N]

In each pair the same question is asked greedily, once with a tool that must be called, whose argument is a long text
under its JSON schema, and once without; each for TOKENS and for a few tokens, and what the further ones take counts.
So the prompt, which the tool makes longer, is in neither. Printed are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import httpx

import entropix
from entropix.models import DEFAULT
from entropix.serve.process import Background
from entropix.serve.settings import Settings

TEXT = {"type": "object", "properties": {"text": {"type": "string", "minLength": 2000}}, "required": ["text"]}
TOOL = {"type": "function", "function": {"name": "write", "description": "Writes a text down.", "parameters": TEXT}}
FEW = 24
QUESTION = "Write a long story about a lighthouse keeper who finds a message in a bottle."


def seconds(url: str, model: str, tokens: int, options: dict[str, Any]) -> float:
    """Until an answer of so many tokens is there."""
    asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    began = time.perf_counter()
    answer = httpx.post(f"{url}/v1/chat/completions", json={**asked, "max_tokens": tokens, **options}, timeout=300)
    took = time.perf_counter() - began
    spent = answer.raise_for_status().json()["usage"]["completion_tokens"]
    if spent != tokens:
        raise ValueError(f"the answer has {spent} tokens and not {tokens}; take fewer")
    return took


def milliseconds(url: str, model: str, tokens: int, options: dict[str, Any]) -> float:
    """Per token, of those beyond the first FEW."""
    few, all_ = (seconds(url, model, n, options) for n in (FEW, tokens))
    return (all_ - few) / (tokens - FEW) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    model = entropix.load(args.model, context=2048, sequences=8, threads=args.threads)
    found: dict[str, list[float]] = {"free": [], "call": []}
    ways: dict[str, dict[str, Any]] = {"free": {}, "call": {"tools": [TOOL], "tool_choice": "required"}}
    with model, Background(model, Settings(port=0, policy="greedy")) as server:
        for n in range(args.pairs + 1):  # the first fills caches
            for way, options in [*ways.items()][:: 1 if n % 2 else -1]:
                took = milliseconds(server.url, model.info.name, args.tokens, options)
                if n:
                    found[way].append(took)
    ratios = [call / free for call, free in zip(found["call"], found["free"], strict=True)]
    free, call = (statistics.median(found[way]) for way in ("free", "call"))
    print(f"{model.info.name}: {free:.2f} ms per token of a free text, {call:.2f} of a constrained call")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} … {max(ratios):.3f}), {args.pairs} pairs")


if __name__ == "__main__":
    main()
