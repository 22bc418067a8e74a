"""What `entropix serve --supervised` costs: time per request, memory, processor time, and how long a restart takes.

    python -m benchmarks.supervised [--repeats 60] [--tokens 16] [--threads N] [--crashes 3]

Two servers of the default model run at the same time, one with and one without. Every request is asked of both, one
after the other, in alternating order, over connections of its own; printed are medians and quartiles of the
differences of such pairs. At the end the engine's process is killed, and a request that is sent at once waits for the
next one. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.serve import cpu_seconds, free_port, process

SERVE = [sys.executable, "-m", "entropix", "serve", "--context", "1024", "--parallel", "4"]


async def ask(port: int, path: str, body: dict[str, object] | None = None) -> tuple[float, float]:
    """Seconds to the first byte behind the head (of a stream: to the first token), and to the end."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode() if body else b""
    writer.write(
        f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{status!r}: {(await reader.read(2000))!r}")
    first = 0.0
    while line := await reader.readline():
        if not first and (b'"content": "' in line and b'"content": ""' not in line if body else line == b"\r\n"):
            first = time.perf_counter() - began
    writer.close()
    return first, time.perf_counter() - began


def chat(tokens: int, n: int) -> dict[str, object]:
    messages = [{"role": "user", "content": "Tell a long story about a lighthouse."}]
    return {"model": "smollm2", "messages": messages, "max_tokens": tokens, "seed": n, "stream": True}


def memory(pid: int) -> tuple[float, float]:
    """MiB that a process holds, and of these its own share where several hold the same (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Rss"], sizes["Pss"]


def child_of(pid: int) -> int:
    return int(subprocess.check_output(["pgrep", "-P", str(pid)], text=True).split()[0])


def row(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    """pairs: seconds without and with."""
    without, beside = np.median([a for a, _ in pairs]) * 1000, np.median([b for _, b in pairs]) * 1000
    low, middle, high = np.percentile([(b - a) * 1000 for a, b in pairs], [25, 50, 75])
    return f"| {name} | {without:.1f} | {beside:.1f} | {middle:+.1f} ({low:+.1f} to {high:+.1f}) |"


async def measure(plain: int, supervised: int, args: argparse.Namespace) -> None:
    for port in (plain, supervised):
        for n in range(3):
            await ask(port, "/v1/chat/completions", chat(args.tokens, n))
    models, first, whole = [], [], []
    for n in range(args.repeats):
        order = (plain, supervised) if n % 2 else (supervised, plain)
        took = {port: await ask(port, "/v1/models") for port in order}
        models.append((took[plain][1], took[supervised][1]))
        took = {port: await ask(port, "/v1/chat/completions", chat(args.tokens, n)) for port in order}
        first.append((took[plain][0], took[supervised][0]))
        whole.append((took[plain][1], took[supervised][1]))
    print("| request, ms | without | supervised | difference: median (quartiles) |\n|---|---|---|---|")
    print(row("`GET /v1/models`", models))
    print(row("stream, first token", first))
    print(row(f"stream, whole, {args.tokens} tokens", whole))


async def load(port: int, pid: int, tokens: int) -> float:
    """Processor seconds that the process in front spends on a streamed token."""
    spent = cpu_seconds(pid)
    for n in range(8):
        await asyncio.gather(*(ask(port, "/v1/chat/completions", chat(tokens, 4 * n + i)) for i in range(4)))
    return (cpu_seconds(pid) - spent) / (32 * tokens)


async def crash(port: int, pid: int) -> float:
    """Seconds from the death of the engine's process to the answer of the next."""
    os.kill(child_of(pid), signal.SIGKILL)
    return (await ask(port, "/v1/chat/completions", chat(1, 0)))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--crashes", type=int, default=3)
    args = parser.parse_args()
    ports = free_port(), free_port()
    same = [*SERVE, "--threads", str(args.threads)]
    with (
        process([*same, "--port", str(ports[0])], ports[0]) as (plain, plain_pid),
        process([*same, "--port", str(ports[1]), "--supervised"], ports[1]) as (supervised, front),
    ):
        asyncio.run(measure(plain, supervised, args))
        token = asyncio.run(load(supervised, front, args.tokens))
        print(f"\nprocess in front: {token * 1000:.2f} ms of processor time per streamed token, its request included")
        for name, pid in (("in front", front), ("engine", child_of(front)), ("without", plain_pid)):
            held, share = memory(pid)
            print(f"memory, {name}: {held:.0f} MiB resident, {share:.0f} MiB PSS")
        took = [asyncio.run(crash(supervised, front)) for _ in range(args.crashes)]
        print("crash to next answer, s: " + ", ".join(f"{seconds:.1f}" for seconds in took))


if __name__ == "__main__":
    main()
