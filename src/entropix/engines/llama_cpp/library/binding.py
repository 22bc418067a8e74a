"""One build of llama.cpp, opened with ctypes and checked before it is used."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropix.engines.llama_cpp.library import declarations as c

ROOM = 512
"""Bytes more than the struct that is known here, so that one that has grown is not written beyond its place."""


class Unusable(Exception):
    """Why a build cannot be used; a sentence without its subject."""


@dataclass(frozen=True)
class Build:
    """Where an installed llama.cpp lies. name, version: of the package. files: the library itself, and the ones that
    belong to it, for systems that do not look for its functions there by themselves. written_for: the version of the
    package whose structs are declared here; "" for a package that declares its own, by `structs`."""

    name: str
    version: str
    files: tuple[Path, ...]
    written_for: str = ""
    structs: Callable[[], tuple[Any, Any]] | None = None


class Llama:
    """The functions of `declarations.FUNCTIONS` and those that return and take the two structs of parameters.

    Raises Unusable for a library that does not load, lacks a function, or lays out a struct in another way."""

    llama_batch = c.LlamaBatch
    llama_log_callback = c.LogCallback

    def __init__(self, build: Build) -> None:
        self.build = build
        model, context = (c.ModelParams, c.ContextParams) if build.structs is None else build.structs()
        self._parts = [_open(build.files[0])]
        for name, kinds in c.FUNCTIONS.items():
            setattr(self, name, self._required(name, *kinds))
        for name, kinds in c.OPTIONAL.items():
            setattr(self, name, self.function(name, *kinds))
        self.eval_callback: Any = dict(context._fields_)["cb_eval"]
        path, handle = ctypes.c_char_p, ctypes.c_void_p
        self.llama_model_load_from_file = self._required("llama_model_load_from_file", handle, path, model)
        self.llama_init_from_model = self._required("llama_init_from_model", handle, handle, context)
        self.llama_model_default_params = self._defaults("llama_model_default_params", model, c.MODEL_DEFAULTS)
        self.llama_context_default_params = self._defaults("llama_context_default_params", context, c.CONTEXT_DEFAULTS)
        self._check_batch()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """A function by its name in C, None where this build has none."""
        for part in self._libraries():
            try:
                function = part[name]  # an object of its own, which no other user of the library shares
            except AttributeError:
                continue
            function.restype, function.argtypes = result, arguments
            return function
        return None

    def library(self, symbol: str) -> Any:
        """A library of this build with `symbol`, also one that it only links to. Raises AttributeError without."""
        for part in self._libraries():
            if hasattr(part, symbol):
                return part
        raise AttributeError(symbol)

    def _required(self, name: str, result: Any, *arguments: Any) -> Any:
        function = self.function(name, result, *arguments)
        if function is None:
            raise Unusable(f"has no function {name}{self._instead()}")
        return function

    def _libraries(self) -> Any:
        yield from list(self._parts)
        for file in self.build.files[len(self._parts) :]:  # only where the ones before did not have it
            self._parts.append(_open(file))
            yield self._parts[-1]

    def _defaults(self, name: str, kind: Any, known: Mapping[str, Any]) -> Callable[[], Any]:
        class Room(ctypes.Structure):
            _fields_ = (("value", kind), ("rest", ctypes.c_char * ROOM))

        function = self._required(name, Room)
        first = function().value
        for field, *_ in kind._fields_:
            value = _plain(getattr(first, field))
            if field in known and value != known[field]:
                raise Unusable(
                    f"lays out {name.replace('_default', '')} in another way: {field} reads as {value:g} where "
                    f"{known[field]:g} is expected{self._instead()}"
                )

        def defaults() -> Any:
            return kind.from_buffer_copy(function().value)

        return defaults

    def _check_batch(self) -> None:
        batch = self.llama_batch_init(1, 0, 1)
        pointers = (batch.token, batch.pos, batch.n_seq_id, batch.seq_id, batch.logits)
        if batch.n_tokens or batch.embd or not all(pointers):
            raise Unusable(f"lays out llama_batch in another way{self._instead()}")
        self.llama_batch_free(batch)

    def _instead(self) -> str:
        build = self.build
        if build.written_for and build.version != build.written_for:
            return f"; entropix was written for {build.name} {build.written_for}"
        return ""


def _plain(value: Any) -> int | float:
    """A field as a number: null pointers and callbacks are 0."""
    if isinstance(value, (int, float)):
        return value
    return ctypes.cast(value, ctypes.c_void_p).value or 0 if value else 0


def _open(file: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        text = str(error)
        if "libgomp" in text:
            raise Unusable(
                f"does not load ({text}): it needs OpenMP of the system. Install it: apt-get install libgomp1 (Debian, "
                "Ubuntu), dnf install libgomp (Fedora, RHEL), zypper install libgomp1 (SUSE)"
            ) from error
        raise Unusable(f"does not load ({text})") from error
