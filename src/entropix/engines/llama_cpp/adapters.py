"""LoRA adapters: low-rank changes of a model's weights, from GGUF files, applied while it computes."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from entropix.engines.llama_cpp.library import Log, metadata
from entropix.engines.llama_cpp.opening import check_gguf, header_values
from entropix.errors import CapabilityError, ModelError, ParameterError
from entropix.folders import expanded

Asked: TypeAlias = "str | os.PathLike[str] | Many[str | os.PathLike[str]] | Mapping[str, float] | None"
"""A file, "file:scale", several of them, or the scales by file."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """file: a GGUF file. scale: what its change is multiplied by, beside the alpha it brings; 1 as it was trained."""

    file: Path
    scale: float = 1.0


def parse_adapters(asked: Asked) -> tuple[Adapter, ...]:
    """The adapters that are asked for, in order. Raises ParameterError for a scale that is no number, or a file that
    is named twice."""
    if asked is None:
        return ()
    if isinstance(asked, Mapping):
        adapters = [Adapter(expanded(file), _scale(str(file), scale)) for file, scale in asked.items()]
    else:
        files: Many[Any] = asked if isinstance(asked, Many) and not isinstance(asked, str) else (asked,)
        adapters = [_parse(file) for file in files]
    for n, adapter in enumerate(adapters):
        if any(other.file == adapter.file for other in adapters[:n]):
            raise ParameterError(f"lora names {adapter.file} twice; give it once, with the scale that is meant")
    return tuple(adapters)


def _parse(text: Any) -> Adapter:
    if not isinstance(text, (str, os.PathLike)) or not os.fspath(text):
        raise ParameterError(f"lora is {text!r}: give a .gguf file, FILE:SCALE, several of them, or {{file: scale}}")
    name, colon, scale = os.fspath(text).rpartition(":")
    # a Windows path has a colon, and any path may
    if not colon or os.path.exists(expanded(text)) or not _is_number(scale):
        return Adapter(expanded(text))
    return Adapter(expanded(name), _scale(name, float(scale)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _scale(file: str, scale: Any) -> float:
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not math.isfinite(scale):
        raise ParameterError(f"lora: the scale of {file} is {scale!r}; it is a finite number, 1 as it was trained")
    return float(scale)


class Adapters:
    """Adapters of a loaded model, which frees them with itself. To be loaded before its contexts are made.

    Raises ModelError for a file that is no LoRA adapter or is one of another model, CapabilityError for a llama.cpp
    without adapters."""

    def __init__(self, llama: Any, log: Log, model: Any, wanted: tuple[Adapter, ...]) -> None:
        self._llama, self.wanted = llama, wanted
        if wanted and None in (llama.llama_adapter_lora_init, llama.llama_set_adapters_lora):
            raise CapabilityError(
                f"{llama.build.name} {llama.build.version} has no LoRA adapters; use another llama.cpp"
            )
        handles = [self._load(log, model, adapter.file) for adapter in wanted]
        self._handles = (ctypes.c_void_p * len(handles))(*handles)
        self._scales = (ctypes.c_float * len(handles))(*(adapter.scale for adapter in wanted))

    def apply(self, context: Any) -> None:
        """Have a context compute with them."""
        if self.wanted and self._llama.llama_set_adapters_lora(
            context, ctypes.addressof(self._handles), len(self.wanted), ctypes.addressof(self._scales)
        ):
            raise ModelError("llama.cpp cannot apply these LoRA adapters to this model")

    @property
    def suffix(self) -> str:
        """What they add to the model's name: a model with an adapter is another one."""
        return "".join(
            f"+{adapter.file.stem}" + (f"*{adapter.scale:g}" if adapter.scale != 1 else "") for adapter in self.wanted
        )

    def _load(self, log: Log, model: Any, file: Path) -> int:
        check_gguf(file, "LoRA adapter", "convert_lora_to_gguf.py")
        kind, lora, architecture = header_values(file, "general.type", "adapter.type", "general.architecture")
        own = metadata(model, "general.architecture")
        if lora != "lora":
            what = f"is of the type {kind!r}" if isinstance(kind, str) else "does not say that it is one"
            raise ModelError(f"{file} is no LoRA adapter: it {what}; give a file that convert_lora_to_gguf.py has made")
        if architecture != own:
            raise ModelError(
                f"{file} is an adapter of the architecture {architecture!r}, and this model is of {own!r}; give an "
                "adapter that was trained on this model"
            )
        log.take()
        handle = self._llama.llama_adapter_lora_init(model, os.fsencode(file))
        if not handle:
            raise ModelError(
                f"llama.cpp cannot use {file} with this model: {log.take() or 'no reason given'}. Give an adapter that "
                "was trained on this model, and whose file is whole"
            )
        count = self._llama.llama_adapter_get_alora_n_invocation_tokens
        if count is not None and count(handle):
            raise ModelError(
                f"{file} is an activated LoRA (aLoRA), which is to work only after certain tokens; that is not "
                "supported, give an ordinary LoRA adapter"
            )
        return int(handle)
