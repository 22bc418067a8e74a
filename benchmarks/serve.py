"""How fast servers answer many streaming clients: ours with `entropix` and greedy, and llama.cpp's own.

    python -m benchmarks.serve [--clients 1 4 16 64] [--repeats 3] [--tokens 64] [--threads N]

Everything is measured in one run on loopback, in interleaved repeats: in each repeat every configuration serves every
number of clients once, in a rotating order. Every server is a process of its own with the same model file and the same
threads, cells and sequences; the clients are one process with bare sockets, the same for all. A client asks once, for a
text that no other client asks for, and takes it as a stream. llama.cpp's server comes prebuilt in the package
`xllamacpp` and answers with its own default sampling, and greedily.

Printed are medians over the repeats: tokens/s of all clients together, the ratio to llama.cpp's server with its default
sampling in the same repeat, the processor time that the server spent on a token (Linux; with --threads 1 nothing spins,
and it says most on a machine that others use too), and the 50th, 95th and 99th percentile of the milliseconds to the
first token and between two tokens, over all clients and repeats.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from entropix.models import DEFAULT, resolve

TOPICS = ("a lighthouse", "a train", "a forest", "a clock", "a river", "a market", "a storm", "a violin")
LIMIT = 300.0
"""Seconds after which a measurement that does not end is an error."""

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "entropix": ("ours", {}),
    "greedy": ("ours", {"temperature": 0}),
    "llama.cpp": ("llama", {}),
    "llama.cpp greedy": ("llama", {"temperature": 0, "top_k": 1}),
}
BASELINE = "llama.cpp"


@dataclass
class Measured:
    """One run: tokens and seconds over all clients; processor seconds of the server; seconds to the first token, one a
    client, and between tokens."""

    tokens: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


async def stream(port: int, body: dict[str, Any], into: Measured) -> None:
    """Ask once, and enter when the pieces of the answer come. The smallest HTTP client that does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    asked = last = time.perf_counter()
    writer.write(head.encode() + data)
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{status!r}: {(await reader.read(2000))!r}")
    usage = b""
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            if any(start in line and start + b'"' not in line for start in (b'"content": "', b'"content":"')):
                now = time.perf_counter()
                if last == asked:
                    into.first.append(now - asked)
                else:
                    into.between.append(now - last)
                last = now
            if b'"completion_tokens"' in line:
                usage = line
    writer.close()
    into.tokens += json.loads(usage[6:])["usage"]["completion_tokens"]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


async def load(port: int, pid: int, clients: int, tokens: int, extra: dict[str, Any], round_: int) -> Measured:
    """`clients` that ask at the same time."""
    measured = Measured()
    bodies = [
        {
            "model": "smollm2",
            "messages": [
                {
                    "role": "user",
                    "content": f"Write a long and detailed story, {round_}-{n}, about {TOPICS[n % len(TOPICS)]}.",
                }
            ],
            "max_tokens": tokens,
            "seed": n,
            "stream": True,
            "stream_options": {"include_usage": True},
            **extra,
        }
        for n in range(clients)
    ]
    began, spent = time.perf_counter(), cpu_seconds(pid)
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*(stream(port, body, measured) for body in bodies))
    measured.seconds, measured.cpu = time.perf_counter() - began, cpu_seconds(pid) - spent
    return measured


@contextlib.contextmanager
def process(arguments: list[str], port: int) -> Iterator[tuple[int, int]]:
    """A server process that listens on `port`: its port and its number."""
    running = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            # both listen before the model is loaded, and say so with 503
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {' '.join(arguments)}")
            time.sleep(0.1)
        yield port, running.pid
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def llama_server(path: str, port: int, parallel: int, cells: int, threads: int) -> None:
    """llama.cpp's own server, in this process, until it is killed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = parallel
    params.n_ctx = cells
    params.cont_batching = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


def percentiles(seconds: list[float]) -> str:
    return " / ".join(f"{v * 1000:.0f}" for v in np.percentile(seconds or [0.0], [50, 95, 99]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--parallel", type=int, default=16, help="answers at a time")
    parser.add_argument("--cells", type=int, default=8192)
    parser.add_argument("--only", nargs="+", default=list(CONFIGURATIONS), choices=list(CONFIGURATIONS))
    parser.add_argument("--llama-server", nargs=2, metavar=("FILE", "PORT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.llama_server:
        path, port = args.llama_server
        llama_server(path, int(port), args.parallel, args.cells, args.threads)
        return
    _, path = resolve(DEFAULT)
    ours, llama = free_port(), free_port()
    same = ["--parallel", str(args.parallel), "--cells", str(args.cells), "--threads", str(args.threads)]
    # each llama.cpp slot has its share of the cells, which is all the context it has
    context = str(args.cells // args.parallel)
    with (
        process(
            [sys.executable, "-m", "entropix", "serve", "--port", str(ours), "--context", context, *same], ours
        ) as a,
        process([sys.executable, "-m", "benchmarks.serve", "--llama-server", path, str(llama), *same], llama) as b,
    ):
        servers = {"ours": a, "llama": b}
        found: dict[tuple[str, int], list[Measured]] = {}
        for name in args.only:
            where, extra = CONFIGURATIONS[name]
            asyncio.run(load(*servers[where], 2, 8, extra, -1))
        for repeat in range(args.repeats):
            shift = repeat % len(args.only)
            for clients in args.clients:
                for n, name in enumerate([*args.only[shift:], *args.only[:shift]]):
                    where, extra = CONFIGURATIONS[name]
                    round_ = (repeat * len(args.only) + n) * 100 + clients
                    measured = asyncio.run(load(*servers[where], clients, args.tokens, extra, round_))
                    found.setdefault((name, clients), []).append(measured)
                    print(f"{clients} clients, {name}: {measured.rate:.0f} tokens/s", file=sys.stderr, flush=True)
    print(f"{args.threads} threads, {args.parallel} at a time, {args.tokens} tokens, {args.repeats} repeats\n")
    print("| clients | server | tokens/s | ratio | CPU ms per token | first token p50 / p95 / p99 | between tokens |")
    print("|---|---|---|---|---|---|---|")
    for clients in args.clients:
        for name in args.only:
            runs = found[name, clients]
            base = found.get((BASELINE, clients), runs)
            ratio = statistics.median(r.rate / b.rate for r, b in zip(runs, base, strict=True))
            rate = statistics.median(r.rate for r in runs)
            first = percentiles([s for r in runs for s in r.first])
            between = percentiles([s for r in runs for s in r.between])
            cpu = statistics.median(r.cpu / r.tokens for r in runs) * 1000
            print(f"| {clients} | {name} | {rate:.0f} | {ratio:.2f} | {cpu:.1f} | {first} | {between} |")


if __name__ == "__main__":
    main()
