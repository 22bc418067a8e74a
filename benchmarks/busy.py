"""How speed holds on a busy machine: our engine and llama.cpp's own server, idle and beside one busy process per core.

    python -m benchmarks.busy [--clients 1 16] [--repeats 3] [--tokens 48] [--threads N]

The servers, clients and texts are those of `benchmarks.serve`. In each repeat both servers serve every number of
clients once on the machine as it is, and once while this program keeps one process per core busy; the order rotates.
`default` is our server as it is, `spinning` is ours with GOMP_SPINCOUNT set to what libgomp takes without it,
which leaves its threads spinning on a busy machine too.

Printed are medians over the repeats: tokens/s of all clients together, idle and busy, busy as a share of idle, and both
as a ratio to llama.cpp's server in the same repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.serve import free_port, load, process
from entropix.models import DEFAULT, resolve

SPINNING = {"GOMP_SPINCOUNT": "300000"}
SERVERS = ("default", "spinning", "llama.cpp")
GREEDY = {"temperature": 0, "top_k": 1}


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep `count` processes busy meanwhile, or as long as this one lives."""
    spin = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    loops = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    _, path = resolve(DEFAULT)
    same = ["--parallel", "16", "--cells", "8192", "--threads", str(args.threads)]
    ours = [sys.executable, "-m", "entropix", "serve", "--context", "512", *same, "--port"]
    theirs = [sys.executable, "-m", "benchmarks.serve", *same, "--llama-server", path]
    found: dict[tuple[str, int, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in SERVERS:
            port = free_port()
            command = [*(theirs if name == "llama.cpp" else ours), str(port)]
            if name == "spinning":
                command = ["env", *(f"{key}={value}" for key, value in SPINNING.items()), *command]
            servers[name] = stack.enter_context(process(command, port))

        def measure(state: str, repeat: int) -> None:
            shift = repeat % len(SERVERS)
            for name in SERVERS:  # each sees the new load before it is measured
                asyncio.run(load(*servers[name], 2, args.tokens, {"temperature": 0}, -1))
            for clients in args.clients:
                for name in [*SERVERS[shift:], *SERVERS[:shift]]:
                    extra = GREEDY if name == "llama.cpp" else {"temperature": 0}
                    round_ = 1000 * repeat + 10 * clients + (state == "busy")
                    rate = asyncio.run(load(*servers[name], clients, args.tokens, extra, round_)).rate
                    found.setdefault((name, clients, state), []).append(rate)
                    print(f"{state}, {clients} clients, {name}: {rate:.1f} tokens/s", file=sys.stderr, flush=True)

        for repeat in range(args.repeats):
            measure("idle", repeat)
            with busy_cores(len(os.sched_getaffinity(0))):
                measure("busy", repeat)
    print(f"{args.threads} threads, {args.tokens} tokens, {args.repeats} repeats\n")
    print("| clients | server | idle tokens/s | busy | busy / idle | idle / llama.cpp | busy / llama.cpp |")
    print("|---|---|---|---|---|---|---|")
    for clients in args.clients:
        for name in SERVERS:
            idle, busy = found[name, clients, "idle"], found[name, clients, "busy"]
            kept = ratio(busy, idle)
            against = [ratio(found[name, clients, s], found["llama.cpp", clients, s]) for s in ("idle", "busy")]
            print(
                f"| {clients} | {name} | {statistics.median(idle):.1f} | {statistics.median(busy):.1f} | {kept:.2f} "
                f"| {against[0]:.2f} | {against[1]:.2f} |"
            )


def ratio(rates: list[float], others: list[float]) -> float:
    """The median over the repeats of one rate by another."""
    return statistics.median(rate / other for rate, other in zip(rates, others, strict=True))


if __name__ == "__main__":
    main()
