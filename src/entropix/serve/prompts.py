"""Prompts of /v1/completions → tokens: markup as it is wanted, and texts with a hole (fill in the middle)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from entropix.engines import Tokenizer
from entropix.serve.errors import invalid

FILLING: tuple[tuple[str, str, str], ...] = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
)
"""How models mark the text before a hole, the one behind it, and where what fills it begins."""


@dataclass(frozen=True)
class Filler:
    """The three tokens of a model that can fill a hole."""

    prefix: int
    suffix: int
    middle: int

    def tokens(self, before: list[int], behind: list[int]) -> list[int]:
        return [self.prefix, *before, self.suffix, *behind, self.middle]


def filler_of(tokenizer: Tokenizer) -> Filler | None:
    """What the model's vocabulary has for holes, None for nothing."""
    for names in FILLING:
        found = [tokenizer.encode(name, special=True) for name in names]
        if all(len(tokens) == 1 and tokenizer.label(tokens[0]) == n for tokens, n in zip(found, names, strict=True)):
            return Filler(*(tokens[0] for tokens in found))
    return None


def fill(tokenizer: Tokenizer, before: str, behind: str, encode: Callable[[str], list[int]]) -> list[int]:
    """Tokens that ask for what stands between two texts. Raises ApiError where the model cannot."""
    filler = filler_of(tokenizer)
    if filler is None:
        raise invalid(
            "suffix: this model has no tokens for filling a hole (such as <|fim_middle|>); leave suffix out, or serve "
            "a code model that has them, for example Qwen2.5-Coder",
            "suffix",
        )
    begin = tokenizer.encode("", begin=True)
    return [*begin, *filler.tokens(encode(before) if before else [], encode(behind))]
