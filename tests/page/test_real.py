"""The page on the real server, with a scripted and with a real model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.cli import main
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine
from entropix.model import Model
from entropix.trace import read_trace

pytest.importorskip("fastapi", reason="needs the server: pip install 'entropix-llm[serve]'")


def ask(page: Any, text: str, tokens: int) -> None:
    page.fill("#seed", "5")
    page.fill("#max-tokens", str(tokens))
    page.fill("#message", text)
    page.keyboard.press("Enter")
    page.locator("#stop:disabled").wait_for(timeout=60_000)
    page.locator("#status", has_text=f"done: {tokens} tokens").wait_for()


def exported(page: Any, path: Path) -> Path:
    page.locator(".export summary").first.click()
    with page.expect_download() as download:
        page.locator("[data-export=jsonl]").first.click()
    download.value.save_as(path)
    return path


def test_chat_comparison_search_and_export_on_the_real_server(
    visit: Callable[..., Any], serving: Callable[[Engine], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine(context=1024, sequences=16)
    address = serving(engine)
    seen = visit(address)
    page = seen.page
    page.locator("#model", has_text="scripted").wait_for()
    page.get_by_role("button", name="Compare").click()
    search = page.locator(".column").first.locator("[data-kind=search]")
    search.locator("select").select_option("custom…")
    search.locator("[name=spec]").fill("vote:n=3,answer=text")
    ask(page, "Hello?", 24)
    texts = page.locator(".answer").all()
    assert [text.locator(".t").count() for text in texts] == [24, 24]
    assert texts[0].text_content() != texts[1].text_content()
    head = page.locator(".column").first.locator(".search summary")
    assert "vote:n=3,answer=text: 3 branches" in head.inner_text()
    path = exported(page, tmp_path / "t.jsonl")
    found = read_trace(path).answers[0].result
    own = Model(ScriptedEngine(context=1024)).generate(
        [{"role": "user", "content": "Hello?"}], seed=5, max_tokens=24, search="vote:n=3,answer=text"
    )
    assert found is not None
    assert found.tokens == own.tokens, "the page's answer is the one that Python gives"
    assert found.search is not None
    assert len(found.search.branches) == 3
    assert main(["trace", str(path), "--color", "never", "-q"]) == 0
    assert capfd.readouterr().out.rstrip("\n")
    assert all(url.startswith((address, f"blob:{address}")) for url in seen.requests)


def test_a_wrong_search_is_refused_in_the_servers_words(
    visit: Callable[..., Any], serving: Callable[[Engine], str]
) -> None:
    seen = visit(serving(ScriptedEngine()))
    page = seen.page
    search = page.locator("[data-kind=search]")
    search.locator("select").select_option("custom…")
    search.locator("[name=spec]").fill("treee")
    page.fill("#message", "Hello?")
    page.keyboard.press("Enter")
    page.locator(".turn [role=alert]", has_text="there is no search 'treee'; known are lookahead").wait_for()
    seen.errors.clear()  # the browser logs the status itself


def test_a_real_models_answer_is_read_off_text_and_chart(
    visit: Callable[..., Any], serving: Callable[[Engine], str], llama_engine: Engine, tmp_path: Path
) -> None:
    page = visit(serving(llama_engine)).page
    page.locator("#model", has_text="SmolLM2").wait_for()
    ask(page, "Name three rivers.", 32)
    answer = page.locator(".answer")
    answer.locator(".t").nth(5).hover()
    view = page.locator(".views > :visible")
    detail = re.sub(r"\s+", " ", view.locator(".exv-detail").inner_text())
    assert re.search(r"entropy \d\.\d\d nats varentropy \d+\.\d\d nats²", detail)
    assert re.search(r"attention entropy 0\.\d\d attention varentropy 0\.\d\d\d head agreement 0\.\d\d", detail)
    assert view.locator(".candidates tbody tr").count() >= 8
    # the highest bar of the chart is the token with the most entropy
    trace = read_trace(exported(page, tmp_path / "t.jsonl"))
    entropies = [step.entropy or 0 for step in trace.answers[0].steps]
    half = "all => all.slice(0, all.length / 2).map(bar => bar.getAttribute('d')).join('')"
    paths = view.locator(".strip .bar").evaluate_all(half)
    bars = [(float(y), float(x)) for x, y in re.findall(r"M([\d.]+) 88V([\d.]+)", paths)]
    assert len(bars) == 32
    highest = int((min(bars)[1] - 34) / 12)
    assert entropies[highest] == max(entropies)
    assert answer.text_content() == trace.answers[0].text
    assert json.dumps(trace.header["thresholds"]) == json.dumps(
        {"entropy_low": 1.367165, "entropy_high": 4.044779, "varentropy_low": 2.812318, "varentropy_high": 6.794056}
    )
