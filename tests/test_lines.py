"""What results, steps and traces show of themselves: a line, however much there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.lines import percent, quoted
from entropix.trace import TraceWriter, make_header, read_trace

LONG = "A long answer,\nof many lines 🙂 \x1b[31m and signs.\n" * 8


def answered(text: str = LONG, **options: Any) -> entropix.Result:
    return entropix.Model(ScriptedEngine(saying(text, certainty=20))).generate("hi", seed=1, **options)


def is_a_line(value: object) -> bool:
    shown = repr(value)
    return shown.isprintable() and len(shown) < 300 and shown.startswith(type(value).__name__ + "(")


def test_a_result_is_a_line_and_its_text_what_is_printed() -> None:
    result = answered()
    assert len(result.steps) > 300
    assert is_a_line(result)
    for part in ("'A long answer,", f"{len(result.tokens)} tokens", "end", "seed=1", "policy='entropix'"):
        assert part in repr(result)
    assert str(result) == f"{result}" == result.text == LONG


def test_an_empty_result_is_a_line() -> None:
    result = answered("")
    assert is_a_line(result)
    assert repr(result).startswith("Result('', 1 token, end, mean_entropy=")


def test_a_step_is_a_line_that_says_token_probability_and_regime() -> None:
    step = answered().steps[14]
    assert is_a_line(step)
    assert repr(step).startswith("Step(14, '")
    assert f"entropy={step.entropy:.3g}" in repr(step)
    assert repr(step).endswith(f"{step.regime.label})")


def test_steps_of_an_injected_text_which_have_no_signals_are_lines() -> None:
    step = answered("ab").steps[0]
    step.entropy = step.logprob = None
    assert is_a_line(step)
    assert "entropy" not in repr(step)


def test_a_search_and_its_branches_are_lines_and_say_the_vote() -> None:
    result = answered("It is 42.", search="vote:n=4,answer=number", policy="sample")
    assert result.search is not None
    assert is_a_line(result.search)
    assert "answer='42', confidence=100%" in repr(result)
    assert "answer='42', confidence=100%" in repr(result.search)
    assert all(is_a_line(branch) for branch in result.search.branches)


def test_a_trace_and_its_answers_are_lines(tmp_path: Path) -> None:
    result = answered()
    header = make_header(
        model="m" * 300, fingerprint="f", engine="Scripted", policy="entropix", parameters={}, seed=1, profile="p",
        thresholds=result.thresholds, prompts=["hi"],
    )  # fmt: skip
    with TraceWriter(tmp_path / "t.jsonl", header) as writer:
        for step in result.steps:
            writer.step(0, step)
    trace = read_trace(tmp_path / "t.jsonl")
    assert is_a_line(trace)
    assert is_a_line(trace.answers[0])
    assert "not ended" in repr(trace.answers[0])


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0%"), (1e-9, "<1%"), (0.5, "50%"), (0.999, ">99%"), (1.0, "100%")])
def test_a_share_that_is_not_certain_never_reads_as_certain(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_a_quoted_text_says_that_it_goes_on() -> None:
    assert quoted("a" * 60) == repr("a" * 60)
    assert quoted("a" * 61) == repr("a" * 59 + "…")
