"""The page as a debugger: go on from a token's alternative, change a message, see where two answers part."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.trace import read_trace

Serving = Callable[..., str]


@pytest.fixture
def chat(visit: Callable[..., Any], serving: Serving) -> Callable[..., Any]:
    def open_page(engine: Any = None, **options: Any) -> Any:
        seen = visit(serving(engine or ScriptedEngine(hashed(3.0), sequences=24)), **options)
        page = seen.page
        page.errors = seen.errors
        page.sent = []
        page.on("request", lambda r: page.sent.append(json.loads(r.post_data)) if r.method == "POST" else None)
        page.locator("#model", has_text="scripted").wait_for()
        page.fill("#max-tokens", "24")
        return page

    return open_page


def ask(page: Any, text: str, seed: str = "7") -> None:
    page.fill("#seed", seed)
    page.fill("#message", text)
    page.keyboard.press("Enter")
    done(page)


def done(page: Any) -> None:
    page.locator("#stop:disabled").wait_for(timeout=30_000)
    page.locator("#status", has_text="done").wait_for(timeout=30_000)


def words(locator: Any) -> str:
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def tokens(page: Any) -> list[int]:
    found: list[int] = page.evaluate(
        "JSON.parse(sessionStorage['entropix.said']).columns[0].turns.at(-1).data.steps.map((s) => s.token)"
    )
    return found


def force(page: Any, index: int, nth: int = 0) -> str:
    """Go on from the nth other candidate of a token; its label."""
    page.locator(".turn").last.locator(f".answer .t[data-i='{index}']").click()
    button = page.locator(".views > :visible .force").nth(nth)
    label: str = button.inner_text()
    button.click()
    done(page)
    return label


def test_a_click_on_a_candidate_goes_on_from_there_and_keeps_what_came_before(chat: Any) -> None:
    page = chat()
    ask(page, "Hello?")
    before = tokens(page)
    text = page.locator(".answer").text_content()
    label = force(page, 5)
    after = tokens(page)
    assert after[:5] == before[:5]
    assert after[5] != before[5]
    assert len(after) == 24, "the tokens that are kept count among those of the answer"
    ours = page.sent[-1]["entropix"]
    assert ours["prefix"] == after[:6]
    assert (page.sent[-1]["seed"], page.sent[-1]["max_tokens"]) == (7, 18)
    assert page.locator(".answer .t.forced").get_attribute("data-i") == "5"
    assert f"take 2 of 2: “{label}” at token 6" in words(page.locator(".takes"))
    page.locator(".answer .t.forced").hover()
    assert "Put here by you; the model went on from it." in words(page.locator(".exv-detail"))
    page.get_by_role("button", name="the take before").click()
    assert page.locator(".answer").text_content() == text
    assert tokens(page) == before
    page.get_by_role("button", name="the next take").click()
    assert tokens(page) == after


def test_a_take_is_what_the_next_message_goes_on_from_and_what_a_trace_holds(chat: Any, tmp_path: Path) -> None:
    page = chat()
    ask(page, "Hello?")
    force(page, 3)
    page.locator(".export summary").click()
    with page.expect_download() as download:
        page.locator("[data-export=jsonl]").click()
    download.value.save_as(tmp_path / "t.jsonl")
    page.keyboard.press("Escape")
    trace = read_trace(tmp_path / "t.jsonl")
    result = trace.answers[0].result
    assert result is not None
    assert list(result.tokens) == tokens(page)
    assert [step.index for step in result.steps] == list(range(24))
    assert result.text == page.locator(".answer").text_content() == "".join(step.text for step in result.steps)
    assert any("the first 4 tokens were given" in note for note in result.notes)
    said = page.locator(".answer").text_content()
    ask(page, "More?")
    assert page.sent[-1]["messages"][1] == {"role": "assistant", "content": said}


def test_a_character_begun_by_the_chosen_token_is_whole(chat: Any) -> None:
    page = chat(ScriptedEngine(saying("Grüße!", certainty=6), sequences=24))
    ask(page, "Hello?")
    assert page.locator(".answer").text_content() == "Grüße!"
    page.locator(".answer .t[data-i='3']").click()  # the second byte of ü
    page.locator(".views > :visible .force").first.click()
    done(page)
    text = page.locator(".answer").text_content()
    steps = page.evaluate(
        "JSON.parse(sessionStorage['entropix.said']).columns[0].turns[0].data.steps.map((s) => s.text)"
    )
    assert "".join(steps) == text
    assert text.endswith("ße!"), "what follows is read as if the answer had said it all"


def test_a_token_that_ends_the_answer_cannot_be_gone_on_from(chat: Any) -> None:
    page = chat(ScriptedEngine(saying("", certainty=2, after=b"never"), sequences=24))
    page.evaluate("1")
    ask(page, "Hello?")
    end = page.locator(".views > :visible .force", has_text="<end>")
    for index in range(page.locator(".answer .t").count()):
        page.locator(f".answer .t[data-i='{index}']").click()
        if end.count():
            asked = len(page.sent)
            end.click()
            page.locator("#status", has_text="“<end>” ends the answer, so nothing goes on from it").wait_for()
            assert len(page.sent) == asked
            return
    pytest.skip("the end was no candidate of any token")


def test_what_is_gone_on_from_an_effort_is_one_text(chat: Any) -> None:
    page = chat(ScriptedEngine(saying("It is 9.", certainty=8), sequences=24))
    page.locator("[data-kind=effort] select").select_option("low")
    ask(page, "How many are left?")
    assert page.locator(".turn .vote").count() == 1
    force(page, 2)
    assert page.sent[-1]["entropix"]["search"] == "none"
    assert "effort" not in page.sent[-1]["entropix"]
    assert page.locator(".turn .vote").count() == 0
    page.get_by_role("button", name="the take before").click()
    assert page.locator(".turn .vote").count() == 1


def test_a_refusal_of_a_take_stands_with_it_and_leaves_the_others(chat: Any) -> None:
    page = chat()
    ask(page, "Hello?")
    text = page.locator(".answer").text_content()
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=503, json={"error": {"message": "no"}}))
    page.locator(".answer .t[data-i='2']").click()
    page.locator(".views > :visible .force").first.click()
    page.locator(".turn [role=alert]", has_text="The server cannot answer now.").wait_for()
    page.unroute("**/v1/chat/completions")
    page.errors.clear()  # the browser logs the status itself
    page.get_by_role("button", name="the take before").click()
    assert page.locator(".answer").text_content() == text
    page.get_by_role("button", name="the next take").click()
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert tokens(page)[2] == page.sent[-1]["entropix"]["prefix"][2]


def test_a_message_is_changed_and_asked_again_in_every_column(chat: Any) -> None:
    page = chat()
    ask(page, "One?")
    ask(page, "Two?")
    page.get_by_role("button", name="Compare").click()
    ask(page, "Three?")
    page.locator(".column").first.locator(".turn").nth(1).hover()
    page.locator(".column").first.locator(".turn").nth(1).get_by_role("button", name="Edit").click()
    page.locator(".change textarea").fill("Zwei?")
    page.keyboard.press("Enter")
    done(page)
    assert page.locator(".column").first.locator(".user").all_inner_texts() == ["One?", "Zwei?"]
    asked = [[m["content"] for m in sent["messages"] if m["role"] == "user"] for sent in page.sent[-2:]]
    assert asked == [["One?", "Zwei?"]] * 2
    assert page.sent[-1]["seed"] == page.sent[-2]["seed"]


def test_changing_a_message_can_be_left(chat: Any) -> None:
    page = chat()
    ask(page, "One?")
    page.locator(".turn").hover()
    page.get_by_role("button", name="Edit").click()
    page.locator(".change textarea").fill("Other?")
    page.keyboard.press("Escape")
    assert page.locator(".user").all_inner_texts() == ["One?"]
    assert len(page.sent) == 1


def test_where_two_answers_part_is_marked_over_a_table_of_what_each_has_cost(chat: Any) -> None:
    page = chat()
    page.get_by_role("button", name="Compare").click()
    ask(page, "Hello?")
    assert page.locator("#comparison tbody tr").count() == 2
    head = page.locator("#comparison thead th").all_inner_texts()
    assert head[1:] == ["tokens", "computed", "seconds", "uncertainty a token", "confidence", "answer"]
    one, other = (
        page.evaluate(f"JSON.parse(sessionStorage['entropix.said']).columns[{n}].turns[0].data.steps.map(s => s.token)")
        for n in range(2)
    )
    parts = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert f"They part at token {parts + 1}: A says" in words(page.locator("#comparison p"))
    assert [mark.get_attribute("data-i") for mark in page.locator(".t.differs").all()] == [str(parts)] * 2
    page.locator("#comparison p button").click()
    assert [mark.get_attribute("data-i") for mark in page.locator(".answer .t.on").all()] == [str(parts)] * 2
    page.get_by_role("button", name="Compare").click()
    assert page.locator("#comparison").is_hidden()
    assert page.locator(".t.differs").count() == 0


def test_answers_that_are_the_same_are_said_to_be(chat: Any) -> None:
    page = chat(ScriptedEngine(saying("Yes.", certainty=30), sequences=24))
    page.get_by_role("button", name="Compare").click()
    ask(page, "Hello?")
    assert "Both say the same, token by token." in words(page.locator("#comparison"))


def test_what_to_distrust_is_underlined_and_told_in_a_take_and_in_markdown_too(chat: Any) -> None:
    page = chat(ScriptedEngine(saying("It was built in 1889.", certainty=8), sequences=24))
    ask(page, "When?")
    for taken in (False, True):
        if taken:
            force(page, 3)
        doubted = page.locator(".answer .t.doubt")
        assert "".join(doubted.all_inner_texts()) == "1889"
        doubted.first.hover()
        told = words(page.locator(".views > :visible .distrust"))
        assert re.match(r"To distrust: the number “1889” as a whole has \d\d%\. Instead of “.”: ", told)
        page.locator("#markdown").check()
        assert "".join(page.locator(".answer .t.doubt").all_inner_texts()) == "1889"
        page.locator("#markdown").uncheck()
