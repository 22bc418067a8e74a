"""Shorter waits at OpenMP's barriers, and fewer threads to wait for, while other processes want the same processors.

llama.cpp's threads meet at several hundred barriers per token, where OpenMP lets them spin for milliseconds. On an idle
machine that is the fastest way to wait. Where another process takes the processor from one of them, the others spin
through their share of the machine for nothing. libgomp's spin count is fixed when it is loaded, but it spins only for
100 rounds while it manages more threads than there are processors: one further team, asleep in a thread of its own, is
the switch. A single row is then too little work to meet over so often: half the threads are done with it sooner.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from entropix.engines.llama_cpp.library import cpu_library
from entropix.machine import available_cpus

WINDOW = 0.25
"""Seconds between two looks, which take about 20 µs each."""
BUSY, QUIET = 0.2, 0.1
"""Of the time in which the decoding thread was ready to run, the share that it had no processor: 0.3 and more beside
one busy process per processor, 0.04 on an idle machine."""
QUIET_WINDOWS = 2


def run_times() -> tuple[float, float]:
    """Seconds that this thread has run, and that it was ready to and had no processor. Raises OSError where the system
    does not say (Linux does)."""
    ran, waited, *_ = Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
    return int(ran) / 1e9, int(waited) / 1e9


class Barriers:
    """Watches how long the decoding thread waits for a processor, and switches OpenMP's spinning down and up.

    threads: how many the engine computes with. Does nothing with one thread, where llama.cpp waits by other means than
    libgomp, where the system does not report run delays, and where GOMP_SPINCOUNT or OMP_WAIT_POLICY is set: then the
    user has chosen.
    """

    def __init__(
        self,
        threads: int,
        *,
        times: Callable[[], tuple[float, float]] = run_times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._times, self._clock = times, clock
        self._library = None if threads == 1 or _chosen() else _libgomp()
        self._size = max(2, available_cpus() - threads + 2)
        self._threads = threads
        self._thread = 0
        self._began = self._ran = self._waited = 0.0
        self._calm = 0
        self._end: weakref.finalize[..., Barriers] | None = None

    @property
    def short(self) -> bool:
        """Whether threads spin for a short time only."""
        return self._end is not None

    @property
    def threads(self) -> tuple[int, int]:
        """How many should compute now: a single row, and several."""
        return max(self._threads // 2, 1) if self.short else self._threads, self._threads

    def look(self) -> None:
        """To be called after every forward, by the thread that made it."""
        if self._library is None or (now := self._clock()) - self._began < WINDOW:
            return
        try:
            ran, waited = self._times()
        except OSError:
            self.close()
            return
        thread, ready = threading.get_ident(), ran - self._ran + waited - self._waited
        same, share = thread == self._thread, (waited - self._waited) / max(ready, 1e-9)
        self._thread, self._began, self._ran, self._waited = thread, now, ran, waited
        if not same:
            return
        self._calm = self._calm + 1 if share < QUIET else 0
        if share >= BUSY and self._end is None:
            self._end = weakref.finalize(self, _hold_team(self._library, self._size))
        elif self._calm >= QUIET_WINDOWS:
            self._release()

    def close(self) -> None:
        """Leave OpenMP as it was found, for good."""
        self._library = None
        self._release()

    def _release(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None


def _chosen() -> bool:
    return any(os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))


def _libgomp() -> Any:
    """The libgomp that llama.cpp's CPU code uses, None if it uses none. A process can have several."""
    try:
        library = cpu_library()
        library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.GOMP_parallel.restype = None
        library.omp_get_thread_num  # noqa: B018
    except (OSError, RuntimeError, AttributeError):
        return None
    return library


def _hold_team(library: Any, size: int) -> Callable[[], None]:
    """Have a thread make an OpenMP team of `size` threads, which sleep; the function that ends them."""
    made, end = threading.Event(), threading.Event()
    nothing = ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p)

    def hold() -> None:
        library.GOMP_parallel(nothing, None, size, 0)
        made.set()
        end.wait()

    threading.Thread(target=hold, name="entropix-barriers", daemon=True).start()
    made.wait()
    return end.set
