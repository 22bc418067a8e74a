"""What a transformers configuration says of a model before its weights are read."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

GENERATORS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "WithLMHeadModel")
"""How transformers names classes that predict the next token."""


def is_encoder(config: Any) -> bool:
    """Whether this is a family of encoders (BERT, RoBERTa, …) that was not made a decoder: its language model head
    fills masks, though a class for causal language models exists."""
    kind = getattr(config, "model_type", "")
    both = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return both and not getattr(config, "is_decoder", False)


def no_generator(config: Any) -> str:
    """Why the model of a configuration generates no text; "" where nothing says so."""
    saved = list(getattr(config, "architectures", None) or ())
    if getattr(config, "is_encoder_decoder", False):
        return "an encoder-decoder"
    if is_encoder(config):
        return "an encoder, which reads text and writes none"
    if saved and not any(name.endswith(GENERATORS) for name in saved):
        return f"saved as {saved[0]}, without a head that predicts tokens"
    return ""


def no_causal_model(config: Any) -> str:
    """Why transformers has no class for the model of a configuration; "" where it has one."""
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or getattr(config, "auto_map", None):
        return ""
    return f"a {config.model_type} model, of which transformers has no causal language model"
