"""Faults of the page that people ran into, each by what it looks like now."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def chat(visit: Callable[..., Any], double: Any) -> Callable[..., Any]:
    def open_page(**options: Any) -> Any:
        seen = visit(double.address, **options)
        seen.page.locator("#model", has_text="scripted").wait_for()
        return seen

    return open_page


def ask(page: Any, text: str) -> None:
    page.fill("#message", text)
    page.keyboard.press("Enter")


def test_e27_a_message_that_was_refused_can_be_edited(chat: Any, double: Any) -> None:
    seen = chat()
    page = seen.page
    double.fail = (400, "the prompt has 9000 tokens", {})
    ask(page, "too long")
    page.get_by_role("button", name="Edit the message").click()
    assert page.input_value("#message") == "too long"
    assert page.locator(".turn").count() == 0
    seen.errors.clear()  # the browser logs the refused request
    double.fail = None
    ask(page, "short")
    page.locator("#status", has_text="done").wait_for()
    assert [m["content"] for m in double.asked[-1]["messages"]] == ["short"]


def test_e27_what_was_typed_meanwhile_is_kept(chat: Any, double: Any) -> None:
    seen = chat()
    double.fail = (400, "the prompt has 9000 tokens", {})
    ask(seen.page, "too long")
    seen.page.get_by_role("button", name="Edit the message").wait_for()
    seen.page.fill("#message", "more")
    seen.page.get_by_role("button", name="Edit the message").click()
    assert seen.page.input_value("#message") == "too long\nmore"
    seen.errors.clear()


def test_e27_a_default_that_0_stands_for_is_what_the_field_says(chat: Any, double: Any) -> None:
    given = double.info

    def info() -> dict[str, Any]:
        record = given()
        doc = "samples; 0: 4, or 1 where a tree makes the ballots"
        n = {"name": "n", "default": 0, "low": 0, "high": 9, "doc": doc}
        record["searches"].append({"name": "vote", "summary": "votes", "parameters": [n]})
        return record

    double.info = info
    page = chat().page
    page.locator("[data-kind=search] select").select_option("vote")
    page.locator("[data-kind=search] summary").click()
    assert page.locator("[name=n]").get_attribute("placeholder") == "4, or 1 where a tree makes the ballots"


def test_e27_settings_are_folded_on_a_phone_and_open_elsewhere(chat: Any) -> None:
    page = chat(**PHONE).page
    assert not page.locator("#seed").is_visible()
    page.get_by_text("Settings", exact=True).click()
    assert page.locator("#seed").is_visible()
    wide = chat().page
    assert wide.locator("#seed").is_visible()
    assert not wide.get_by_text("Settings", exact=True).is_visible()


def test_e27_a_setting_that_is_wrong_unfolds_them(chat: Any) -> None:
    page = chat(**PHONE).page
    page.evaluate("document.getElementById('max-tokens').value = '0'")
    ask(page, "hi")
    assert page.locator("#max-tokens").is_visible()


def test_e27_the_result_of_a_vote_stands_under_the_answer(chat: Any, double: Any) -> None:
    page = chat().page
    page.locator("[data-kind=search] select").select_option("custom…")
    page.fill("[name=spec]", "vote:n=3,answer=text,stop=none")
    ask(page, "How many?")
    page.locator("#status", has_text="done").wait_for()
    vote = page.locator(".turn .vote")
    assert re.search(r"sure\s+3 of 3 texts agree; share of the ballots, not calibrated\.", vote.inner_text())
    box, conversation = vote.bounding_box(), page.locator(".conversation").bounding_box()
    assert box["y"] + box["height"] <= conversation["y"] + conversation["height"] + 1


def done(page: Any) -> None:
    page.locator("#stop:disabled").wait_for()
    page.locator("#status", has_text="done").wait_for()


def test_the_result_of_a_comparison_is_in_sight_above_its_table(chat: Any) -> None:
    page = chat().page
    page.get_by_role("button", name="Compare").click()
    for question in ("One?", "Two?", "Three?"):
        ask(page, question)
        done(page)
    page.locator("#comparison table").wait_for()
    page.wait_for_function(
        "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))"
    )
    for n in range(2):
        column = page.locator(".column").nth(n)
        line, conversation = (
            column.locator(".foot .line").last.bounding_box(),
            column.locator(".conversation").bounding_box(),
        )
        assert line["y"] + line["height"] <= conversation["y"] + conversation["height"]


def test_on_a_phone_a_further_answer_is_where_one_looks(chat: Any) -> None:
    page = chat(**PHONE).page
    for question in ("One?", "Two?"):
        ask(page, question)
        done(page)
    said, composer = page.locator(".turn .user").last.bounding_box(), page.locator("#composer").bounding_box()
    assert 0 <= said["y"] < composer["y"]
    assert page.locator(".turn .answer").last.bounding_box()["y"] < composer["y"]


def test_labels_of_the_chart_do_not_lie_over_each_other(chat: Any) -> None:
    page = chat().page
    ask(page, "One?")
    done(page)
    boxes = [t.bounding_box() for t in page.locator(".views > :visible .strip text.tick[text-anchor=end]").all()]
    places = sorted((box["y"], box["height"]) for box in boxes)
    assert len(places) >= 4
    assert all(y + 0.75 * height < below for (y, height), (below, _) in pairwise(places))


def test_a_note_about_the_model_does_not_look_like_a_failure(chat: Any, double: Any) -> None:
    given = double.info
    double.info = lambda: {**given(), "notes": ["no profile of 'scripted' is known"]}
    seen = chat()
    page = seen.page
    note = page.locator("#notice.told", has_text="no profile")
    colour = "element => getComputedStyle(element).borderLeftColor"
    told = note.evaluate(colour)
    double.fail = (500, "the server failed on this request", {})
    ask(page, "One?")
    page.locator(".turn .failure").wait_for()
    assert page.locator(".turn .failure").evaluate(colour) != told
    assert page.locator("#notice").is_hidden()
    seen.errors.clear()  # the browser logs the status itself


def test_a_key_that_was_typed_outlives_a_reload(visit: Callable[..., Any], double: Any) -> None:
    double.key = "open-sesame-123456"
    seen = visit(double.address)
    seen.page.locator("#key:focus").wait_for()
    seen.errors.clear()
    seen.page.keyboard.type(double.key)
    seen.page.keyboard.press("Enter")
    seen.page.locator("#model", has_text="scripted").wait_for()
    seen.page.reload()
    seen.page.locator("#model", has_text="scripted").wait_for()
    ask(seen.page, "Open?")
    done(seen.page)


def test_e27_the_outline_of_a_dot_lies_under_the_dots_and_cannot_cover_a_crowd(chat: Any) -> None:
    page = chat().page
    colour = page.evaluate(
        """() => {
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        svg.innerHTML = '<path class="dot c-flow"/>';
        document.body.append(svg);
        const style = getComputedStyle(svg.firstChild);
        return [style.paintOrder, style.stroke, style.fill];
        }"""
    )
    assert colour[0].startswith("stroke")
    assert colour[1] != colour[2]
