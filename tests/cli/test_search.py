"""Search on the command line and in the trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import hashed
from entropix.trace import read_trace

SPEC = "tree:trigger=entropy,threshold=0.5,max_sequences=3+vote:answer=text"
OPTIONS = ("--search", SPEC, "-p", "sample:temperature=0.9", "--seed", "3", "-n", "12")


@pytest.fixture
def unsure(cli: Any) -> Any:
    cli.script = hashed(sharpness=2.0)
    return cli


def test_the_tree_goes_into_the_trace_and_is_rendered_without_the_model(unsure: Any, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    shown = unsure("generate", *OPTIONS, "--show-tree", "--trace", str(file), "hi")
    assert shown.code == 0
    assert "search tree:" in shown.err
    (answer,) = read_trace(file).answers
    assert answer.result is not None
    search = answer.result.search
    assert search is not None
    assert len(search.branches) == 3
    assert search.ballots >= 1
    assert [b.kept for b in search.branches].count(True) == 1
    assert all(b.steps for b in search.branches)
    rendered = unsure("trace", str(file), "--tree")
    assert rendered.code == 0
    assert rendered.out.count("from token") == 3
    assert rendered.out.strip() in shown.err


def test_json_has_the_search(unsure: Any) -> None:
    record = json.loads(unsure("generate", "--json", *OPTIONS, "hi").out)
    assert 0 <= record["confidence"] <= 1
    assert len(record["search"]["branches"]) == 3


def test_a_trace_without_a_search_says_so(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    cli("generate", "--trace", str(file), "hi")
    outcome = cli("trace", str(file), "--tree")
    assert (outcome.code, outcome.out) == (0, "")
    assert "without a search" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--search", "forest"), "known are lookahead, branch, backtrack, tree, vote"),
        (("--search", "tree:max_sequences=999"), "sequences at a time"),
        (("--show-tree",), "give one with --search"),
    ],
)
def test_mistakes_are_named(cli: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli("generate", *arguments, "hi")
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())
    assert outcome.out == ""
