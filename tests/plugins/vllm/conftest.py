"""Real servers, started once each. Without vLLM the tests that need one are skipped; in `make test-vllm` they fail."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entropix.profiles import Profile
from entropix.types import Thresholds

from .server import Server, serving, stock_python
from .traffic import PROMPTS, Answer, Ask, one_by_one

REQUIRED = "ENTROPIX_REQUIRE_VLLM" in os.environ
ROOT = Path(__file__).parents[3]

# these need no vLLM, but engines of ours: `make test` runs them
collect_ignore = [f"test_{name}.py" for name in ("asking", "board", "draw", "meter", "paged")] if REQUIRED else []

GREEDY = [Ask(prompt, more={"temperature": 0, "logprobs": True}) for prompt in PROMPTS[:6]]
SEEDED = [Ask(prompt, more={"temperature": 1.0, "seed": seed}) for seed, prompt in enumerate(PROMPTS[:4])]
# everything that changes logits before a token is chosen, at temperature 0
SHAPED = [
    Ask(PROMPTS[2], tokens=24, more={"temperature": 0, "logprobs": True, **shape})
    for shape in (
        {"presence_penalty": 1.5},
        {"frequency_penalty": 1.0},
        {"extra_body": {"repetition_penalty": 1.4}},
        {"logit_bias": {"29": -100, "30": 4}},
        {"extra_body": {"bad_words": ["forest", " trees"]}},
        {"extra_body": {"allowed_token_ids": list(range(1000, 6000))}},
        {"extra_body": {"min_tokens": 20}, "stop": ["."]},
        {"extra_body": {"structured_outputs": {"regex": "[A-Z][a-z]{3,9}( [a-z]{2,9}){4,6}[.]"}}},
    )
]

# what a request gets on `pressed` that says nothing
DEFAULT_POLICY = "entropix:inject=Hmm 🤔 wait.,inject_cooldown=6,inject_max=2"


def key(what: Ask) -> str:
    """A request by what it says."""
    return repr(what)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where vLLM is required, what is skipped has failed; and a failure shows the end of the server's log."""
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if hasattr(value, "tail"):
                report.sections.append((f"log of the server {name!r}", value.tail()))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if REQUIRED and session.testscollected == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def directory() -> Path:
    """The model directory of SmolLM2."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: `make test-vllm` has an environment of its own for it")
    command = [sys.executable, "-m", "benchmarks.smollm2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.fail(f"the model directory could not be made:\n{done.stderr}")
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def stock(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What vLLM answers in an environment without Entropix, each request alone, by request."""
    folder = tmp_path_factory.mktemp("stock")
    python = stock_python(folder / "environment")
    asks = [*GREEDY, *SEEDED, *SHAPED]
    with serving(directory, folder / "server.log", python=python) as server:
        return dict(zip(map(key, asks), one_by_one(server, asks), strict=True))


@pytest.fixture(scope="session")
def server(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM with the plug-in, and room for everybody.

    No prompt is computed in pieces: on a CPU vLLM's own sampler ends the engine where that happens to a request with a
    seed, and stock requests with seeds are asked here."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    with serving(directory, log, "--max-num-batched-tokens", "4096") as ready:
        yield ready


@pytest.fixture(scope="session")
def pressed(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM whose operator set Entropix up: a default policy, and thresholds that call almost every step "clarify".

    So small a KV cache that requests are pre-empted, and so short steps that prompts are computed in pieces."""
    folder = tmp_path_factory.mktemp("pressed")
    eager = Thresholds(entropy_low=0.01, entropy_high=0.02, varentropy_low=1e6, varentropy_high=2e6)
    profile = Profile("eager", "", 49152, eager).save(folder / "eager.json")
    settings = {"entropix": {"policy": DEFAULT_POLICY, "profile": str(profile)}}
    small = ("--num-gpu-blocks-override", "40", "--block-size", "32", "--max-num-batched-tokens", "64")
    with serving(directory, folder / "server.log", *small, "--additional-config", json.dumps(settings)) as ready:
        yield ready
