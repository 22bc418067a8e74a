"""Texts that are too long, found before they are tokenised: that takes seconds for megabytes, and others wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from entropix.errors import PromptError

PER_TOKEN = 8
"""Characters per token up to which a text is tokenised as a whole. Plain text has about 4."""

CHUNK = 4096
"""Characters tokenised at a time beyond that."""

SLACK = 1.25
"""How many more tokens a text may have in chunks than as a whole: a cut parts a token in two."""


def check_length(texts: Sequence[str], most: int, encode: Callable[[str], list[int]]) -> None:
    """Raise PromptError for texts that have more than `most` tokens together, by no more work than about `most` tokens
    take. What passes can still be too long by a little; counting its tokens is then as cheap."""
    characters = sum(map(len, texts))
    if characters <= PER_TOKEN * most:
        return
    tokens = 0
    for text in texts:
        for start in range(0, len(text), CHUNK):
            tokens += len(encode(text[start : start + CHUNK]))
            if tokens > SLACK * most:
                raise PromptError(
                    f"the prompt has {characters} characters and more than {most} tokens, which is the most that is "
                    "taken here with the answer; shorten the prompt"
                )
