"""A trace as one HTML file: what is in it, where it can be written, and the notebook's frame."""

from __future__ import annotations

import html
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.errors import TraceError
from entropix.model import Model
from entropix.trace import Answer, Trace, TraceWriter, make_header, read_trace
from entropix.trace.html import DATA, VIEWER, document, shell, write_document
from entropix.types import Result, Thresholds

THRESHOLDS = Thresholds(1.0, 3.0, 2.0, 5.0)
HOSTILE = "</script><!-- \u2028 <img src=x>"


def answered(text: str = "Hello") -> Result:
    result: Result = Model(ScriptedEngine(saying(text, certainty=20))).generate("hi", seed=1)
    return result


def trace_of(*results: Result) -> Trace:
    header = make_header(model="tiny", fingerprint="f", policy="entropix", thresholds=THRESHOLDS)
    return Trace(header, tuple(Answer(n, HOSTILE, r.steps, r) for n, r in enumerate(results)))


def test_the_document_holds_the_trace_once_and_nothing_of_it_as_markup() -> None:
    text = document(trace_of(answered(HOSTILE)))
    data = re.search(r'<script type="application/json" id="trace">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    answer = json.loads(data[1])["answers"][0]
    assert (answer["prompt"], answer["result"]["text"]) == (HOSTILE, HOSTILE)
    assert shell().count(DATA) == 1
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", shell())
    assert "default-src 'none'" in text


def test_the_document_holds_what_to_distrust_and_the_values_of_a_json_answer() -> None:
    said = Model(ScriptedEngine(saying('{"who": "Anna"}', certainty=5))).generate("hi", policy="greedy", seed=1)
    data = re.search(r'id="trace">(.*?)</script>', document(trace_of(said)), re.DOTALL)
    assert data is not None
    result = json.loads(data[1])["answers"][0]["result"]
    (span,) = result["spans"]
    assert (span["kind"], span["text"], span["first"], span["last"]) == ("value", "Anna", 9, 12)
    assert 0 < span["probability"] < 0.9
    assert result["fields"]["who"]["value"] == "Anna"


def test_a_page_that_cannot_be_written_is_one_message_and_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot write the page .*missing.*: there is no such folder"):
        write_document(trace_of(), tmp_path / "missing" / "x.html")
    with pytest.raises(TraceError, match="is a directory"):
        write_document(trace_of(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_message() -> None:
    with pytest.raises(TraceError, match="cannot write the page '/dev/full': no space left on device"):
        write_document(trace_of(), "/dev/full")


def test_header_and_thresholds_come_back_from_a_trace_and_old_traces_have_none(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with TraceWriter(path, make_header(model="m", fingerprint="f", policy="p", thresholds=THRESHOLDS)) as writer:
        writer.result(0, answered())
    found = read_trace(path).answers[0].result
    assert found is not None
    assert found.thresholds == THRESHOLDS
    lines = path.read_text("utf-8").splitlines()
    old = {key: value for key, value in json.loads(lines[0]).items() if key != "thresholds"}
    path.write_text("\n".join([json.dumps(old), *lines[1:]]), "utf-8")
    before = read_trace(path).answers[0].result
    assert before is not None
    assert before.thresholds is None
    path.write_text("\n".join([json.dumps({**old, "thresholds": {"entropy_low": 1}}), *lines[1:]]), "utf-8")
    with pytest.raises(TraceError, match="line 1: 'thresholds' is not an object with the numbers entropy_low"):
        read_trace(path)


def test_a_result_shows_itself_in_a_notebook_in_a_frame_of_its_own(visit: Callable[..., Any], tmp_path: Path) -> None:
    answer = Model(ScriptedEngine()).generate("hi", seed=1, max_tokens=5)
    frame = answer._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in frame
    source = html.unescape(re.search(r'srcdoc="(.*?)"', frame, re.DOTALL)[1])  # type: ignore[index]
    assert '"entropy_low"' in source
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset=utf-8><style>p {{ color: red }}</style>{frame}", "utf-8")
    page = visit(notebook.as_uri()).page
    inside = page.frame_locator("iframe")
    assert inside.locator("#text .t").count() == 5
    inside.locator("#text .t").nth(2).hover()
    assert "token\u00a03" in inside.locator(".exv-detail").inner_text()


def test_the_wheel_has_the_viewer(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.builders.wheel", reason="needs hatchling to build a wheel")
    root = Path(entropix.__file__).parents[2]
    wheel = next(hatchling.WheelBuilder(str(root)).build(directory=str(tmp_path)))
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"entropix/trace/viewer/{path.name}" for path in VIEWER.iterdir()} <= set(names)
