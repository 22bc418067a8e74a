"""How OpenMP's threads wait for each other, by how busy the machine is."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.base import Yielding
from entropix.engines.llama_cpp.barriers import QUIET_WINDOWS, WINDOW, Barriers, run_times
from entropix.engines.llama_cpp.engine import LlamaCppEngine

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports run delays")


class Machine:
    """A clock, and how long the thread waited for a processor."""

    def __init__(self) -> None:
        self.now = self.ran = self.waited = 100.0

    def barriers(self, threads: int = 2) -> Barriers:
        return Barriers(threads, times=lambda: (self.ran, self.waited), clock=lambda: self.now)

    def window(self, barriers: Barriers, share: float) -> None:
        """A window in which the thread waited for `share` of the time."""
        self.now += WINDOW
        self.waited += share * WINDOW
        self.ran += (1 - share) * WINDOW
        barriers.look()


@pytest.fixture
def machine(llama_engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    return Machine()


def threads_of_this_process() -> int:
    return len(os.listdir("/proc/self/task"))


@linux
def test_spinning_is_short_while_the_machine_is_busy_and_long_again_afterwards(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entropix.engines.llama_cpp.barriers.available_cpus", lambda: 20)
    barriers = machine.barriers()
    machine.window(barriers, 0.9)  # of the time before nothing is known
    assert not barriers.short
    before = threads_of_this_process()
    machine.window(barriers, 0.5)
    assert barriers.short
    assert threads_of_this_process() > before + 10, "no team of OpenMP's is held"
    for _ in range(QUIET_WINDOWS - 1):
        machine.window(barriers, 0.01)
        assert barriers.short
    machine.window(barriers, 0.15)  # neither busy nor quiet: the count of quiet windows begins anew
    for _ in range(QUIET_WINDOWS):
        assert barriers.short
        machine.window(barriers, 0.01)
    assert not barriers.short
    deadline = time.monotonic() + 10
    while threads_of_this_process() > before + 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads_of_this_process() <= before + 5


def test_short_delays_of_an_idle_machine_change_nothing(machine: Machine) -> None:
    barriers = machine.barriers()
    for _ in range(20):
        machine.window(barriers, 0.15)
        assert not barriers.short


def test_nothing_is_read_between_two_windows(machine: Machine) -> None:
    reads = []
    barriers = Barriers(2, times=lambda: reads.append(1) or (0.0, 0.0), clock=lambda: machine.now)
    for _ in range(100):
        barriers.look()
        machine.now += WINDOW / 10
    assert len(reads) <= 11


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_users_own_setting_is_left_alone(machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1000")
    barriers = machine.barriers()
    for _ in range(5):
        machine.window(barriers, 0.9)
    assert not barriers.short


def test_one_thread_has_no_barriers_to_wait_at(machine: Machine) -> None:
    barriers = machine.barriers(threads=1)
    for _ in range(5):
        machine.window(barriers, 0.9)
    assert not barriers.short


def test_a_library_without_libgomp_and_a_system_without_run_timess_change_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> tuple[float, float]:
        raise OSError("no such file")

    barriers = Barriers(2, times=missing, clock=lambda: machine.now)
    for _ in range(5):
        machine.window(barriers, 0.9)
    assert not barriers.short
    monkeypatch.setattr("entropix.engines.llama_cpp.barriers.cpu_library", object)
    barriers = machine.barriers()
    for _ in range(5):
        machine.window(barriers, 0.9)
    assert not barriers.short


@linux
def test_a_closed_engine_leaves_openmp_as_it_was_found(machine: Machine) -> None:
    barriers = machine.barriers()
    machine.window(barriers, 0.9)
    machine.window(barriers, 0.9)
    assert barriers.short
    barriers.close()
    assert not barriers.short
    machine.window(barriers, 0.9)
    assert not barriers.short


@linux
def test_the_times_of_a_thread_only_grow() -> None:
    first, then = run_times(), run_times()
    assert 0 < first[0] <= then[0]
    assert 0 <= first[1] <= then[1]


def test_pauses_between_requests_hide_no_contention(machine: Machine) -> None:
    barriers = machine.barriers()
    machine.window(barriers, 0.5)
    machine.now += 60
    machine.window(barriers, 0.5)
    assert barriers.short
    barriers.close()


def test_every_forward_has_a_look(machine: Machine, llama_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(llama_engine._barriers, "look", lambda: looks.append(1))
    sequence = llama_engine.open()
    llama_engine.forward([(sequence, [1])])
    llama_engine.forward([(sequence, [1])])
    llama_engine.close(sequence)
    assert len(looks) == 2


@linux
def test_on_a_busy_machine_a_single_row_has_half_the_threads_and_several_have_all(machine: Machine) -> None:
    barriers = machine.barriers(threads=5)
    assert barriers.threads == (5, 5)
    machine.window(barriers, 0.5)
    machine.window(barriers, 0.5)
    assert barriers.threads == (2, 5)
    for _ in range(QUIET_WINDOWS):
        machine.window(barriers, 0.01)
    assert barriers.threads == (5, 5)
    barriers = machine.barriers()
    machine.window(barriers, 0.5)
    machine.window(barriers, 0.5)
    assert barriers.threads == (1, 2)
    barriers.close()


def test_only_an_engine_that_yields_computes_with_fewer_threads(
    llama_engine: LlamaCppEngine, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 257 tokens on llama.cpp splits a single row among its threads: the logits tell how many there were."""
    text = [100 + n for n in range(280)]

    def row(engine: LlamaCppEngine) -> Any:
        sequence = engine.open()
        engine.forward([(sequence, text)])
        logits = engine.forward([(sequence, [1])]).logits.copy()
        engine.close(sequence)
        return logits

    one = row(llama_engine)
    engine = LlamaCppEngine(smollm2, context=1024, sequences=1, threads=2)
    assert isinstance(engine, Yielding)
    try:
        two = row(engine)
        assert (one != two).any()
        monkeypatch.setattr(Barriers, "short", True)
        assert (row(engine) == two).all(), (
            "an engine of one's own keeps its threads: a seed's text shall not depend on the load"
        )
        engine.yielding = True
        assert (row(engine) == one).all()
        monkeypatch.setattr(Barriers, "short", False)
        assert (row(engine) == two).all()
    finally:
        engine.shutdown()
