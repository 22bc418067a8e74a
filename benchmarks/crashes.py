"""Who gets what when the engine's process is killed under load: `entropix serve --supervised` with the default model.

    python -m benchmarks.crashes [--requests 500] [--clients 24] [--kills 5] [--tokens 8]

Requests of every kind (chat, tools, completions, Responses, Ollama; whole and streamed; some malformed, some whose
client leaves) are asked of a server that is left alone, and then of a supervised one whose engine is killed with
SIGKILL after every so many answers. Both decode reproducibly, so a text must be the same in both. Printed is what
became of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections import Counter
from typing import Any

import httpx

from benchmarks.serve import free_port, process
from benchmarks.supervised import child_of

SERVE = [sys.executable, "-m", "entropix", "serve", "--context", "1024", "--parallel", "8", "--reproducible"]
THINGS = ("a river", "a city", "a colour", "a bird", "a metal", "a planet", "a fruit", "a sport")
ARGUMENTS = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"name": "look_up", "parameters": ARGUMENTS}
KINDS = ("chat", "tools", "completion", "responses", "ollama", "malformed", "leaves")


def request(n: int, tokens: int) -> tuple[str, str, dict[str, Any]]:
    """Kind, path and body of request n."""
    kind, stream = KINDS[n % len(KINDS)], n // len(KINDS) % 2 == 1
    text = f"Name {THINGS[n % len(THINGS)]}, and say why. ({n % 50})"
    messages = [{"role": "user", "content": text}]
    body: dict[str, Any] = {"model": "smollm2", "seed": n, "max_tokens": tokens, "stream": stream}
    if kind == "responses":
        return kind, "/v1/responses", {**body, "max_tokens": None, "max_output_tokens": tokens, "input": text}
    if kind == "ollama":
        options = {"seed": n + 1, "num_predict": tokens}
        return kind, "/api/chat", {"model": "smollm2", "messages": messages, "options": options, "stream": stream}
    if kind == "completion":
        return kind, "/v1/completions", {**body, "prompt": text}
    chat = {**body, "messages": messages}
    if kind == "tools":
        chat |= {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required", "max_tokens": 4 * tokens}
    elif kind == "malformed":
        chat["max_tokens"] = "many"
    elif kind == "leaves":
        chat["stream"] = True
    return kind, "/v1/chat/completions", chat


def objects(answer: str) -> list[dict[str, Any]]:
    """The JSON objects of an answer, whole, of events or of lines. Raises ValueError for anything else."""
    found = []
    for line in answer.splitlines():
        if not line or line.startswith((":", "event: ")) or line == "data: [DONE]":
            continue
        found.append(json.loads(line.removeprefix("data: ")))
    return found


def text_of(found: list[dict[str, Any]]) -> str:
    """What was said, whatever the API: content, calls' names and arguments."""
    said = ""
    for part in found:
        kind = part.get("type", "")
        if kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
            said += part["delta"]
        for item in part.get("output", ()):
            said += "".join(c["text"] for c in item.get("content", ()))
        for choice in [*part.get("choices", ()), *([{"message": part["message"]}] if "done" in part else [])]:
            message = choice.get("message") or choice.get("delta") or {}
            said += (message.get("content") or "") + choice.get("text", "")
            for call in message.get("tool_calls") or ():
                said += call["function"].get("name") or ""
                said += call["function"].get("arguments") or ""
    return said


async def ask(client: httpx.AsyncClient, n: int, tokens: int) -> tuple[str, str]:
    """What became of request n, and its text: "answered", "error", "cut", "400", "left" or "broken"."""
    kind, path, body = request(n, tokens)
    if kind == "leaves":
        async with client.stream("POST", path, json=body) as answer:
            await anext(answer.aiter_lines(), "")
        return "left", ""
    try:
        answer = await client.post(path, json=body)
        found = objects(answer.text)
    except (httpx.TransportError, ValueError) as error:
        return "broken", repr(error)
    if answer.status_code != 200:
        return ("400" if answer.status_code == 400 else "error"), answer.text
    if "error" in found[-1] and found[-1]["error"]:
        return "cut", text_of(found[:-1])
    return "answered", text_of(found)


async def run(port: int, pid: int, args: argparse.Namespace, kills: int) -> dict[int, tuple[str, str]]:
    """Outcomes by request. pid: of the process in front, whose engine is killed `kills` times."""
    outcomes: dict[int, tuple[str, str]] = {}
    numbers = iter(range(args.requests))
    every = args.requests // (kills + 1)
    killed = 0

    async def some(client: httpx.AsyncClient) -> None:
        nonlocal killed
        for n in numbers:
            outcomes[n] = await ask(client, n, args.tokens)
            if killed < kills and len(outcomes) >= every * (killed + 1):
                killed += 1
                os.kill(child_of(pid), signal.SIGKILL)

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300, limits=limits) as client:
        await asyncio.gather(*(some(client) for _ in range(args.clients)))
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    same, port = [*SERVE, "--threads", str(args.threads)], free_port()
    with process([*same, "--port", str(port)], port) as (_, pid):
        expected = asyncio.run(run(port, pid, args, 0))
    with process([*same, "--port", str(port), "--supervised"], port) as (_, pid):
        got = asyncio.run(run(port, pid, args, args.kills))
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    table: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for n, (outcome, text) in got.items():
        kind, right = KINDS[n % len(KINDS)], expected[n]
        if outcome == "answered":
            outcome = "the same text" if (outcome, text) == right else "another text"
        elif outcome == "cut":
            outcome = "cut, a beginning of it" if right[1].startswith(text) else "cut, another text"
        if outcome in ("broken", "error", "another text", "cut, another text"):
            print(f"request {n}, {kind}: {outcome}: {text!r}, alone {right}", file=sys.stderr)
        table[kind][outcome] += 1
    for kind, counts in table.items():
        print(f"{kind}: " + ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common()))
    counted = ("entropix_restarts_total", "entropix_crashed_requests_total")
    print("\n".join(line for line in metrics.splitlines() if line.startswith(counted)))


if __name__ == "__main__":
    main()
