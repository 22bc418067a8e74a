"""What a newcomer sees first, and traces that are opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.model import Model
from entropix.policies import POLICIES
from entropix.search import STRATEGIES
from entropix.trace import Answer, Trace, TraceWriter, make_header
from entropix.trace.html import write_document

Serving = Callable[..., str]


@pytest.fixture
def chat(visit: Callable[..., Any], serving: Serving) -> Callable[..., Any]:
    def open_page(engine: Any = None, **options: Any) -> Any:
        page = visit(serving(engine or ScriptedEngine(hashed(3.0), sequences=24)), **options).page
        page.locator("#model", has_text="scripted").wait_for()
        return page

    return open_page


def words(locator: Any) -> str:
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def test_every_policy_search_and_effort_has_its_sentence(chat: Any) -> None:
    page = chat()
    names = page.locator(".start dt").all_inner_texts()
    assert set(names) == {*POLICIES, *STRATEGIES, "none", "low", "medium", "high"}
    assert all(words(said).endswith(".") for said in page.locator(".start dd").all())
    page.locator(".start").get_by_role("button", name="greedy", exact=True).click()
    assert page.locator("[data-kind=policy] select").input_value() == "greedy"
    page.locator("[data-kind=policy] select").select_option("entropix")
    pressed = page.locator(".start [aria-pressed=true]").all_inner_texts()
    assert pressed == ["entropix", "none"], "what is chosen is marked, wherever it was chosen"


def test_an_example_is_asked_by_a_click_with_its_effort(chat: Any) -> None:
    page = chat(ScriptedEngine(saying("It is 27.", certainty=20), sequences=24))
    assert page.locator(".examples button").count() == 3
    page.locator(".examples button").first.click()
    page.locator("#status", has_text="done").wait_for(timeout=30_000)
    assert "effort low" in words(page.locator(".foot .line"))
    assert page.locator(".start").count() == 0
    page.get_by_role("button", name="New chat").click()
    assert page.locator(".start").count() == 1


def result_of(engine: Any = None, **options: Any) -> Any:
    model = Model(engine or ScriptedEngine(hashed(3.0)))
    return model, model.generate("Why?", seed=3, max_tokens=12, **options)


def write(path: Path, model: Model, *results: Any, **header: Any) -> Path:
    head = make_header(
        model=model.info.name,
        fingerprint=header.get("fingerprint", model.info.fingerprint),
        policy="entropix",
        seed=3,
        thresholds=model.profile.thresholds,
        prompts=["Why?"] * len(results),
    )
    if path.suffix == ".html":
        write_document(Trace(head, tuple(Answer(n, "Why?", r.steps, r) for n, r in enumerate(results))), path)
        return path
    with TraceWriter(path, head) as writer:
        for n, result in enumerate(results):
            for step in result.steps:
                writer.step(n, step)
            writer.result(n, result)
    return path


def drop(page: Any, path: Path) -> None:
    """Drop a file on the page, as a person does."""
    data = page.evaluate_handle(
        """([name, text]) => {
        const data = new DataTransfer();
        data.items.add(new File([text], name));
        return data;
        }""",
        [path.name, path.read_text("utf-8")],
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": data})
    assert page.locator("body.dropping").count() == 1
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    assert page.locator("body.dropping").count() == 0


@pytest.mark.parametrize("name", ["t.jsonl", "t.html"])
def test_a_trace_that_is_dropped_is_shown_and_gone_on_from(chat: Any, tmp_path: Path, name: str) -> None:
    model, result = result_of()
    page = chat()
    drop(page, write(tmp_path / name, model, result))
    page.locator("#notice", has_text=f"{name}: 1 answer.").wait_for()
    assert page.locator(".user").inner_text() == "Why?"
    assert page.locator(".answer").text_content() == result.text
    assert page.locator(".answer .t").count() == len(result.steps)
    page.locator(".answer .t").nth(2).click()
    page.locator(".views > :visible .force").first.click()
    page.locator("#status", has_text="done").wait_for(timeout=30_000)
    assert "take 2 of 2" in words(page.locator(".takes")), "a trace of this model can be gone on from"


def test_a_trace_of_another_model_is_shown_and_cannot_be_changed(chat: Any, tmp_path: Path) -> None:
    model, result = result_of()
    page = chat()
    page.set_input_files("#file", write(tmp_path / "t.jsonl", model, result, result, fingerprint="another"))
    page.locator("#notice", has_text="It is of another model, scripted: its tokens cannot be changed here.").wait_for()
    assert page.locator(".turn").count() == 2
    page.locator(".answer .t").nth(2).click()
    assert page.locator(".candidates tbody tr").count() > 2
    assert page.locator(".force").count() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t.jsonl is no trace: it has no header"),
        ("{", "t.jsonl is no trace: line 1 is not JSON"),
        ('{"a": 1}', 't.jsonl is no trace: line 1 does not say "schema": "entropix.trace/1"'),
        ("null", 't.jsonl is no trace: line 1 does not say "schema": "entropix.trace/1"'),
        ('{"schema": "entropix.trace/1", "kind": "header"}', "t.jsonl is a trace without an answer"),
        ("<!doctype html><p>hi", "t.jsonl is a page, but not one of a trace"),
        (
            '{"schema": "entropix.trace/1", "kind": "header"}\n{"schema": "entropix.trace/1", "kind": "step"}',
            "a step of the trace has no text, label or token",
        ),
    ],
)
def test_a_file_that_is_no_trace_is_refused_in_words(chat: Any, tmp_path: Path, text: str, said: str) -> None:
    page = chat()
    path = tmp_path / "t.jsonl"
    path.write_text(text, "utf-8")
    drop(page, path)
    page.locator("#notice", has_text=said).wait_for()
    assert page.locator(".start").count() == 1, "what was there is still there"


def test_a_trace_that_was_cut_off_is_shown_as_far_as_it_goes(chat: Any, tmp_path: Path) -> None:
    model, result = result_of()
    path = write(tmp_path / "t.jsonl", model, result)
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(lines[:6]) + '\n{"schema": "entrop', "utf-8")
    page = chat()
    drop(page, path)
    page.locator("#notice", has_text="line 7 cannot be read and is left out").wait_for()
    assert page.locator(".answer .t").count() == 5
    assert "Ended early." in words(page.locator(".foot"))


def test_hostile_text_of_a_trace_stays_text(chat: Any, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    model, result = result_of(ScriptedEngine(saying(hostile, certainty=30)))
    page = chat()
    page.locator("#markdown").check()
    for name in ("t.jsonl", "t.html"):
        drop(page, write(tmp_path / name, model, result))
        page.locator("#notice", has_text=name).wait_for()
        assert page.locator(".answer").text_content() == result.text
        assert page.locator(".answer img, .answer script").count() == 0
