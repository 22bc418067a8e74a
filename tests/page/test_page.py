"""The page in a real browser: chat, point, compare, export; keyboard, phone, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entropix.serve.page import HERE, SECURITY, files
from entropix.trace import read_trace


@pytest.fixture
def chat(visit: Callable[..., Any], double: Any) -> Callable[..., Any]:
    """Opens the page of the stand-in server; nothing it asks for may be elsewhere."""

    def open_page(**options: Any) -> Any:
        seen = visit(double.address, **options)
        seen.page.on("request", lambda request: foreign.append(request.url) if outside(request.url) else None)
        seen.page.locator("#model", has_text="scripted").wait_for()
        return seen

    def outside(url: str) -> bool:
        return not url.startswith((double.address, f"blob:{double.address}"))

    foreign: list[str] = []
    yield open_page
    assert foreign == []


def ask(page: Any, text: str, seed: str = "7") -> None:
    page.fill("#seed", seed)
    page.fill("#message", text)
    page.keyboard.press("Enter")
    done(page)


def done(page: Any) -> None:
    page.locator("#stop:disabled").wait_for()
    page.locator("#status", has_text="done").wait_for()


def words(locator: Any) -> str:
    return re.sub(r"\s+", " ", locator.inner_text())


def test_a_chat_streams_tinted_tokens_and_sends_the_whole_conversation(chat: Any, double: Any) -> None:
    page = chat().page
    page.fill("#system", "Be brief.")
    ask(page, "How many?")
    answer = page.locator(".turn .answer").first
    assert answer.text_content() == double.says
    assert answer.locator(".t").count() == len(double.says) + 1, "a byte a token, and the end"
    assert len({c for t in answer.locator(".t").all() if (c := t.get_attribute("class"))}) > 3
    assert "entropix · seed 7 · 27 tokens · uncertainty" in words(page.locator(".foot"))
    ask(page, "Really?")
    assert [(m["role"], m["content"]) for m in double.asked[1]["messages"]] == [
        ("system", "Be brief."),
        ("user", "How many?"),
        ("assistant", double.says),
        ("user", "Really?"),
    ]
    first = double.asked[0]
    assert (first["model"], first["seed"], first["max_tokens"], first["stream"]) == ("scripted", 7, 512, True)
    ours = {"policy": "entropix", "parameters": {}, "search": "none", "steps": True, "leading": 8}
    assert first["entropix"] == ours


def test_pointing_at_a_token_shows_it_in_detail_and_in_the_charts_of_its_own_answer(chat: Any) -> None:
    page = chat().page
    ask(page, "One?")
    ask(page, "Two?")
    page.locator(".turn").first.locator(".answer .t").nth(4).hover()
    view = page.locator(".views > :visible")
    assert "token 5" in words(view.locator(".exv-detail"))
    assert view.locator(".candidates tbody tr").count() == 8
    assert page.locator(".turn.shown .user").inner_text() == "One?"
    strip = view.locator(".strip")
    assert strip.get_attribute("aria-valuenow") == "5"
    box = strip.bounding_box()
    page.mouse.move(box["x"] + 34 + 12 * 1.5, box["y"] + 60)
    assert page.locator(".turn").first.locator(".t.on").get_attribute("data-i") == "1"
    view.get_by_role("radio", name="probability").click()
    assert page.locator(".by-probability.exv-text").count() == 2, "a tint is chosen for all answers"


def test_two_policies_answer_the_same_prompt_with_the_same_seed_at_the_same_time(chat: Any, double: Any) -> None:
    double.pause = 0.02
    page = chat().page
    ask(page, "Before?")
    page.get_by_role("button", name="Compare").click()
    second = page.locator(".column").nth(1)
    assert "Goes on from 1 turn of A." in words(second)
    page.fill("#seed", "")
    page.fill("#message", "Both?")
    page.keyboard.press("Enter")
    for n in range(2):
        page.locator(".column").nth(n).locator(".turn").last.locator(".answer .t").nth(3).wait_for()
    assert page.locator("#stop").is_enabled(), "both stream while neither is done"
    done(page)
    one, other = sorted(double.asked[1:], key=lambda request: request["entropix"]["policy"])
    assert (one["entropix"]["policy"], other["entropix"]["policy"]) == ("entropix", "greedy")
    assert one["seed"] == other["seed"]
    assert one["messages"] == other["messages"]
    assert len(one["messages"]) == 3
    assert page.locator(".views > :visible .strip").count() == 2
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Compare").click()
    assert second.locator(".answer").last.text_content() == double.says, "the comparison is still there"


def test_what_is_set_for_policy_and_search_is_sent_and_nonsense_is_not(chat: Any, double: Any) -> None:
    page = chat().page
    policy, search = page.locator("[data-kind=policy]"), page.locator("[data-kind=search]")
    policy.locator("summary").click()
    policy.locator("[name=temperature]").fill("9")
    page.fill("#message", "Hot?")
    page.locator("#send").click()
    assert double.asked == []
    assert policy.locator("[name=temperature]:invalid").count() == 1
    assert page.input_value("#message") == "Hot?"
    policy.locator("[name=temperature]").fill("0.5")
    policy.locator("[name=inject]").fill("...")
    search.locator("select").select_option("tree")
    search.locator("summary").click()
    search.locator("[name=max_sequences]").fill("2")
    ask(page, "Hot?")
    assert double.asked[0]["entropix"]["parameters"] == {"temperature": 0.5}
    assert double.asked[0]["entropix"]["search"] == "tree:max_sequences=2"
    assert "tree:max_sequences=2" in words(page.locator(".exv-summary"))
    page.fill("#seed", "1.5")
    page.fill("#message", "Odd?")
    page.locator("#send").click()
    assert len(double.asked) == 1


def test_stopping_keeps_what_was_said_and_frees_the_server(chat: Any, double: Any) -> None:
    double.says, double.pause = double.says * 20, 0.05  # not at its end before a busy machine has found the button
    page = chat().page
    page.fill("#message", "Long?")
    page.keyboard.press("Enter")
    page.locator(".answer .t").nth(4).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator(".foot", has_text="Stopped.").wait_for()
    said = page.locator(".answer").text_content()
    assert double.says.startswith(said)
    assert said
    double.pause = 0
    ask(page, "More?")
    assert double.asked[1]["messages"][1] == {"role": "assistant", "content": said}
    assert double.gone == 1


def test_regenerate_answers_the_last_message_again_in_place(chat: Any, double: Any) -> None:
    page = chat().page
    ask(page, "Again?", seed="")
    page.get_by_role("button", name="Regenerate").click()
    done(page)
    assert page.locator(".turn").count() == 1
    assert double.asked[0]["messages"] == double.asked[1]["messages"]
    assert double.asked[0]["seed"] != double.asked[1]["seed"]


def exported(page: Any, kind: str, path: Path) -> Path:
    page.locator(".export summary").first.click()
    with page.expect_download() as download:
        page.locator(f"[data-export={kind}]").first.click()
    download.value.save_as(path)
    page.keyboard.press("Escape")
    return path


def test_the_exported_trace_is_read_as_one_the_command_line_wrote(chat: Any, double: Any, tmp_path: Path) -> None:
    double.says = "Grüße 😀\n</script> \u2028!"
    page = chat().page
    ask(page, "Hi 😀")
    ask(page, "<b>Ho</b>")
    path = exported(page, "jsonl", tmp_path / "t.jsonl")
    trace = read_trace(path)
    assert trace.problems == ()
    assert [answer.prompt for answer in trace.answers] == ["Hi 😀", "<b>Ho</b>"]
    expected = double.model.generate([{"role": "user", "content": "Hi 😀"}], seed=7)
    assert trace.answers[0].text == expected.text == double.says
    found = trace.answers[0].result
    assert found is not None
    assert [s.token for s in found.steps] == list(expected.tokens)
    assert found.ledger.sampled == expected.ledger.sampled
    assert found.thresholds is not None
    assert found.thresholds.entropy_low == pytest.approx(expected.thresholds.entropy_low)
    assert trace.header["parameters"] == {"temperature": 0.666, "inject": "..."}


def test_the_exported_page_opens_alone_and_shows_the_same(
    chat: Any, double: Any, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    double.says = "</script><img src=x onerror=alert(1)>"
    page = chat().page
    ask(page, "Hi")
    path = exported(page, "html", tmp_path / "t.html")
    alone = visit(path.as_uri())
    assert alone.page.locator("#text").text_content() == double.says
    assert alone.page.locator("#text .t").count() == page.locator(".answer .t").count()
    assert alone.requests == [path.as_uri()]


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        (
            (429, "the queue is full", {"Retry-After": "3"}),
            "The server is busy; it asks to wait 3 s. the queue is full",
        ),
        ((500, "the server failed on this request", {}), "The server failed. the server failed on this request"),
        ((400, "policy: there is no x", {}), "The server refused. policy: there is no x"),
    ],
)
def test_an_error_is_said_in_words_and_can_be_tried_again(chat: Any, double: Any, fail: Any, said: str) -> None:
    seen = chat()
    page = seen.page
    double.fail = fail
    page.fill("#message", "Precious words")
    page.keyboard.press("Enter")
    box = page.locator(".turn [role=alert]")
    box.wait_for()
    edit = " Edit the message" if fail[0] == 400 else ""
    assert words(box) == f"{said} Try again{edit}"
    assert page.locator(".user").inner_text() == "Precious words"
    seen.errors.clear()  # the browser logs the status itself
    double.fail = None
    box.get_by_role("button", name="Try again").click()
    done(page)
    assert page.locator(".answer").text_content() == double.says
    assert page.locator(".turn").count() == 1


@pytest.mark.parametrize(
    ("cut_by", "said"),
    [
        ("", "The connection ended before the answer did. What had come is kept."),
        ("the server failed on this request", "The server failed in the middle of the answer."),
    ],
)
def test_an_answer_that_is_cut_off_is_kept_and_said(chat: Any, double: Any, cut_by: str, said: str) -> None:
    seen = chat()
    page = seen.page
    double.cut, double.cut_by = 6, cut_by
    page.fill("#message", "Cut?")
    page.keyboard.press("Enter")
    page.locator(".turn [role=alert]", has_text=said).wait_for()
    assert cut_by in page.locator(".turn [role=alert]").inner_text()
    assert page.locator(".answer").text_content() == double.says[:6]
    seen.errors.clear()
    double.cut = None
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert page.locator(".answer").text_content() == double.says


def test_a_server_that_is_gone_is_said_and_what_was_typed_survives_a_reload(
    chat: Any, double: Any, visit: Callable[..., Any]
) -> None:
    seen = chat()
    page = seen.page
    page.context.set_offline(True)
    page.fill("#message", "Lost?")
    page.keyboard.press("Enter")
    page.locator(".turn [role=alert]", has_text="The server cannot be reached.").wait_for()
    page.context.set_offline(False)
    seen.errors.clear()
    page.fill("#message", "A draft")
    page.fill("#system", "Be kind.")
    page.reload()
    page.locator("#model", has_text="scripted").wait_for()
    assert page.input_value("#message") == "A draft"
    assert page.input_value("#system") == "Be kind."
    page.route("**/entropix/info", lambda route: route.abort())
    page.reload()
    page.locator("#notice", has_text="The server cannot be reached.").wait_for()
    page.unroute("**/entropix/info")
    page.locator("#notice button").click()
    page.locator("#model", has_text="scripted").wait_for()
    seen.errors.clear()


def test_what_was_said_survives_a_reload_in_both_columns_and_a_new_chat_forgets_it(chat: Any, double: Any) -> None:
    page = chat().page
    ask(page, "One?")
    page.locator("#compare").click()
    ask(page, "Two?")
    before = [t.text_content() for t in page.locator(".answer").all()]
    page.reload()
    page.locator("#model", has_text="scripted").wait_for()
    assert [t.text_content() for t in page.locator(".answer").all()] == before
    assert page.locator(".user").all_inner_texts() == ["One?", "Two?", "Two?"]
    page.locator(".answer .t").nth(3).hover()
    assert "entropy" in words(page.locator(".views").first)
    ask(page, "Three?")
    users = [[m["content"] for m in asked["messages"] if m["role"] == "user"] for asked in double.asked[-2:]]
    assert users == [["One?", "Two?", "Three?"]] * 2
    page.locator("#fresh").click()
    page.reload()
    page.locator("#model", has_text="scripted").wait_for()
    assert page.locator(".turn").count() == 0


def test_of_a_conversation_too_long_to_keep_the_earlier_turns_are_kept_as_messages(chat: Any, double: Any) -> None:
    seen = chat()
    page = seen.page
    script = (HERE / "chat.js").read_text("utf-8")
    assert "ROOM = 2_000_000" in script
    page.route(
        "**/page/chat.js",
        lambda route: route.fulfill(
            body=script.replace("ROOM = 2_000_000", "ROOM = 40_000"), content_type="text/javascript"
        ),
    )
    page.reload()
    page.locator("#model", has_text="scripted").wait_for()
    for n in range(5):
        ask(page, f"{n}?")
    kept = page.evaluate('JSON.parse(sessionStorage.getItem("entropix.said")).columns[0].turns.length')
    assert 1 <= kept < 5
    page.reload()
    page.locator(".hint", has_text=f"Goes on from {5 - kept} earlier turn").wait_for()
    assert page.locator(".turn").count() == kept
    ask(page, "more?")
    users = [m["content"] for m in double.asked[-1]["messages"] if m["role"] == "user"]
    assert users == ["0?", "1?", "2?", "3?", "4?", "more?"]


def test_a_key_is_asked_for_where_one_is_needed_and_never_kept_on_disk(visit: Callable[..., Any], double: Any) -> None:
    double.key = "open-sesame-123456"
    seen = visit(double.address)
    page = seen.page
    page.locator("#notice", has_text="The server wants an API key").wait_for()
    page.locator("#key:focus").wait_for()
    seen.errors.clear()
    page.keyboard.type(double.key)
    page.keyboard.press("Enter")
    page.locator("#model", has_text="scripted").wait_for()
    ask(page, "Open?")
    assert page.locator(".answer").text_content() == double.says
    assert page.evaluate("JSON.stringify(localStorage)") == "{}"
    assert page.context.cookies() == []


def test_everything_is_done_with_the_keyboard_alone(chat: Any, double: Any) -> None:
    page = chat().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the message"
    page.keyboard.press("Enter")
    page.keyboard.type("Keys?")
    page.keyboard.press("Enter")
    done(page)
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('.answer .t')"):
            break
    page.keyboard.press("End")
    assert f"token {len(double.says) + 1}" in words(page.locator(".exv-detail"))
    page.keyboard.press("ArrowLeft")
    assert page.locator(".t.on").get_attribute("data-i") == str(len(double.says) - 1)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_hostile_tokens_stay_text_on_the_page(chat: Any, double: Any) -> None:
    double.says = '<img src=x onerror=alert(1)></script><style>*{display:none}</style>"\u202e'
    page = chat().page
    ask(page, "<script>alert(2)</script>")
    assert page.locator(".answer").text_content() == double.says
    assert page.locator(".user").inner_text() == "<script>alert(2)</script>"
    assert page.locator(".answer img, .answer style, .user script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(chat: Any, double: Any, scheme: str) -> None:
    double.says = "word " * 20 + "x" * 120
    page = chat(width=390, height=844, color_scheme=scheme, has_touch=True).page
    page.get_by_text("Settings", exact=True).click()
    page.fill("#max-tokens", "300")
    ask(page, "y" * 200)
    page.get_by_role("button", name="Compare").click()
    ask(page, "And?")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator(".answer .t").nth(3).tap()
    sheet = page.locator(".exv-detail.open").bounding_box()
    assert sheet["y"] + sheet["height"] == pytest.approx(844, abs=1)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == ("rgb(20, 23, 27)" if scheme == "dark" else "rgb(255, 255, 255)")


def test_the_pages_files_name_nothing_elsewhere_and_have_no_inline_code() -> None:
    page = files()
    assert {"/", "/page/chat.js", "/page/viewer.js", "/page/viewer.css", "/page/trace.html"} <= set(page)
    index = page["/"][1].decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", index)
    wanted = set(re.findall(r'(?:src|href)="(/[^"]+)"', index))
    for path, (kind, content) in page.items():
        text = content.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
        if kind.startswith("text/javascript"):
            wanted |= {f"/page/{name}" for name in re.findall(r'(?:from|import\()\s*"\./([^"]+)"', text)}
    assert wanted <= set(page)
    assert json.dumps(SECURITY).count("'self'") == 1
