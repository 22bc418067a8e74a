"""Calls of tools on the page: what is called, with what, and how probable that was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from helpers.templates import ADD, HERMES, WEATHER, templated

Serving = Callable[..., str]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris 🙂 <b>", "days": 3}}\n</tool_call>'
TOOLS = json.dumps([WEATHER, ADD])


def opened(visit: Callable[..., Any], serving: Serving, says: str, tools: str, **options: Any) -> Any:
    page = visit(serving(templated(HERMES, says)), **options).page
    page.locator("#model", has_text="scripted").wait_for()
    page.fill("#seed", "1")
    page.fill("#tools", tools)
    return page


def ask(page: Any) -> None:
    page.fill("#message", "How is the weather in Paris?")
    page.keyboard.press("Enter")
    page.locator("#status", has_text="done").wait_for(timeout=30_000)


def words(locator: Any) -> str:
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def test_a_call_is_shown_with_its_arguments_as_fields_and_how_probable_each_is(
    visit: Callable[..., Any], serving: Serving
) -> None:
    page = opened(visit, serving, CALL, TOOLS)
    ask(page)
    call = page.locator(".turn .call")
    assert words(call.locator(".said")) == "calls get_weather"
    assert re.fullmatch(r"calling \d+% · this function \d+%", words(call.locator(".source")))
    rows = [[words(cell) for cell in row.locator("th, td").all()] for row in call.locator("tr").all()]
    assert [row[:2] for row in rows] == [["city", "Paris 🙂 <b>"], ["days", "3"]]
    assert all(re.fullmatch(r"\d+(\.\d)?%", row[2]) for row in rows)
    assert call.locator("td b").count() == 0, "what a model says is text"


def test_two_calls_stand_apart_and_nothing_is_unsure_at_100_percent(
    visit: Callable[..., Any], serving: Serving
) -> None:
    second = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    page = opened(visit, serving, f"{CALL}\n{second}", TOOLS)
    ask(page)
    above, below = (call.bounding_box() for call in page.locator(".turn .call").all())
    assert below["y"] - above["y"] - above["height"] >= 4
    assert not re.search(r"Least sure of .*: 100%", words(page.locator(".foot")))


def test_an_answer_that_calls_nothing_says_how_probable_a_call_was(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, "It rains.", TOOLS)
    ask(page)
    assert "called no tool" in words(page.locator(".turn .call"))


def test_without_tools_there_is_no_word_of_calls(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, "It rains.", "")
    ask(page)
    assert page.locator(".turn .call").count() == 0


@pytest.mark.parametrize("tools", ["[", "{}", "[1]", '[{"type": "function"}]'])
def test_what_is_no_list_of_tools_is_said_at_the_field_and_nothing_is_sent(
    visit: Callable[..., Any], serving: Serving, tools: str
) -> None:
    page = opened(visit, serving, "It rains.", tools)
    page.fill("#message", "How?")
    page.keyboard.press("Enter")
    said = page.locator("#tools").evaluate("field => field.validationMessage")
    assert said.startswith("A JSON list of tools")
    assert page.locator(".turn").count() == 0
