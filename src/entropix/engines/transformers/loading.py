"""A model and its tokenizer from a directory, a GGUF file or the hub, with errors a person can act on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

from entropix.engines.huggingface.configuration import no_causal_model, no_generator
from entropix.engines.huggingface.reading import Library, no_hub_name, quiet, reading_error
from entropix.errors import ModelError
from entropix.folders import expanded

LIBRARY = Library("transformers", transformers.__version__, "a directory or a .gguf file")


def load(name_or_path: str | Path, *, device: str | None, dtype: Any, gguf_file: str | None) -> tuple[Any, Any, str]:
    """(model, tokenizer, name), the model in evaluation mode on its device.

    Raises ModelError when there is no such model, or it cannot be read."""
    source, gguf_file = _locate(str(name_or_path), gguf_file)
    place = torch.device(device) if device is not None else best_device()
    options: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {}
    with quiet(), read_once() if gguf_file else nullcontext():
        try:
            config = transformers.AutoConfig.from_pretrained(source, **options)
        except Exception as error:
            raise reading_error(source, gguf_file, error, LIBRARY) from error
        if reason := no_generator(config) or no_causal_model(config):
            raise ModelError(f"{source!r} is no text generator but {reason}; give a decoder-only language model")
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
            if gguf_file:
                # packed weights are unpacked again at every step, which is several times slower
                options["quantization_config"] = transformers.GgufConfig(dequantize=True)
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=as_dtype(dtype, place), output_loading_info=True, **options
            )
        except Exception as error:
            raise reading_error(source, gguf_file, error, LIBRARY) from error
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise ModelError(
            f"the weights of {source!r} are incomplete: {len(missing)} tensors are missing, {missing[0]!r} "
            "among them; download the model again, or check that it is a text-generation model"
        )
    name = Path(gguf_file).stem if gguf_file else str(getattr(model.config, "_name_or_path", "") or source)
    return model.to(place).eval(), tokenizer, name


_READING = threading.Lock()


@contextmanager
def read_once() -> Iterator[None]:
    """One reading of a GGUF file. transformers reads it for the configuration, for the tokenizer and for the weights, a
    hundred thousand names one by one, and makes a map of all tensors' names for every submodule: kept meanwhile, they
    leave a third of the time. One load at a time, since the functions that it calls are replaced."""
    try:
        import gguf
    except ImportError:  # transformers says what to install
        yield
        return
    with _READING:
        own = gguf.GGUFReader, gguf.get_tensor_name_map
        gguf.GGUFReader, gguf.get_tensor_name_map = map(cache, own)
        try:
            yield
        finally:
            gguf.GGUFReader, gguf.get_tensor_name_map = own


def best_device() -> torch.device:
    """CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def as_dtype(dtype: Any, device: torch.device) -> torch.dtype:
    """`dtype` as torch's; None is bfloat16 where the hardware multiplies it natively, else float32."""
    if dtype is None:
        native = device.type == "cuda" or (device.type == "cpu" and _cpu_has_bfloat16())
        return torch.bfloat16 if native else torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"dtype {dtype!r} is not one torch computes with; use float32, bfloat16 or float16")
    return found


def _cpu_has_bfloat16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, lambda: False)()) for check in checks)


def _locate(name: str, gguf_file: str | None) -> tuple[str, str | None]:
    """(directory or hub name, GGUF file name or None)."""
    path = expanded(name)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"there is no file {str(path)!r}; give the path of a .gguf file that exists")
        return str(path.parent), path.name
    if path.is_dir():
        _check_directory(path, gguf_file)
        return str(path), gguf_file
    if path.is_file():
        raise ModelError(f"{name!r} is a file, but not a .gguf; give a model directory, a .gguf file or a hub name")
    if no_hub_name(name):
        raise ModelError(
            f"there is no directory {name!r}; give a model directory that exists, a .gguf file, or a hub "
            "name such as 'HuggingFaceTB/SmolLM2-135M-Instruct'"
        )
    return name, gguf_file


def _check_directory(path: Path, gguf_file: str | None) -> None:
    ggufs = sorted(p.name for p in path.glob("*.gguf"))
    if gguf_file:
        if not (path / gguf_file).is_file():
            here = f"it has {', '.join(ggufs)}" if ggufs else "it has no .gguf file"
            raise ModelError(f"the directory {str(path)!r} has no file {gguf_file!r}; {here}")
    elif not (path / "config.json").is_file():
        there = ", ".join(ggufs)
        todo = f"it has {there}: give that file's path" if ggufs else "give one that from_pretrained would load"
        raise ModelError(f"the directory {str(path)!r} has no config.json, so it is no transformers model; {todo}")
