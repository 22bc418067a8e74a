"""Tiny random models in Hugging Face's form, made when a test asks: their directories need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
END = 1
VOCABULARY = 260
"""Two control tokens, 256 bytes, and two rows that no token needs."""
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "bos_token_id": None,
    "eos_token_id": END,
    "pad_token_id": None,
}


def byte_tokenizer() -> Any:
    """A token a byte, in GPT-2's alphabet, with ChatML's markup and template."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=TEMPLATE,
    )


def random_model(config: Any, spread: float = 0.2) -> Any:
    """A transformers model of this configuration whose weights are normal, `spread` wide, and the same in every run."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, spread)
    return model


def save(model: Any, folder: Path) -> Path:
    """The folder, with the model as safetensors and the tokenizer of bytes."""
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
