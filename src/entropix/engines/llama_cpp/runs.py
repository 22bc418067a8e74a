"""Long runs of one kind of character, on which llama.cpp's pre-tokenizers overflow the stack.

Where llama.cpp has no splitter for a vocabulary it uses `std::regex`, which recurses per character of a match. With a
stack of 8 MiB, 20,000 equal characters pass and 30,000 end the process.
"""

from __future__ import annotations

import re

from entropix.errors import PromptError

LONGEST_RUN = 8000
BLOCK = LONGEST_RUN // 2
RUN = re.compile(r"(?:[^\W\d_]|[^\x00-\x7f\w\s])+|\d+|\s+|(?:_|[^\w\s])+")
"""Letters with their marks, digits, spaces, or symbols: a match of a pre-tokenizer spans at most two such runs."""

_TRIED = (
    "a.x-4.0 chameleon chatglm-bpe codeshell command-r dbrx deepseek-r1-qwen exaone exaone4 f2llmv2 falcon-h1 "
    "falcon3 gigachat glm4 glm5 gpt-2 granite-docling grok-2 hunyuan jais jina-de jina-es jina-v1-en jina-v2-code "
    "jina-v2-de jina-v2-es jina-v5-nano k2-horizon laguna llama-bpe llama-v3 llama3 qwen2 qwen35 smollm"
)
ITERATIVE = frozenset(_TRIED.split())
"""Of the 93 names of `tokenizer.ggml.pre` in llama.cpp of October 2026, those tried with runs of 300,000 characters
that do not recurse. 34 end the process at 40,000 (tekken, gpt-4o, llama4, deepseek-llm, falcon, bloom, viking, …); the
others were not tried as long, and are limited like them."""

_WORD = re.compile(r"[^\s.,!?…。，、।۔،(|)]+")
WORDS = dict.fromkeys(("bloom", "gpt3-finnish", "poro-chat", "viking"), _WORD) | {"whitespace": re.compile(r"\S+")}
"""What a match is where it holds letters, digits and symbols at once: base64 and the like end these, too. All names of
a library of November 2026 were tried with 60,000 characters of 19 mixed kinds, which the others take."""

SPLIT = frozenset({"gpt2", "hybriddna", "whitespace"})
"""The kinds of vocabulary whose texts a pre-tokenizer splits as `tokenizer.ggml.pre` says."""


def recurses(model: str | None, pre: str | None) -> bool:
    """Whether a vocabulary (`tokenizer.ggml.model` and `.pre`) has to be spared long runs."""
    return model in SPLIT and pre not in ITERATIVE


def check_runs(text: str, pre: str | None = None) -> None:
    """Raises PromptError when `text` has a run of more than LONGEST_RUN characters of one kind, or a word that long
    where `pre` (the vocabulary's `tokenizer.ggml.pre`) is one of WORDS."""
    _check(text, RUN, "characters of one kind")
    if pre in WORDS:
        _check(text, WORDS[pre], "characters without a space or the end of a sentence")


def _check(text: str, kind: re.Pattern[str], what: str) -> None:
    """A match that long fills a whole block, so an ordinary text costs a look at a few characters of every block."""
    blocks = range(0, len(text) - BLOCK + 1, BLOCK)
    if len(text) <= LONGEST_RUN or not any(kind.fullmatch(text, at, at + BLOCK) for at in blocks):
        return
    for run in kind.finditer(text):
        length = run.end() - run.start()
        if length > LONGEST_RUN:
            raise PromptError(
                f"the text has {length} {what} in a row, from character {run.start()} on "
                f"({run[0][:8]!r}…); this model's tokenizer takes {LONGEST_RUN}: break the run up"
            )
