"""Traces on disk: what is written can be read, and what cannot be written or read is said."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.errors import TraceError
from entropix.trace import SCHEMA, TraceWriter, check_writable, make_header, read_trace, to_json
from entropix.trace.records import result_from, result_record, step_from, step_record
from entropix.types import Action, Candidate, Ledger, Regime, Result, Step

HEADER = make_header(model="tiny", fingerprint="f0", policy="entropix", prompts=["hello"])


def step(index: int = 0, text: str = "a", **changes: Any) -> Step:
    plain = Step(index, index + 5, 7, text, text, Regime.FLOW, Action.SAMPLE, 0.5, 0.25, logprob=-0.125, rank=0)
    return replace(plain, **changes)


def result(*steps: Step, **changes: Any) -> Result:
    plain = Result(
        text="".join(s.text for s in steps),
        finish_reason="end",
        tokens=tuple(s.token for s in steps),
        prompt_tokens=5,
        steps=steps,
        ledger=Ledger(prompt=5, sampled=len(steps)),
        seed=3,
        policy="entropix",
        profile="generic",
        model="tiny",
        seconds=0.5,
    )
    return replace(plain, **changes)


def written(path: Path, *results: Result, header: dict[str, Any] = HEADER) -> Path:
    with TraceWriter(path, header) as writer:
        for n, r in enumerate(results):
            writer.result(n, r)
    return path


# any text at all, lone surrogates included; a pair of them is one character in JSON
texts = st.text(st.characters(exclude_categories=())).map(
    lambda t: t.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
reals = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: float(f"{x:.6g}")).filter(math.isfinite)
wholes = st.integers(0, 2**63)
steps = st.builds(
    Step,
    index=wholes,
    position=wholes,
    token=wholes,
    label=texts,
    text=texts,
    regime=st.sampled_from(Regime),
    action=st.sampled_from(Action),
    entropy=st.none() | reals,
    varentropy=st.none() | reals,
    attention=st.none() | st.tuples(reals, reals, reals, reals),
    temperature=st.none() | reals,
    top_k=st.none() | wholes,
    top_p=st.none() | reals,
    min_p=st.none() | reals,
    candidates=wholes,
    logprob=st.none() | reals,
    rank=st.none() | wholes,
    drawn=st.lists(wholes, max_size=3).map(tuple),
    horizon=st.none() | wholes,
    leading=st.lists(st.builds(Candidate, wholes, texts, reals, reals), max_size=3).map(tuple),
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_any_step_comes_back_as_it_was(original: Step) -> None:
    line = to_json(step_record(original))
    line.encode("utf-8")
    assert not set(line) & {"\n", "\x85", "\x9b", "\u2028", "\x1b"}
    assert step_from(json.loads(line)) == original


@given(texts, st.lists(texts, max_size=3), st.integers(-(2**63), 2**63))
@settings(max_examples=30, deadline=None)
def test_any_result_comes_back_as_it_was(text: str, notes: list[str], seed: int) -> None:
    original = result(step(0, text), seed=seed, notes=tuple(notes), ledger=Ledger(1, 2, 3, 4, 5, 6, 7, 8, 9))
    record = json.loads(to_json(result_record(original)))
    assert result_from(record, {}, original.steps) == original
    assert record["ledger"]["forwarded"] == original.ledger.forwarded


def test_a_whole_trace_comes_back_with_header_steps_and_results(tmp_path: Path) -> None:
    first, second = result(step(0, "Grüße "), step(1, "😀")), result(step(0, "\x1b[31m\n"))
    trace = read_trace(written(tmp_path / "t.jsonl", first, second))
    assert [answer.result for answer in trace.answers] == [first, second]
    assert trace.answers[0].text == "Grüße 😀"
    assert [answer.prompt for answer in trace.answers] == ["hello", None]
    assert trace.header["model"] == "tiny"
    assert trace.problems == ()


def test_every_line_is_json_with_schema_and_kind_and_keeps_non_ascii(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", result(step(0, "Grüße 😀")))
    lines = path.read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["kind"] for r in records] == ["header", "step", "result"]
    assert {r["schema"] for r in records} == {SCHEMA}
    assert "Grüße 😀" in lines[1]
    assert records[1]["regime"] == "flow"
    assert records[1]["action"] == "sample"


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    odd = step(0, entropy=math.nan, logprob=-math.inf, leading=(Candidate(1, "a", math.nan, 0.5),))
    record = json.loads(to_json(step_record(odd)))
    assert record["entropy"] is None
    assert record["logprob"] is None
    assert record["leading"] == [[1, "a", None, 0.5]]
    assert math.isnan(step_from(record).leading[0].before)


def test_numbers_of_array_libraries_and_paths_are_plain_json() -> None:
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": Path("x"), "d": (True, None), 5: np.float64("nan")}
    assert json.loads(to_json(values)) == {"a": 0.5, "b": 3, "c": "x", "d": [True, None], "5": None}


def test_the_result_brings_the_steps_that_were_not_written_yet(tmp_path: Path) -> None:
    done = result(step(0, "a"), step(1, "b"), finish_reason="cancelled")
    with TraceWriter(tmp_path / "t.jsonl", HEADER) as writer:
        writer.step(0, done.steps[0])
        writer.result(0, done)
    assert read_trace(tmp_path / "t.jsonl").answers[0].result == done


def test_every_line_is_in_the_file_before_the_next_token(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t.jsonl", HEADER)
    writer.step(0, step())
    assert len(read_trace(tmp_path / "t.jsonl").answers[0].steps) == 1
    writer.close()


def test_prompts_of_later_turns_are_read(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.jsonl", make_header(model="m", fingerprint="", policy="p")) as writer:
        for n, prompt in enumerate(("one", "two")):
            writer.prompt(n, prompt)
            writer.result(n, result(step()))
    assert [a.prompt for a in read_trace(tmp_path / "t.jsonl").answers] == ["one", "two"]


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_trace_cut_off_in_its_last_line_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "t.jsonl", result(step(0, "a"), step(1, "b")))
    path.write_bytes(path.read_bytes()[: -1 - cut])
    trace = read_trace(path)
    assert trace.answers[0].text == "ab"
    assert trace.answers[0].result is None
    assert "line 4 is cut off" in trace.problems[0]
    assert "answer 1 has no result: the run ended after 2 tokens" in trace.problems[1]


def test_a_trace_without_its_last_line_break_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", result(step()))
    path.write_bytes(path.read_bytes()[:-1])
    assert read_trace(path).problems == ()


def test_a_trace_cut_inside_a_character_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", result(step(0, "a"), step(1, "😀")))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex("😀".encode()) + 2])
    assert read_trace(path).answers[0].text == "a😀"


def test_lines_and_fields_of_later_minor_versions_are_ignored(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", result(step()))
    with path.open("a") as file:
        file.write(json.dumps({"schema": SCHEMA, "kind": "weather", "sun": True}) + "\n")
    assert read_trace(path).answers[0].result is not None


def line(kind: str, **fields: Any) -> str:
    return json.dumps({"schema": SCHEMA, "kind": kind, **fields})


STEP = {"answer": 0, **json.loads(to_json(step_record(step())))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n", "line 1 is not JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1 is not UTF-8 text (byte 0x89 at offset 0"),
        (b"GGUF\x03\x00\x00\x00" * 9, "line 1 is not JSON"),
        (b"hello\nworld\n", "line 1 is not JSON"),
        (b"[1, 2]\n", "line 1 is not a JSON object"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'{"name": "value"}\n', "line 1 is no line of a trace"),
        (b'{"schema": "entropix.trace/9", "kind": "header"}\n', "reads 'entropix.trace/1'"),
        (line("step", **STEP).encode() + b"\n", "line 1 is a step, not a header"),
        (line("header").encode() + b"\ngarbage\n" + line("header").encode(), "line 2 is not JSON"),
        (f"{line('header')}\n{line('header')}\n".encode(), "line 2: a second header"),
        (f"{line('header')}\n{line('step', answer=0)}\n".encode(), "line 2: 'index' is missing"),
        (f"{line('header')}\n{line('step', answer=-1)}\n".encode(), "line 2: 'answer'"),
        (f"{line('header')}\n{line('step', **{**STEP, 'regime': 'x'})}\n".encode(), "line 2: 'regime' is 'x'; known"),
        (f"{line('header')}\n{line('step', **{**STEP, 'entropy': 'x'})}\n".encode(), "line 2: 'entropy' is not a num"),
        (f"{line('header')}\n{line('step', **{**STEP, 'leading': [[1]]})}\n".encode(), "line 2: 'leading'"),
        (f"{line('header', prompts=3)}\n".encode(), "line 1: 'prompts' is not a list"),
        (f"{line('header')}\n{line('result', answer=0, text=3)}\n".encode(), "line 2: 'text' is not a string"),
        (f"{line('header')}\n{line('result', answer=0, text='', finish_reason='', ledger=3)}\n".encode(), "'ledger'"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_trace_that_does_not_exist_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        read_trace(tmp_path / "none.jsonl")
    with pytest.raises(TraceError, match="directory"):
        read_trace(tmp_path)


def test_where_no_trace_can_be_written_is_found_at_open(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="it is a folder"):
        TraceWriter(tmp_path, HEADER)
    with pytest.raises(TraceError, match=r"there is no folder .*missing"):
        TraceWriter(tmp_path / "missing" / "t.jsonl", HEADER)


def test_a_file_that_may_not_be_written_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("precious")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(TraceError, match="permission denied"):
        check_writable(path)
    assert path.read_text() == "precious"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_found_at_open() -> None:
    with pytest.raises(TraceError, match=r"'/dev/full': no space left on the device"):
        TraceWriter("/dev/full", HEADER)


def test_a_write_that_fails_later_is_remembered_and_raised_by_close(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    writer = TraceWriter(path, HEADER)
    writer.step(0, step(0, "kept"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
        for n in range(3):
            writer.step(0, step(n + 1, "lost"))
        assert writer.error is not None
        with pytest.raises(TraceError, match=r"cannot write the trace .*t\.jsonl': file too large"):
            writer.close()
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    trace = read_trace(path)
    assert trace.answers[0].text == "kept"
    assert len(trace.problems) == 2


def test_another_error_is_not_hidden_by_one_of_the_trace(tmp_path: Path) -> None:
    def interrupted() -> None:
        with TraceWriter(tmp_path / "t.jsonl", HEADER) as writer:
            writer.error = TraceError("full")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as error:
        interrupted()
    assert error.value.__notes__ == ["full"]
