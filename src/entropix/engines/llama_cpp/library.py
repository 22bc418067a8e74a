"""The llama.cpp library itself: importing it, and keeping it quiet."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from entropix.errors import ModelError

T = TypeVar("T")

ERROR_LEVEL = 4
CONTINUED = 5


class Log:
    """Takes llama.cpp's log away from the terminal and keeps its last errors for our own messages."""

    def __init__(self, llama: Any) -> None:
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
def load() -> tuple[Any, Log]:
    """The llama_cpp module and its log, which is the process's: llama.cpp has only one."""
    try:
        import llama_cpp
    except ImportError as error:
        raise ModelError(
            "llama-cpp-python is not installed, and GGUF models need it: pip install 'entropix-llm[llama]'"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"llama-cpp-python is installed but its library does not load ({error}): "
            "reinstall it with pip install --force-reinstall llama-cpp-python"
        ) from error
    llama_cpp.llama_backend_init()
    return llama_cpp, Log(llama_cpp)


@cache
def load_ggml() -> Any:
    """libggml-base, with the functions that read tensors; they take addresses."""
    ggml = ggml_base()
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("ggml_get_name", pointer, [pointer]),
        ("ggml_op_name", ctypes.c_char_p, [ctypes.c_int]),
        ("ggml_backend_buffer_is_host", ctypes.c_bool, [pointer]),
        ("ggml_backend_tensor_get", None, [pointer, pointer, size, size]),
    ):
        function = getattr(ggml, name)
        function.restype = result
        function.argtypes = arguments
    return ggml


def ggml_base() -> Any:
    """libggml-base, as a library of its own."""
    return _part("ggml-base")


def cpu_library() -> Any:
    """libggml-cpu, and the libraries that it uses. Raises OSError or RuntimeError in a build without it."""
    return _part("ggml-cpu")


def _part(name: str) -> Any:
    """A library that comes with llama-cpp-python beside llama.cpp's own."""
    load()
    from llama_cpp import _ctypes_extensions, llama_cpp

    return _ctypes_extensions.load_shared_library(name, Path(llama_cpp.__file__).parent / "lib")


@cache
def uses_amx() -> bool:
    """Whether this llama.cpp was built for Intel's matrix tiles (AMX)."""
    try:
        return bool(cpu_library().ggml_cpu_has_amx_int8())
    except (OSError, RuntimeError, AttributeError):  # a build that carries its CPU code otherwise
        return False


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


def available_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
