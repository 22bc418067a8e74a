"""The examples run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.engines import Engine
from entropix.models import embedded
from entropix.serve.process import Background
from entropix.serve.settings import Settings

EXAMPLES = Path(__file__).parents[1] / "examples"
SAYS = {
    "ask.py": r"^\S.* · \d+% sure: .*agree.*\n(?s:.*)How many legs has a spider\? \S+ · \d+% sure, \d+ texts\n",
    "own_policy.py": r"entropy \d\.\d\d nats, temperature \d\.\d\d\n",
    "compare.py": r"the same for \d+ tokens(?s:.*)greedy: \d+ tokens(?s:.*)entropix: \d+ tokens",
    "transformers_generate.py": r"entropy \d\.\d\d nats, \w+\n(?s:.*)mirostat, in transformers' own loop: \S",
    "constrained.py": r'^\{"city": "(Paris|Rome|Oslo)", "population": \d+\}\n',
}


def run(*arguments: str, **changed: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changed}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [name for name in SAYS if not name.startswith("transformers")])
def test_an_example_runs_and_shows_what_it_says(name: str, smollm2: Path) -> None:
    assert re.search(SAYS[name], run(str(EXAMPLES / name)))


def test_the_example_for_transformers_runs(tmp_path: Path) -> None:
    """With a small file where the embedded model lies: transformers alone reads that one for twenty seconds."""
    pytest.importorskip("transformers")
    pytest.importorskip("gguf")
    from helpers.tiny_gguf import write_tiny

    name = "transformers_generate.py"
    write_tiny(tmp_path / embedded.FILE)
    assert re.search(SAYS[name], run(str(EXAMPLES / name), **{embedded.VARIABLE: str(tmp_path)}))


def test_the_example_over_an_endpoint_asks_a_server(llama_engine: Engine) -> None:
    with Background(entropix.Model(llama_engine), Settings(port=0, places=8, kept=0)) as server:
        assert re.search(r"^\S.* · \d+% sure: ", run(str(EXAMPLES / "endpoint.py"), f"{server.url}/v1"))


def test_the_notebook_runs_from_top_to_bottom(smollm2: Path) -> None:
    notebook = json.loads((EXAMPLES / "tokens.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == [], "a notebook is kept without its outputs"
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert isinstance(names["result"], entropix.Result)
    assert names["result"]._repr_html_()
    assert names["rows"]
    names["model"].close()


def test_every_example_is_tried() -> None:
    """Those of clients in the clients' environment, `make test-clients`."""
    quickstarts = EXAMPLES.parent / "benchmarks" / "clients" / "quickstarts.py"
    elsewhere = re.findall(r'example\("(\w+\.py)"', quickstarts.read_text(encoding="utf-8"))
    assert {p.name for p in EXAMPLES.glob("*.py")} == {*SAYS, "endpoint.py", *elsewhere}
