"""Long runs of one kind of character: an answer or a PromptError, and the process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from entropix.engines.llama_cpp.runs import LONGEST_RUN, WORDS, check_runs, recurses
from entropix.errors import PromptError
from helpers.llama import needs_llama_cpp

KINDS = ("A", "a", "aB", "中", "1", "٣", " ", "\t", "\n", "\r\n", "!", "_", "/", "🙂", "\u0301", "a\u0301")
MIXED = ("Aa1", "0f", "+/a9Z", "a_1", "中1", "<a>", "x=1;")
"""Base64, hexadecimal digits and code: no two characters of a kind follow each other for long."""

TRY = """
import sys
from entropix.engines.llama_cpp.library import load
from entropix.engines.llama_cpp.tokenizer import LlamaCppTokenizer
from entropix.errors import PromptError
llama, _ = load()
settings = llama.llama_model_default_params()
settings.vocab_only = True
tokenizer = LlamaCppTokenizer(llama.llama_model_load_from_file(sys.argv[1].encode(), settings))
for kind in sys.argv[2:]:
    assert tokenizer.encode(kind * (8000 // len(kind)))
    assert tokenizer.encode("!" * 8000 + "\\n" * 8000)
    try:
        tokenizer.encode(kind * 40000)
    except PromptError:
        print("refused")
"""


@pytest.mark.parametrize(
    ("pre", "kinds"), [*((pre, KINDS) for pre in ("tekken", "gpt-4o", "llama4", "falcon")), ("viking", KINDS + MIXED)]
)
def test_no_run_of_characters_ends_the_process(pre: str, kinds: tuple[str, ...], smollm2: Path, tmp_path: Path) -> None:
    needs_llama_cpp()
    data = smollm2.read_bytes()
    key = b"tokenizer.ggml.pre" + bytes([8, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0])
    assert key + b"smollm" in data
    file = tmp_path / "model.gguf"
    file.write_bytes(data.replace(key + b"smollm", key + pre.encode(), 1))
    ran = subprocess.run([sys.executable, "-c", TRY, str(file), *kinds], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split()) == (0, ["refused"] * len(kinds)), ran.stderr[-500:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", ["", "word ", "word " * 2001])
def test_a_run_is_found_wherever_it_stands(kind: str, before: str) -> None:
    run = (kind * LONGEST_RUN)[:LONGEST_RUN]
    check_runs(f"{before}{'x' if kind in ' _!/🙂' else '-'}{run[:-2]}")
    with pytest.raises(PromptError, match="in a row"):
        check_runs(before + run + kind * 2 + "word " * 3)


@pytest.mark.parametrize("pre", sorted(WORDS))
@pytest.mark.parametrize("kind", MIXED)
def test_a_long_word_is_refused_where_a_match_is_a_word(kind: str, pre: str) -> None:
    word = (kind * LONGEST_RUN)[: LONGEST_RUN + 1]
    check_runs(f"So. {word[:-1]} and on.", pre)
    check_runs(word, "tekken")
    with pytest.raises(PromptError, match=f"{LONGEST_RUN + 1} characters without a space"):
        check_runs(f"So. {word} and on.", pre)


@pytest.mark.parametrize("pre", ["tekken", "viking"])
def test_ordinary_long_texts_are_not_refused(pre: str) -> None:
    check_runs("The quick brown fox, 42 times.\n" * 10000, pre)
    check_runs("一二三，" * 1000 + "\n", pre)
    check_runs("0123456789abcdef" * 10000)


def test_only_vocabularies_that_recurse_are_limited() -> None:
    assert recurses("gpt2", "tekken")
    assert recurses("gpt2", "default")
    assert recurses("gpt2", None)
    assert recurses("gpt2", "one-of-tomorrow")
    assert recurses("gpt2", "falcon")
    assert recurses("hybriddna", "tekken")
    assert recurses("whitespace", "whitespace")
    assert not recurses("hybriddna", "qwen2")
    assert not recurses("gemma4", "gemma4")
    assert not recurses("gpt2", "smollm")
    assert not recurses("gpt2", "falcon3")
    assert not recurses("llama", None)
