"""The llama.cpp library itself: which one it is, opening it, and keeping it quiet."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from entropix.engines.llama_cpp.library.binding import Llama
from entropix.engines.llama_cpp.library.builds import Chosen, chosen
from entropix.errors import ModelError

__all__ = [
    "Chosen",
    "Llama",
    "Log",
    "apart",
    "check_process",
    "chosen",
    "cpu_library",
    "load",
    "metadata",
    "release",
    "uses_amx",
]

T = TypeVar("T")

ERROR_LEVEL = 4
CONTINUED = 5


class Log:
    """Takes llama.cpp's log away from the terminal and keeps its last errors for our own messages."""

    def __init__(self, llama: Llama) -> None:
        self.errors: deque[str] = deque(maxlen=3)
        level_before = 0

        def keep(level: int, text: bytes, _: Any) -> None:
            nonlocal level_before
            level_before = level if level != CONTINUED else level_before
            line = text.decode("utf-8", "replace").strip()
            if level_before == ERROR_LEVEL and line:
                self.errors.append(line)

        self.callback = llama.llama_log_callback(keep)  # must outlive the library's use of it
        llama.llama_log_set(self.callback, None)

    def take(self) -> str:
        """The last errors, in one line; they are forgotten."""
        text = "; ".join(self.errors)
        self.errors.clear()
        return text


@cache
def load() -> tuple[Llama, Log]:
    """llama.cpp and its log, which is the process's: llama.cpp has only one. ModelError where there is none."""
    llama = chosen().llama
    llama.llama_backend_init()
    return llama, Log(llama)


def cpu_library() -> Any:
    """A library that links ggml's code for CPUs and what that uses. Raises OSError or RuntimeError without one."""
    try:
        return load()[0].library("ggml_cpu_has_amx_int8")
    except AttributeError as error:
        raise OSError("this llama.cpp carries its CPU code otherwise") from error


@cache
def uses_amx() -> bool:
    """Whether this llama.cpp was built for Intel's matrix tiles (AMX)."""
    has_amx = load()[0].ggml_cpu_has_amx_int8
    return bool(has_amx and has_amx())


def metadata(model: Any, key: str) -> str | None:
    """The value of a GGUF metadata key as text, None where the model has none."""
    llama, _ = load()
    size = 1 << 10
    while True:
        buffer = ctypes.create_string_buffer(size)
        needed = llama.llama_model_meta_val_str(model, key.encode(), buffer, size)
        if needed < 0:
            return None
        if needed < size:
            return buffer.raw[:needed].decode("utf-8", "replace")
        size = needed + 1


def apart(compute: Callable[[], T]) -> T:
    """What `compute` returns, computed in a thread that ends with it.

    OpenMP keeps a team for every thread that has computed. With more of them than processors it no longer spins for
    work, and a single text takes twice as long: so loading a model must not leave a team behind, since it is
    often another thread that decodes."""
    with ThreadPoolExecutor(1, "entropix-load") as thread:
        return thread.submit(compute).result()


@cache
def _home() -> int:
    """The process that first loaded a model to compute with several threads."""
    return os.getpid()


def check_process() -> None:
    """Raises ModelError in a child forked from a process with such a model: OpenMP believes that its threads came
    along, and the first forward would wait for them for ever."""
    if _home() != os.getpid():
        raise ModelError(
            "this process was forked from one that had loaded a model, whose threads did not come along; start "
            "processes with multiprocessing.get_context('spawn'), or load with threads=1"
        )


def release(contexts: list[Any], model: Any, _kept: list[Any]) -> None:
    """Free a model and its contexts; what these call back is an argument so that it lives as long."""
    llama, _ = load()
    for context in contexts:
        llama.llama_free(context)
    llama.llama_model_free(model)
