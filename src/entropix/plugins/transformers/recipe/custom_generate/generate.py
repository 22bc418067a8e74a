"""Entropix's decoding loop: model.generate(**inputs, custom_generate="THIS REPOSITORY", trust_remote_code=True, …)"""

from functools import partial
from typing import Any

from entropix.plugins.transformers import generate as decode


def generate(model: Any, tokenizer: Any = None, streamer: Any = None, **arguments: Any) -> Any:
    """Arguments of transformers' `generate`, and those of `entropix.plugins.transformers.generate`: policy, seed,
    search, filters, profile, attention, results."""
    loop = partial(decode, tokenizer=tokenizer, streamer=streamer)
    # not model.generate, which from_pretrained has replaced by this function where the model lies in this repository
    return type(model).generate(model, custom_generate=loop, **arguments)
