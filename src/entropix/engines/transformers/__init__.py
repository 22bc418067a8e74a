"""The transformers engine: any decoder of Hugging Face transformers, loaded here or already in your hands."""

from entropix.errors import ModelError

try:
    import torch  # noqa: F401  (asked for here so that its absence is one clear message)
    import transformers  # noqa: F401
except ImportError as missing:
    raise ModelError(
        f"the transformers engine needs torch and transformers, and {missing.name or 'one of them'} "
        "cannot be imported; install them with: pip install 'entropix-llm[transformers]'"
    ) from missing

from entropix.engines.huggingface.tokenizer import TransformersTokenizer
from entropix.engines.transformers.engine import TransformersEngine

__all__ = ["TransformersEngine", "TransformersTokenizer"]
