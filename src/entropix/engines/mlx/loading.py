"""A model and its tokenizer from a directory or the hub through mlx-lm, with errors a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import transformers

from entropix.engines.huggingface.configuration import no_generator
from entropix.engines.huggingface.reading import Library, no_hub_name, quiet, reading_error
from entropix.errors import ModelError
from entropix.folders import expanded

LIBRARY = Library("mlx-lm", mlx_lm.__version__, "a directory")
DTYPES = ("float32", "bfloat16", "float16")


def load(name_or_path: str | Path, *, dtype: Any = None) -> tuple[Any, Any, str]:
    """(model, mlx-lm's tokenizer, name).

    Raises ModelError when there is no such model, it cannot be read, or mlx-lm has no code for it."""
    if dtype is not None and dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not one MLX computes a model with; use {', '.join(DTYPES)}")
    source = _located(str(name_or_path))
    with quiet():
        try:
            _check_generator(source)
            settings, _ = transformers.PretrainedConfig.get_config_dict(source)
            model, tokenizer = mlx_lm.load(source, model_config=rotary(settings))
        except SystemExit as error:  # mlx-lm's way to say that an architecture needs a further package
            raise ModelError(
                f"mlx-lm cannot load {source!r}: its architecture needs a package that is not here"
            ) from error
        except ModelError:
            raise
        except Exception as error:
            raise reading_error(source, None, error, LIBRARY) from error
    if dtype is not None:
        model.set_dtype(getattr(mx, dtype))
        mx.eval(model.parameters())  # here: MLX computes nothing in one thread that another has asked for
    return model, tokenizer, source


def _check_generator(source: str) -> None:
    """Look at the configuration before weights are downloaded."""
    try:
        config = transformers.AutoConfig.from_pretrained(source)
    except ValueError:  # an architecture that transformers does not know, and mlx-lm may
        return
    if reason := no_generator(config):
        raise ModelError(f"{source!r} is no text generator but {reason}; give a decoder-only language model")


def rotary(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What mlx-lm must know of the rotary embedding beside a config.json, by the names of most of its models.

    transformers 5 writes `rope_parameters`, and most of mlx-lm's models read only `rope_theta` and `rope_scaling`:
    without these they take defaults of their own, and the text is wrong."""
    written = settings.get("rope_parameters")
    if not isinstance(written, Mapping) or "rope_theta" in settings:
        return {}
    full = written.get("full_attention", written)
    found: dict[str, Any] = {"rope_theta": full["rope_theta"]} if "rope_theta" in full else {}
    if full.get("rope_type", "default") != "default":
        found["rope_scaling"] = dict(full)
    if "rope_theta" in written.get("sliding_attention", ()):
        found["rope_local_base_freq"] = written["sliding_attention"]["rope_theta"]
    return found


def _located(name: str) -> str:
    """The directory, or the hub name. Raises ModelError for everything else."""
    path = expanded(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"the directory {str(path)!r} has no config.json, so it is no model that mlx-lm loads; give one with "
                "config.json, model*.safetensors and a tokenizer, as mlx_lm.convert writes them"
            )
        if not list(path.glob("model*.safetensors")):
            raise ModelError(
                f"the directory {str(path)!r} has no model*.safetensors, the only form of weights that mlx-lm loads; "
                "save the model as safetensors, or load it with --engine transformers"
            )
        return str(path)
    if path.suffix.lower() == ".gguf" and path.is_file():
        raise ModelError(
            f"{name!r} is a GGUF file, which mlx-lm does not load; load it with --engine llama_cpp, or give a "
            "directory with config.json and safetensors"
        )
    if path.is_file():
        raise ModelError(f"{name!r} is a file; mlx-lm loads model directories and hub names")
    if path.suffix.lower() == ".gguf" or no_hub_name(name):
        raise ModelError(
            f"there is no directory {name!r}; give a model directory that exists, or a hub name such as "
            "'mlx-community/SmolLM2-135M-Instruct'"
        )
    return name
