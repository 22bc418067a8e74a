"""B7: log-likelihoods of continuations that merge with their context, against lm_eval's own model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("transformers")
import tokenizers
import torch
import transformers

from entropix import Model
from entropix.engines.scripted import ScriptedEngine
from entropix.engines.transformers import TransformersEngine
from entropix.errors import ModelError
from entropix.plugins.lm_eval.model import EntropixLM

TEXT = "The capital of France is Paris. The capitals of Francis are the capital's. Où est la poste ? été 🙂 日本 日本語"


class Asked(NamedTuple):
    args: tuple[Any, ...]


@pytest.fixture(scope="module")
def both() -> tuple[EntropixLM, Any]:
    """Our model and lm_eval's own, over one tiny model with byte-level merges."""
    from lm_eval.models.huggingface import HFLM

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([TEXT] * 3, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|begin|>", eos_token="<|end|>")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=64)
    return EntropixLM(Model(TransformersEngine(model, tokenizer, context=64))), theirs


def score(lm: Any, *pairs: tuple[str, str]) -> list[tuple[float, bool]]:
    return lm.loglikelihood([Asked(pair) for pair in pairs], disable_tqdm=True)  # type: ignore[no-any-return]


APART = [
    ("The capital of", " France"),
    ("The capital of", " France is Paris."),
    ("The capital of ", "France"),
    ("The capital of  ", " France"),
    ("The capital of France\n", "is"),
    ("Où est", " la poste"),
    ("日本", "日"),
    ("x", "🙂"),
    ("", "The capital"),
    ("", " of"),
    ("", "日本語"),
    ("The " * 100, "capital of"),
]


def test_pairs_that_do_not_merge_score_as_lm_evals_own_model_does(both: tuple[EntropixLM, Any]) -> None:
    ours, theirs = both
    for (got, greedy), (want, likeliest) in zip(score(ours, *APART), score(theirs, *APART), strict=True):
        assert got == pytest.approx(want, abs=1e-3)
        assert greedy == likeliest


MERGED = [
    ("The capital of Fran", "ce"),
    ("The capital of Fran", "ce is"),
    ("The cap", "ital of France"),
    ("T", "he"),
    ("The capital of F", "rance is Paris."),
    ("Où est la po", "ste ?"),
    ("日", "本"),
    ("The capital", "s"),
    ("Paris", "."),
]


def merges(lm: EntropixLM, context: str, rest: str) -> bool:
    alone = lm.tok_encode(context)
    return lm.tok_encode(context + rest)[: len(alone)] != alone


def test_a_continuation_that_merges_scores_from_the_first_token_the_context_does_not_have(
    both: tuple[EntropixLM, Any],
) -> None:
    ours, theirs = both
    assert sum(merges(ours, *pair) for pair in MERGED) >= 6
    for (context, rest), (got, _) in zip(MERGED, score(ours, *MERGED), strict=True):
        alone, whole = ours.tok_encode(context), ours.tok_encode(context + rest)
        start = next((n for n, (a, b) in enumerate(zip(alone, whole, strict=False)) if a != b), len(alone))
        # lm_eval's own model on the same tokens
        asked = [(None, whole[:start] or [theirs.prefix_token_id], whole[start:])]
        ((want, _),) = theirs._loglikelihood_tokens(asked, disable_tqdm=True)
        assert got == pytest.approx(want, abs=1e-3)
        assert got < 0


def test_the_parts_of_a_text_add_up_where_they_do_not_merge(both: tuple[EntropixLM, Any]) -> None:
    ours, _ = both
    cuts = ["The", "The capital", "The capital of", "The capital of France"]
    parts = [(a, b[len(a) :]) for a, b in pairwise(cuts)]
    assert not any(merges(ours, *part) for part in parts)
    ((whole, _),) = score(ours, ("The", " capital of France"))
    assert sum(logprob for logprob, _ in score(ours, *parts)) == pytest.approx(whole, abs=1e-3)


def test_whole_texts_score_as_with_lm_evals_own_model(both: tuple[EntropixLM, Any]) -> None:
    ours, theirs = both
    texts = [Asked((text,)) for text in (TEXT, "été 🙂", "a", TEXT * 4)]
    assert ours.loglikelihood_rolling(texts, disable_tqdm=True) == pytest.approx(
        theirs.loglikelihood_rolling(texts, disable_tqdm=True), abs=5e-3
    )


def test_an_empty_continuation_is_certain_and_says_nothing_about_the_others(both: tuple[EntropixLM, Any]) -> None:
    ours, _ = both
    pairs = [("", ""), ("The", ""), ("The", " capital")]
    assert score(ours, *pairs) == [(0.0, True), (0.0, True), *score(ours, pairs[2])]


def test_a_model_without_a_context_is_asked_after_the_token_that_begins_texts(both: tuple[EntropixLM, Any]) -> None:
    ours, theirs = both
    assert ours.prefix_token_id == theirs.prefix_token_id == 0


def test_scores_of_a_model_that_computes_no_numbers_are_refused() -> None:
    lm = EntropixLM(Model(ScriptedEngine(lambda _: np.full(260, np.nan))))
    with pytest.raises(ModelError, match="NaN or infinite"):
        score(lm, ("a", "b"))
