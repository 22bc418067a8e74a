"""What a worker counts, and how a server reads it: without vLLM."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

import entropix
from entropix.plugins.vllm import metrics
from entropix.plugins.vllm.meter import EDGES, Meter, Tally, TensorTally
from entropix.plugins.vllm.metrics import Files, WorkerCollector
from entropix.serve.metrics import Accounts
from entropix.serve.metrics import Collector as ServerCollector
from entropix.signals import ENTROPY_BOUNDS
from entropix.types import Regime

NAMES = ("entropix_tokens", "entropix_regime_tokens", "entropix_entropy_nats")

values = (
    st.floats(width=32)
    | st.floats(0, 12)
    | st.sampled_from([*ENTROPY_BOUNDS, math.nan, math.inf, -math.inf, -1e-9, 0.0])
)
rows = st.lists(st.tuples(st.integers(-2, 7), values, st.booleans()), max_size=40)
steps = st.lists(rows, max_size=5)


def arrays(step: list[tuple[int, float, bool]]) -> tuple[Any, Any, Any]:
    regimes, entropies, injected = zip(*step, strict=True) if step else ((), (), ())
    return np.array(regimes, np.int64), np.array(entropies, np.float64), np.array(injected, bool)


def samples(directory: Path) -> dict[str, float]:
    """What a scrape shows, by the sample's line."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(WorkerCollector(directory))
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def config(rank: int = 0, tensor: int = 1, **more: bool) -> Any:
    return SimpleNamespace(parallel_config=SimpleNamespace(rank=rank, tensor_parallel_size=tensor, **more))


@pytest.fixture
def nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (metrics.DIRECTORY, metrics.SHARED):
        monkeypatch.delenv(name, raising=False)


@given(steps)
def test_counts_are_those_of_a_loop_over_rows(all_steps: list[list[tuple[int, float, bool]]]) -> None:
    meter = Meter(None)
    meter.tally = tally = Tally()
    accounts, injections = Accounts(), 0
    for step in all_steps:
        tally.add(*arrays(step))
        for regime, entropy, injected in step:
            if 0 <= regime < len(Regime):
                accounts.regimes[regime] += 1
                injections += injected
                if math.isfinite(entropy):
                    accounts.entropy.observe(entropy)
    counts = meter.counts
    assert counts.regimes.tolist() == accounts.regimes
    assert counts.entropies.tolist() == accounts.entropy.counts
    assert counts.total == pytest.approx(accounts.entropy.sum, rel=1e-12, abs=1e-9)
    assert counts.injections == injections


@given(steps)
def test_torch_counts_what_numpy_counts(all_steps: list[list[tuple[int, float, bool]]]) -> None:
    torch = pytest.importorskip("torch")
    plain, tensors = Tally(), TensorTally(torch.device("cpu"))
    for step in all_steps:
        plain.add(*arrays(step))
        tensors.add(*map(torch.from_numpy, arrays(step)))
    integral = np.r_[: plain.host.size - len(Regime) - 2, -1]
    np.testing.assert_array_equal(tensors.host[integral], plain.host[integral])
    np.testing.assert_allclose(tensors.host, plain.host, rtol=1e-12, atol=1e-9)


def test_steps_inside_and_outside_of_inference_mode_are_counted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    meter = Meter(Files(tmp_path))
    with torch.inference_mode():
        meter.record(torch.tensor([0]), torch.tensor([0.5]))
    meter.record(torch.tensor([1]), torch.tensor([0.5]))
    meter.close()
    assert samples(tmp_path)["entropix_tokens_total"] == 2


