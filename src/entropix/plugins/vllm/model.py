"""What the plug-in must know of the model that vLLM serves: thresholds, and how to write an injection in tokens."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from entropix.engines.base import fingerprint, sample_ids
from entropix.errors import ParameterError
from entropix.plugins.vllm.asking import KEY, PolicyRequest, read
from entropix.profiles import Profile, find, named
from entropix.types import ModelInfo

SETTINGS: dict[str, type] = {"policy": str, "profile": str, "attention": bool}
log = logging.getLogger("vllm.entropix")  # below vLLM's own, so that its lines are among vLLM's


@dataclass(frozen=True)
class Served:
    """One model in vLLM. default: what requests get that say nothing, None for vLLM's own sampling. encode: a text's
    tokens, control markup staying text; None where vLLM runs without a tokenizer."""

    profile: Profile
    vocabulary: int
    default: PolicyRequest | None
    encode: Callable[[str], tuple[int, ...]] | None


def served(config: Any) -> Served:
    """From vLLM's VllmConfig. The operator's settings are `--additional-config '{"entropix": {"policy": "entropix",
    "profile": "NAME or FILE", "attention": true}}'`, each optional.

    Raises EntropixError for settings that cannot be kept: vLLM then does not start."""
    settings = _settings(config)
    tokenizer = _tokenizer(config.model_config)
    info = describe(config.model_config, tokenizer)
    profile = named(settings["profile"]) if "profile" in settings else find(info)
    if profile.source == "generic":
        log.warning("Entropix: no profile of %r is known, thresholds are generic; see entropix calibrate", info.name)
    elif profile.fingerprint != info.fingerprint:
        log.warning("Entropix: profile %r was measured on another model than %r", profile.name, info.name)
    else:
        log.info("Entropix: thresholds of profile %r", profile.name)
    default = read({KEY: settings["policy"]}) if "policy" in settings else None
    # a copy of its own: `encode` sets a switch in it, and vLLM takes prompts apart with its own in other threads
    own = None if tokenizer is None else partial(encode, copy.deepcopy(tokenizer))
    return Served(profile, info.vocabulary, default, own)


def _settings(config: Any) -> dict[str, Any]:
    """The operator's settings, checked."""
    every = getattr(config, "additional_config", None)
    found = every.get(KEY) if isinstance(every, dict) else None
    if found is None:
        return {}
    known = ", ".join(SETTINGS)
    if not isinstance(found, dict):
        raise ParameterError(f"additional-config: {KEY!r} is {found!r}; it must be an object with any of {known}")
    for name, value in found.items():
        if name not in SETTINGS:
            raise ParameterError(f"additional-config: {KEY!r} has no setting {name!r}; it has {known}")
        if not isinstance(value, SETTINGS[name]):
            wanted = "true or false" if SETTINGS[name] is bool else "a string"
            raise ParameterError(f"additional-config: {KEY}.{name} is {value!r}; it must be {wanted}")
    return found


def describe(model_config: Any, tokenizer: Any) -> ModelInfo:
    """The model's shape and fingerprint, the same as on every other engine. model_config: vLLM's ModelConfig;
    without a tokenizer the fingerprint is one that no profile has."""
    config = model_config.hf_text_config
    shape: dict[str, Any] = {
        "architecture": str(config.model_type).removesuffix("_text"),
        "layers": int(getattr(config, "num_hidden_layers", 0)),
        "heads": int(getattr(config, "num_attention_heads", 0)),
        "width": int(getattr(config, "hidden_size", 0)),
        "vocabulary": int(model_config.get_vocab_size()),
    }
    pieces = [] if tokenizer is None else [_raw(tokenizer, token) for token in sample_ids(shape["vocabulary"])]
    return ModelInfo(name=str(model_config.model), fingerprint=fingerprint(**shape, pieces=pieces), **shape)


def encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens of a text that stands in the middle of an answer."""
    try:
        found = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    except TypeError:  # tokenizers that are not Hugging Face's know fewer options
        found = tokenizer.encode(text, add_special_tokens=False)
    return tuple(int(token) for token in found)


def _raw(tokenizer: Any, token: int) -> str:
    """The vocabulary's own string of `token`, "" beyond the vocabulary."""
    return str(tokenizer.convert_ids_to_tokens([token])[0] or "") if token < len(tokenizer) else ""


def _tokenizer(model_config: Any) -> Any:
    """vLLM's tokenizer of the model, None where it runs without one."""
    if getattr(model_config, "skip_tokenizer_init", False):
        return None
    from vllm.tokenizers import cached_tokenizer_from_config

    return cached_tokenizer_from_config(model_config)
