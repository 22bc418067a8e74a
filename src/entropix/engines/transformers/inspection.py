"""What a transformers model is, and whether this engine can run it."""

from __future__ import annotations

from typing import Any

from entropix.engines.base import fingerprint, sample_ids
from entropix.engines.huggingface.configuration import is_encoder
from entropix.engines.huggingface.tokenizer import TransformersTokenizer
from entropix.engines.slotted import chosen_layers
from entropix.errors import ModelError
from entropix.types import ModelInfo

FULL = "full_attention"
ATTENTION_LAYERS = frozenset({FULL, "sliding_attention", "chunked_attention"})


def text_config(model: Any) -> Any:
    """The part of a model's configuration that describes its text decoder."""
    return model.config.get_text_config()


def check_supported(model: Any) -> None:
    """Raises ModelError, saying why, for a model whose state is more than keys and values per token."""
    config = text_config(model)
    name = f"a {config.model_type} model"
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is an encoder–decoder; the engine runs decoder-only models")
    if is_encoder(model.config):
        raise ModelError(f"{name} is an encoder, which reads text and writes none; give a decoder-only language model")
    if not hasattr(config, "num_hidden_layers") or model.get_output_embeddings() is None:
        raise ModelError(f"{name} predicts no tokens; load it as a causal language model")
    strange = sorted(set(getattr(config, "layer_types", None) or ()) - ATTENTION_LAYERS)
    if getattr(model, "_is_stateful", False) or strange:
        kinds = f" ({', '.join(strange)})" if strange else ""
        raise ModelError(
            f"{name} keeps a recurrent state{kinds}, which cannot be rewound or forked token by token; "
            "choose a model whose layers are all attention, or run this one on another engine"
        )
    if getattr(config, "num_kv_shared_layers", 0):
        raise ModelError(f"{name} shares keys and values between layers, which the engine's cache does not know")
    if model.training:
        raise ModelError(f"{name} is in training mode, where dropout makes every forward different; call model.eval()")
    can_switch = model._can_set_attn_implementation()
    if not can_switch or not (model._supports_sdpa or softcaps(config)):
        raise ModelError(
            f"{name} computes attention in its own way and not through transformers' SDPA attention, which "
            "the engine needs; choose another architecture or another engine"
        )


def softcaps(config: Any) -> bool:
    """Whether attention scores are soft-capped, which stock SDPA does not know."""
    return getattr(config, "attn_logit_softcapping", None) is not None


def observed_layers(config: Any, wanted: Any = None) -> frozenset[int]:
    """The layers to read attention from: those wanted, else the last with full attention.

    Raises ParameterError for a layer the model does not have."""
    layers = int(config.num_hidden_layers)
    if wanted is None:
        kinds = list(getattr(config, "layer_types", None) or [FULL] * layers)
        full = [n for n, kind in enumerate(kinds) if kind == FULL]
        return frozenset({full[-1] if full else layers - 1})
    return chosen_layers(wanted, layers)


def describe(model: Any, tokenizer: TransformersTokenizer, name: str) -> ModelInfo:
    """Name, shape and fingerprint of a model; the vocabulary is as wide as its logits."""
    config = text_config(model)
    shape: dict[str, Any] = {
        "architecture": str(config.model_type).removesuffix("_text"),
        "layers": int(config.num_hidden_layers),
        "heads": int(config.num_attention_heads),
        "width": int(config.hidden_size),
        "vocabulary": int(model.get_output_embeddings().weight.shape[0]),
    }
    pieces = [tokenizer.raw(token) for token in sample_ids(shape["vocabulary"])]
    return ModelInfo(name=name, fingerprint=fingerprint(**shape, pieces=pieces), **shape)


def end_tokens(model: Any) -> list[int]:
    """The end tokens that the model's generation settings name."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return []
    return [int(ends)] if isinstance(ends, int) else [int(end) for end in ends]
