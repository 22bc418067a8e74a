"""Distinct n-grams and repetition, against their definitions."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
from benchmarks.diversity import measured, report, rows_of, texts_of
from hypothesis import given
from hypothesis import strategies as st

from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.evaluate import read_specs
from entropix.evaluate.diversity import distinct, repeated, words

TEXTS = st.lists(st.lists(st.sampled_from(["ja", "nein", "한국", "x1"]), max_size=12).map(" ".join), max_size=4)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("naïve 3.5 – 한국어", ["naïve", "3", "5", "한국어"]),
        ("…", []),
    ],
)
def test_words_have_no_case_and_no_punctuation(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_what_the_measures_say() -> None:
    assert distinct(["a b a b"], 2) == 2 / 3  # ab, ba, ab
    assert distinct(["a b", "a b"], 2) == 1 / 2  # of two texts that are the same, and not across their border
    assert distinct(["a b", "b c"], 2) == 1
    assert repeated("a b c d a b c d", 4) == pytest.approx(1 / 5)
    assert repeated("one two three", 4) is None
    assert distinct([], 1) is distinct(["", "!"], 1) is None
    with pytest.raises(ValueError, match="n=0 is out of range"):
        distinct(["a"], 0)


@given(TEXTS, st.integers(1, 4))
def test_the_share_of_distinct_grams_is_one_where_none_comes_twice(texts: list[str], n: int) -> None:
    grams = [tuple(text.split()[k : k + n]) for text in texts for k in range(len(text.split()) - n + 1)]
    share = distinct(texts, n)
    assert (share is None) == (not grams)
    if share is not None:
        assert share == pytest.approx(len(set(grams)) / len(grams))
        twice = distinct([*texts, *texts], n)
        assert twice == pytest.approx(share / 2)  # the same again adds grams, and none that is new


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=4, max_size=20))
def test_a_text_that_is_said_twice_repeats_all_of_its_second_part(found: list[str]) -> None:
    text = " ".join(found)
    once, twice = repeated(text), repeated(f"{text} {text}")
    assert once is not None
    assert twice is not None
    grams, more = len(found) - 3, 2 * len(found) - 3
    assert twice * more >= once * grams + grams - 1e-9


def test_texts_are_measured_kept_and_reported(tmp_path: Path) -> None:
    model = Model(ScriptedEngine(hashed(sharpness=1.5)))
    (tmp_path / "specs.toml").write_text('[greedy]\npolicy = "greedy"\n[hot]\npolicy = "sample:temperature=2"\n')
    args = Namespace(texts=2, seed=0, max_tokens=60)
    rows = []
    for spec in read_specs([str(tmp_path / "specs.toml")]):
        for n, texts in enumerate(texts_of(model, spec, range(3), args)):
            rows.append({"spec": spec.name, "prompt": n, **measured(texts)})
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"spec": "cut o')
    assert rows_of(tmp_path / "out.jsonl") == rows
    greedy, hot = rows[0], rows[3]
    assert hot["distinct-2"] > greedy["distinct-2"] > 0  # two greedy texts are the same
    assert hot["surprisal"] > greedy["surprisal"]
    first, second = report(tmp_path / "out.jsonl", None)[2:]
    assert first.startswith("| greedy | 3 | 0.")
    assert second.startswith("| hot | 3 | 0.")
    assert first.endswith("| – |")
