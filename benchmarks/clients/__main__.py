"""The quick starts of clients that people use, each in a process of its own, against this server: client × feature.

    python -m benchmarks.clients [--model MODEL] [--python .venv-clients/bin/python] [--node .venv-clients/node]
        [--only openai ollama]

The clients live in an environment of their own (`make test-clients` makes it), since they bring half of the package
index along; those for Node in a folder with node_modules, and are left out where there is no Node. The server runs
here. Printed is a table: yes, the reason why not, or nothing where a client has no such feature. Exit code 1 if
anything that should work does not.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import entropix
from entropix.models import DEFAULT
from entropix.serve.process import Background
from entropix.serve.settings import Settings

QUICKSTARTS = Path(__file__).with_name("quickstarts.py")
NODE = QUICKSTARTS.with_suffix(".mjs")
PACKAGES = {"openai (Node)": "openai"}
"""What a client for Node is called in node_modules, where that is not its name."""
FEATURES = ("chat", "stream", "tools", "structured", "responses", "logprobs", "confidence")
LIMIT = 300.0
"""Seconds that a quick start may take."""


def known() -> list[tuple[str, str]]:
    """Which quick starts there are: (client, feature), read off the file, which cannot be imported here."""
    found = []
    for node in ast.parse(QUICKSTARTS.read_text(encoding="utf-8")).body:
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "quick":
                client, feature = (ast.literal_eval(argument) for argument in mark.args)
                found.append((client, feature))
    return found


def known_in_node() -> list[tuple[str, str]]:
    return re.findall(r'^quick\("([^"]+)", "([^"]+)"', NODE.read_text(encoding="utf-8"), re.MULTILINE)


def run(command: list[str]) -> str:
    """Why a quick start failed, "" where it did not."""
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env={**os.environ, **quiet}, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {LIMIT:g} s"
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"\w*Error\b", line)]  # Node writes its stack after it
    return "" if done.returncode == 0 else [f"exit code {done.returncode}", *lines[-1:], *errors[-1:]][-1]


def versions(python: str, clients: list[str]) -> dict[str, str]:
    code = "import sys, importlib.metadata as m\nfor n in sys.argv[1:]:\n print(n, m.version(n))"
    names = ["pydantic-ai-slim" if name == "pydantic-ai" else name for name in clients]
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return {line.split()[0].removesuffix("-slim"): line.split()[1] for line in done.stdout.splitlines()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT, help="of the server (default: %(default)s)")
    parser.add_argument("--python", default=".venv-clients/bin/python", help="of the clients (default: %(default)s)")
    parser.add_argument("--node", default=".venv-clients/node", help="of those for Node (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="these clients")
    parser.add_argument("--features", nargs="*", default=FEATURES, help="these features")
    args = parser.parse_args()
    model = entropix.load(args.model, context=4096, sequences=16)
    here, there = known(), known_in_node() if shutil.which("node") and Path(args.node).is_dir() else []
    wanted = [(c, f) for c, f in here + there if f in args.features and (not args.only or c in args.only)]
    clients = list(dict.fromkeys(client for client, _ in wanted))
    in_node = {client for client, _ in there}
    found = versions(args.python, [client for client in clients if client not in in_node])
    for client in clients:
        if client in in_node:
            package = Path(args.node, "node_modules", PACKAGES.get(client, client), "package.json")
            found[client] = json.loads(package.read_text(encoding="utf-8"))["version"]

    def starter(client: str) -> tuple[list[str], list[str]]:
        """What runs a quick start, and what it wants to know beside the server and its model."""
        return (["node", str(NODE)], [args.node]) if client in in_node else ([args.python, str(QUICKSTARTS)], [])

    results: dict[tuple[str, str], str] = {}
    settings = Settings(port=0, places=8, kept=2, max_tokens=256, policy="greedy")
    with Background(model, settings) as server:
        for client, feature in wanted:
            began = time.perf_counter()
            program, more = starter(client)
            results[client, feature] = run([*program, client, feature, server.url, model.info.name, *more])
            took = time.perf_counter() - began
            print(f"{client} {feature}: {results[client, feature][:160] or 'yes'} ({took:.0f} s)", file=sys.stderr)
    print(f"\n{model.info.name}, greedy\n\n| client | {' | '.join(args.features)} |")
    print(f"|---{'|---' * len(args.features)}|")
    for client in clients:
        cells = [_cell(results.get((client, feature))) for feature in args.features]
        print(f"| {client} {found[client]} | {' | '.join(cells)} |")
    return int(any(results.values()))


def _cell(problem: str | None) -> str:
    return "" if problem is None else problem[:60].replace("|", "/") or "yes"


if __name__ == "__main__":
    raise SystemExit(main())
