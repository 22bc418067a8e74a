"""The 3-D view: entropy, varentropy and place, turned, pointed at, its planes switched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.model import Model
from entropix.trace.html import result_document


@pytest.fixture
def space(visit: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def show(tokens: int = 40, **options: Any) -> Any:
        path = tmp_path / "answer.html"
        result = Model(ScriptedEngine(hashed(3.0))).generate("hi", seed=1, max_tokens=tokens)
        path.write_text(result_document(result), "utf-8")
        page = visit(path.as_uri(), **options).page
        page.get_by_role("button", name="3-D").click()
        page.wait_for_timeout(100)
        return page

    return show


def picture(page: Any) -> str:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    drawn: str = page.locator(".exv-space canvas").evaluate("canvas => canvas.toDataURL()")
    return drawn


def test_it_is_drawn_in_place_of_the_plane_and_goes_again(space: Callable[..., Any]) -> None:
    page = space()
    assert page.locator(".scatter").is_hidden()
    inked = page.locator(".exv-space canvas").evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((v) => v)"
    )
    assert inked
    assert "of 40 tokens" in page.locator(".exv-space canvas").get_attribute("aria-label")
    page.get_by_role("button", name="2-D").click()
    assert page.locator(".exv-space").is_hidden()
    assert page.locator(".scatter").is_visible()


def test_dragging_and_keys_turn_it_and_a_button_turns_it_back(space: Callable[..., Any]) -> None:
    page = space()
    first = picture(page)
    box = page.locator(".exv-space canvas").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, box["y"] + 60, steps=4)
    page.mouse.up()
    page.mouse.move(1, 1)
    turned = picture(page)
    assert turned != first
    page.locator(".exv-space canvas").focus()
    page.keyboard.press("ArrowLeft")
    assert picture(page) != turned
    page.get_by_role("button", name="Turn back").click()
    assert picture(page) == first


def test_every_plane_of_the_thresholds_can_be_switched(space: Callable[..., Any]) -> None:
    page = space()
    seen = {picture(page)}
    for name in ("entropy low", "entropy high", "varentropy low", "varentropy high"):
        page.get_by_label(name, exact=True).uncheck()
        seen.add(picture(page))
    assert len(seen) == 5, "each switch changes the picture"


def test_pointing_at_a_point_shows_its_token_and_a_click_keeps_it(space: Callable[..., Any]) -> None:
    page = space()
    page.locator(".exv-space canvas").scroll_into_view_if_needed()
    box = page.locator(".exv-space canvas").bounding_box()
    found = None
    for y in range(40, int(box["height"]), 9):
        for x in range(int(box["width"] * 0.25), int(box["width"] * 0.75), 12):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if page.locator("#text .t.on").count():
                found = (box["x"] + x, box["y"] + y)
                break
        if found:
            break
    assert found, "some point is near some place"
    index = page.locator("#text .t.on").get_attribute("data-i")
    page.mouse.click(*found)
    page.mouse.move(1, 1)
    assert page.locator("#text .t.on").get_attribute("data-i") == index
    assert f"token {int(index) + 1}" in page.locator(".exv-detail").inner_text().replace("\u00a0", " ")


def test_two_thousand_points_are_drawn_in_dark_too(space: Callable[..., Any]) -> None:
    page = space(2000, color_scheme="dark")
    before = picture(page)
    page.get_by_role("radio", name="regime").click()
    assert picture(page) != before, "the points take the tint that is chosen"
    page.locator(".exv-space canvas").focus()
    page.keyboard.press("+")
    assert picture(page) != before