def test_a_graphics_card_is_never_waited_for_and_counts_the_same(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    generator = np.random.default_rng(3)
    regimes, entropies = generator.integers(-1, 6, (50, 64)), generator.gamma(1.0, 2.0, (50, 64))
    injected = generator.random((50, 64)) < 0.1
    plain = Tally()
    on_card = [torch.from_numpy(a).cuda() for a in (regimes, entropies, injected)]
    meter = Meter(Files(tmp_path))
    meter.record(*(a[:0] for a in map(torch.flatten, on_card)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(50):
            meter.record(*(a[step] for a in on_card))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step in range(50):
        plain.add(regimes[step], entropies[step], injected[step])
    torch.cuda.synchronize()
    assert meter.files is not None
    assert meter.tally is not None
    np.testing.assert_allclose(meter.tally.host, plain.host, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_dtype_is_counted_alike(dtype: str, precision: str) -> None:
    torch = pytest.importorskip("torch")
    regimes, entropies = np.array([0, 4, 4, 2], dtype), np.array([0.0, 0.3, 9.0, 0.5], precision)
    for tally, given_arrays in (
        (Tally(), (regimes, entropies)),
        (TensorTally(torch.device("cpu")), (torch.from_numpy(regimes), torch.from_numpy(entropies))),
    ):
        tally.add(*given_arrays, None)
        meter = Meter(None)
        meter.tally = tally
        assert meter.counts.regimes.tolist() == [1, 0, 1, 0, 2]
        assert meter.counts.entropies.tolist() == [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]


def test_a_value_on_a_border_belongs_to_the_bucket_below() -> None:
    tally = Tally()
    tally.add(np.zeros(len(ENTROPY_BOUNDS), int), np.array(ENTROPY_BOUNDS), None)
    tally.add(np.zeros(len(ENTROPY_BOUNDS), int), np.nextafter(ENTROPY_BOUNDS, np.inf), None)
    meter = Meter(None)
    meter.tally = tally
    assert meter.counts.entropies.tolist() == [1, *[2] * (len(ENTROPY_BOUNDS) - 1), 1]
    assert (np.diff(EDGES) > 0).all()


def test_a_scrape_shows_the_names_buckets_and_numbers_that_our_own_server_shows(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    regimes, entropies = generator.integers(0, len(Regime), 500), generator.gamma(1.0, 2.0, 500)
    meter = Meter(Files(tmp_path))
    meter.record(regimes, entropies)
    meter.close()

    accounts = Accounts()
    for regime, entropy in zip(regimes, entropies, strict=True):
        accounts.regimes[regime] += 1
        accounts.tokens += 1
        accounts.entropy.observe(float(entropy))
    ours = {m.name: m for m in WorkerCollector(tmp_path).collect()}
    theirs = {m.name: m for m in ServerCollector(accounts, {}, 1, 1).collect()}
    for name in NAMES:
        mine, other = ours[name], theirs[name]
        assert (mine.type, mine.documentation) == (other.type, other.documentation)
        numbers = {(s.name, *s.labels.values()): s.value for s in other.samples}
        assert {(s.name, *s.labels.values()): s.value for s in mine.samples} == pytest.approx(numbers)


def test_every_metric_is_there_before_the_first_token(tmp_path: Path) -> None:
    Meter(Files(tmp_path))
    shown = samples(tmp_path)
    assert shown['entropix_regime_tokens_total{regime="flow"}'] == 0
    assert shown['entropix_entropy_nats_bucket{le="+Inf"}'] == 0
    assert shown["entropix_injections_total"] == 0


def test_workers_that_write_side_by_side_are_added_and_one_that_ended_still_counts(tmp_path: Path) -> None:
    for n in (3, 4):
        meter = Meter(Files(tmp_path))
        meter.record(np.full(n, Regime.BRANCH), np.full(n, 1.5), np.arange(n) < 2)
        meter.request("entropix")
        meter.close()
    shown = samples(tmp_path)
    assert shown['entropix_regime_tokens_total{regime="branch"}'] == shown["entropix_tokens_total"] == 7
    assert shown["entropix_injections_total"] == 4
    assert shown['entropix_policy_requests_total{policy="entropix"}'] == 2
    assert shown["entropix_entropy_nats_sum"] == 10.5


def test_the_thread_publishes_what_nobody_asked_it_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entropix.plugins.vllm.meter.INTERVAL", 0.01)
    meter = Meter(Files(tmp_path))
    meter.record(np.array([Regime.FLOW]), np.array([0.2]))
    assert meter.thread is not None
    for _ in range(1000):
        if samples(tmp_path)["entropix_tokens_total"] == 1:
            break
        meter.thread.join(0.01)
    assert samples(tmp_path)["entropix_tokens_total"] == 1
    meter.close()
    meter.thread.join(10)
    assert not meter.thread.is_alive()


def test_what_cannot_be_counted_never_raises_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter(Files(tmp_path))
    meter.record(np.array([0]), np.array([0.5]))
    meter.publish()
    for _ in range(3):
        meter.record(np.array([0, 1]), np.array([0.5, 0.5, 0.5]))
        meter.request("greedy")
    meter.close()
    assert [record.getMessage() for record in caplog.records] == ["Entropix: its numbers in /metrics end here"]
    assert samples(tmp_path)["entropix_tokens_total"] == 1


def test_a_directory_that_is_gone_never_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter(Files(tmp_path / "gone"))
    meter.record(np.array([0]), np.array([0.5]))
    assert "end here" in caplog.text
    assert samples(tmp_path / "gone") == {}


def test_a_damaged_file_costs_only_our_own_metrics(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").write_bytes(b"\xff\xff\xff\x7f" * 100)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(WorkerCollector(tmp_path))
    registry.register(ServerCollector(Accounts(), {}, 1, 1))
    assert b"entropix_queue_length 0.0" in generate_latest(registry)


@pytest.mark.parametrize(("rank", "counts"), [(0, True), (1, False), (2, True), (3, False)])
@pytest.mark.usefixtures("nobody_reads")
def test_of_workers_with_the_same_rows_one_counts(
    rank: int, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path))
    meter = Meter.from_config(config(rank, tensor=2))
    meter.record(np.array([0]), np.array([0.5]))
    meter.close()
    assert (meter.files is not None) == counts
    assert samples(tmp_path).get("entropix_tokens_total", 0) == counts


@pytest.mark.usefixtures("nobody_reads")
def test_workers_that_deal_rows_out_each_count_theirs_and_one_counts_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path))
    for rank in range(3):
        meter = Meter.from_config(config(rank, 3, enable_batch_sharded_sampling=True))
        meter.record(np.array([0]), np.array([0.5]))
        meter.request("greedy")
        meter.close()
    shown = samples(tmp_path)
    assert shown["entropix_tokens_total"] == 3
    assert shown['entropix_policy_requests_total{policy="greedy"}'] == 1


@pytest.mark.usefixtures("nobody_reads")
def test_nothing_is_counted_where_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Meter.from_config(config()).files is None
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path / "gone"))
    meter = Meter.from_config(config())
    meter.record(np.array([0]), np.array([0.5]))
    meter.request("entropix")
    meter.close()
    assert meter.files is meter.thread is None


@pytest.mark.usefixtures("nobody_reads")
def test_an_unknown_configuration_makes_a_silent_meter(caplog: pytest.LogCaptureFixture) -> None:
    assert Meter.from_config(SimpleNamespace()).files is None
    assert "missing from /metrics" in caplog.text


@pytest.mark.usefixtures("nobody_reads")
def test_the_shared_directory_of_several_servers_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    shared.mkdir()
    monkeypatch.setenv(metrics.DIRECTORY, str(own))
    monkeypatch.setenv(metrics.SHARED, str(shared))
    Meter.from_config(config()).close()
    assert not list(own.iterdir())
    assert samples(shared)["entropix_tokens_total"] == 0


FAMILY = """
import os, subprocess, sys
from pathlib import Path
import numpy as np
from prometheus_client import REGISTRY, generate_latest
from entropix.plugins.vllm.meter import Meter, Files
from entropix.plugins.vllm.metrics import find_directory, register

register()
register()
generations = int(sys.argv[1])
if generations:
    for _ in range(2):
        print(subprocess.run([sys.executable, __file__, str(generations - 1)],
                             capture_output=True, text=True, check=True).stdout, end="")
else:
    meter = Meter(Files(find_directory()))
    meter.record(np.array([0, 0, 0]), np.array([0.5, 0.5, 0.5]))
    meter.close()
shown = [line for line in generate_latest(REGISTRY).decode().splitlines() if line.startswith("entropix_tokens_total")]
print(generations, find_directory(), *shown)
"""


@pytest.mark.usefixtures("nobody_reads")
def test_a_process_shows_what_those_below_it_count_and_leaves_no_files(tmp_path: Path) -> None:
    script = tmp_path / "family.py"
    script.write_text(FAMILY, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(entropix.__file__).parents[1]), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script), "2"], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(int(g), float(n)) for g, _, _, n in lines] == [(0, 3), (0, 3), (1, 6), (0, 3), (0, 3), (1, 6), (2, 12)]
    assert [path.name for path in tmp_path.iterdir()] == ["family.py"]


def test_where_several_servers_share_nothing_is_registered(tmp_path: Path) -> None:
    code = (
        "import os, sys; from entropix.plugins.vllm.metrics import register, DIRECTORY; register();"
        "print(DIRECTORY in os.environ, 'prometheus_client' in sys.modules)"
    )
    environment = {**os.environ, metrics.SHARED: str(tmp_path)}
    environment.pop(metrics.DIRECTORY, None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", "False"]
