"""The view of an answer's uncertainty, in a real browser."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropix.trace import Answer, Trace, make_header
from entropix.trace.html import VIEWER, write_document
from entropix.trace.terminal import ENDINGS, MEANINGS
from entropix.types import (
    Action,
    BranchRecord,
    Candidate,
    Ledger,
    Regime,
    Result,
    SearchRecord,
    Step,
    Thresholds,
)

THRESHOLDS = Thresholds(1.0, 3.0, 2.0, 5.0)
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "<!-- ",
    "\u2028",
    "\x1b]0;x\x07",
    "&lt;",
]


def step(index: int, text: str, regime: Regime = Regime.FLOW, **changes: Any) -> Step:
    plain = Step(
        index,
        index + 5,
        100 + index,
        text,
        text,
        regime,
        Action.SAMPLE,
        entropy=0.5,
        varentropy=0.75,
        attention=(0.4, 0.02, 0.6, 2.5),
        temperature=0.75,
        top_k=28,
        top_p=0.9,
        min_p=0.03,
        logprob=-0.5,
        rank=0,
        leading=(
            Candidate(100 + index, text, 0.6065, 0.8),
            Candidate(7, " other", 0.2, 0.2),
            Candidate(8, "x", 0.1, 0),
        ),
    )
    return replace(plain, **changes)


def result(steps: tuple[Step, ...], **changes: Any) -> Result:
    plain = Result(
        text="".join(s.text for s in steps),
        finish_reason="length",
        tokens=tuple(s.token for s in steps),
        prompt_tokens=5,
        steps=steps,
        ledger=Ledger(prompt=5, sampled=len(steps)),
        seed=3,
        policy="entropix",
        profile="generic",
        model="tiny",
        seconds=0.5,
        thresholds=THRESHOLDS,
    )
    return replace(plain, **changes)


EVERY = tuple(
    step(n, f" {regime.label}", regime, entropy=h, varentropy=v)
    for n, (regime, h, v) in enumerate(
        [
            (Regime.FLOW, 0.5, 1.0),
            (Regime.ADAPT, 1.5, 3.0),
            (Regime.BRANCH, 2.0, 6.0),
            (Regime.CLARIFY, 3.5, 1.0),
            (Regime.RESAMPLE, 4.0, 7.0),
        ]
    )
)


def trace_of(*results: Result, prompts: Any = ("Why?", "And?"), **header: Any) -> Trace:
    head = make_header(model="tiny", fingerprint="f", policy="entropix", seed=3, thresholds=THRESHOLDS, **header)
    return Trace(head, tuple(Answer(n, prompts[n], r.steps, r) for n, r in enumerate(results)))


@pytest.fixture
def show(visit: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Opens a trace, or the result of one answer, as a page."""

    def open_trace(trace: Trace | Result, **options: Any) -> Any:
        shown = trace_of(trace) if isinstance(trace, Result) else trace
        path = tmp_path / "trace.html"
        write_document(shown, path)
        seen = visit(path.as_uri(), **options)
        assert seen.requests == [path.as_uri()], "the file loads something from elsewhere"
        return seen.page

    return open_trace


def shown(page: Any) -> str:
    """The detail panel's text in one line."""
    return re.sub(r"\s+", " ", page.locator(".exv-detail").inner_text())


def test_the_text_is_the_answers_text_with_a_token_for_each_step(show: Callable[..., Any]) -> None:
    page = show(result(EVERY))
    assert page.locator("#text").text_content() == " flow adapt branch clarify resample"
    assert page.locator("#text .t").count() == 5
    assert page.locator("#prompt").inner_text() == "Why?"


def test_pointing_at_a_token_shows_its_signals_parameters_and_candidates(show: Callable[..., Any]) -> None:
    changed = replace(EVERY[1], drawn=(1, 0), candidates=2, horizon=0)
    page = show(result((EVERY[0], changed, *EVERY[2:])))
    page.locator("#text .t").nth(1).hover()
    text = shown(page)
    for expected in (
        "␣adapt adapt token 2 · id 101 · p 60.7%",
        "Drew number 2, the likeliest; compared them by likelihood alone and kept the likeliest.",
        "entropy 1.50 nats varentropy 3.00 nats²",
        "attention entropy 0.40 attention varentropy 0.020 head agreement 0.60 interaction strength 2.50",
        "temperature 0.75 top-k 28 top-p 0.90 min-p 0.030 candidates 2",
        "● ␣adapt 60.7% 80.0% ○ ␣other 20.0% 20.0% x 10.0% out",
    ):
        assert expected in text
    width = page.locator(".candidates .after").first.evaluate("bar => bar.style.width")
    assert width == "80%"
    page.mouse.move(1, 1)
    assert "Point at a token" in shown(page)


def test_signals_of_the_leading_tokens_alone_are_marked_and_unknown_probabilities_are_no_bars(
    show: Callable[..., Any],
) -> None:
    leading = tuple(Candidate(c.token, c.label, c.before, math.nan) for c in EVERY[0].leading)
    page = show(result((replace(EVERY[0], truncated=20, leading=leading), *EVERY[1:])))
    page.locator("#text .t").nth(0).hover()
    assert "of the 20 likeliest tokens, renormalised" in shown(page)
    assert "NaN" not in shown(page)
    widths = page.locator(".candidates .after").evaluate_all("bars => bars.map((bar) => bar.style.width)")
    assert set(widths) == {"0%"}
    page.locator("#text .t").nth(1).hover()
    assert "renormalised" not in shown(page)


def test_text_and_charts_highlight_the_same_token_from_either_side(show: Callable[..., Any]) -> None:
    page = show(result(EVERY))
    box = page.locator(".strip").bounding_box()
    page.mouse.move(box["x"] + 34 + 12 * 2.5, box["y"] + 50)
    assert page.locator("#text .t.on").inner_text().strip() == "branch"
    ring = page.locator(".ring")
    centre = ring.bounding_box()
    page.mouse.move(1, 1)
    assert page.locator("#text .t.on").count() == 0
    page.mouse.move(centre["x"] + centre["width"] / 2, centre["y"] + centre["height"] / 2)
    assert page.locator("#text .t.on").inner_text().strip() == "branch"
    page.locator("#text .t").nth(3).hover()
    assert page.locator(".cursor").get_attribute("x1") == f"{34 + 12 * 3.5:g}"
    assert page.locator(".strip").get_attribute("aria-valuetext").startswith("␣clarify, token 4, clarify, entropy 3.50")


def test_the_charts_draw_thresholds_and_name_every_regime(show: Callable[..., Any]) -> None:
    page = show(result(EVERY))
    assert page.locator(".strip .threshold").count() == 4
    assert page.locator(".scatter .threshold").count() == 4
    assert set(page.locator(".region-name").all_text_contents()) == {r.label for r in Regime}
    assert page.locator(".scatter .dot").count() == 5
    # one bar of each regime in both panels, as high as its signal: H 4.0 of at most 4.0 · 1.08
    assert page.locator(".strip path.bar").count() == 10
    top = page.locator(".strip .bar.c-resample").first.get_attribute("d")
    assert top == f"M{34 + 12 * 4.5:.1f} 88V{88 - 72 * 4 / (4 * 1.08):.1f}"


def test_a_trace_without_thresholds_is_shown_without_them_and_says_so(show: Callable[..., Any]) -> None:
    trace = trace_of(result(EVERY))
    page = show(Trace({**trace.header, "thresholds": None}, trace.answers))
    assert page.locator(".threshold").count() == 0
    assert "thresholds of the regimes are not in this trace" in page.locator(".exv-note").inner_text()


def test_a_policy_with_its_own_rule_for_regimes_is_named_as_such(show: Callable[..., Any]) -> None:
    page = show(result((step(0, "a", Regime.RESAMPLE),)))
    assert "the policy has its own" in page.locator(".exv-note").inner_text()


def test_the_keyboard_reaches_every_token_with_one_stop_in_the_tab_order(show: Callable[..., Any]) -> None:
    page = show(result(EVERY))
    assert page.locator("#text [tabindex='0']").count() == 1
    page.keyboard.press("Tab")
    at = lambda: page.evaluate("document.activeElement.dataset.i")  # noqa: E731
    assert at() == "0"
    for key, expected in [
        ("ArrowRight", "1"),
        ("ArrowDown", "2"),
        ("ArrowLeft", "1"),
        ("End", "4"),
        ("ArrowRight", "4"),
        ("Home", "0"),
        ("ArrowLeft", "0"),
        ("PageDown", "4"),
    ]:
        page.keyboard.press(key)
        assert at() == expected, key
    assert "␣resample" in shown(page)
    assert page.locator("#text [tabindex='0']").count() == 1
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "␣resample, token 5, resample, entropy 4.00 nats, varentropy 7.00 nats², probability 60.7%"
    page.keyboard.press("Escape")
    assert page.locator("#text .t.on").count() == 0
    page.locator(".strip").focus()
    page.keyboard.press("Home")
    assert page.locator("#text .t.on").inner_text().strip() == "flow"
    page.locator(".exv-modes [aria-checked=true]").focus()
    assert page.locator("#text .by-entropy").count() == 1, "entropy comes first"
    page.keyboard.press("ArrowRight")
    assert page.locator("#text .by-regime").count() == 1


def test_whatever_a_token_holds_it_is_text_and_nothing_runs(show: Callable[..., Any]) -> None:
    steps = tuple(step(n, text) for n, text in enumerate(HOSTILE))
    page = show(trace_of(result(steps), prompts=[HOSTILE[0]], notes=[HOSTILE[1]]))
    assert page.locator("#text").text_content() == "".join(HOSTILE)
    assert page.locator("img, #text script").count() == 0
    for n in range(len(HOSTILE)):
        page.locator("#text .t").nth(n).focus()
    assert page.locator("#prompt").text_content() == HOSTILE[0]


def test_tokens_that_cannot_be_seen_have_a_mark_that_is_not_copied(show: Callable[..., Any]) -> None:
    texts = ["a", "\n\n", "  ", "\t", "", "", "\x1b", "\u202eb"]
    labels = ["a", "\\n", "  ", "\t", "<|im_end|>", "\ufffd", "\x1b", "\u202eb"]
    steps = tuple(step(n, text, label=label) for n, (text, label) in enumerate(zip(texts, labels, strict=True)))
    page = show(result(steps))
    marks = page.locator("#text .t").evaluate_all("all => all.map(t => t.dataset.mark ?? null)")
    assert marks == [None, "⏎⏎", "··", "⇥", "<|im_end|>", "▫", "\\x1b", "\\u202e"]
    assert page.locator("#text").text_content() == "".join(texts)
    assert all(page.locator("#text .t").nth(n).bounding_box()["width"] > 2 for n in range(len(texts)))


NINE = (step(2, " nine", token=9), step(3, "!", token=10))
SEARCH = SearchRecord(
    "tree+vote:answer=number",
    (
        BranchRecord(0, None, 0, "the prompt", "end", EVERY, "text", -0.5, "9", 1.0),
        BranchRecord(
            1,
            0,
            2,
            "branch, H 2.00",
            "end",
            (step(2, " nine", token=9), step(3, "!", token=10)),
            " nine!",
            -0.4,
            "9",
            2.0,
            True,
        ),
        BranchRecord(2, 1, 3, "adapt", "length", (step(3, "?", token=11),), "?", None, None, None),
    ),
    {"9": 0.75},
    0.75,
    "9",
    3,
)


def test_branches_of_a_search_stand_at_their_place_and_in_the_tree_and_can_be_read(show: Callable[..., Any]) -> None:
    own = (*EVERY[:2], *SEARCH.branches[1].steps)
    page = show(result(own, search=SEARCH))
    assert page.locator("#text .forked").all_inner_texts() == [" nine", "!"]
    page.locator("#text .t").nth(3).click()
    assert "Also tried here branch 2 ? adapt · 1 token · length" in shown(page)
    page.locator("#text .t").nth(2).click()
    assert (
        "branch 0 branch clarify resample the prompt · 5 tokens · end · score -0.500 · answer 9 · weight 1.00"
        in shown(page)
    )
    page.locator(".search summary").click()
    heads = page.locator(".tree li > button").all_inner_texts()
    assert heads == ["○ branch 0", "● branch 1", "○ branch 2"]
    assert page.locator(".tree ul ul .branch-text").inner_text() == "?"
    page.locator(".tree li > button").nth(2).click()
    assert page.locator("#text").text_content() == " flow adapt nine?"
    page.get_by_role("button", name="Back to the answer").click()
    assert page.locator("#text").text_content() == " flow adapt nine!"
    assert "9: 75% of 3 ballots" in page.locator(".exv-summary").inner_text()


def test_the_summary_counts_what_the_result_counts_in_the_terminals_words(show: Callable[..., Any]) -> None:
    answer = result(EVERY, notes=("thresholds are generic",), ledger=Ledger(prompt=5, sampled=5, shared=1))
    page = show(answer)
    text = re.sub(r"\s+", " ", page.locator(".exv-summary").inner_text())
    for expected in (
        f"uncertainty {answer.surprisal:.1f} nats (−Σ ln p of the text), {answer.token_uncertainty:.0%} a token",
        f"mean entropy {answer.mean_entropy:.2f} nats",
        "regimes flow 20%, adapt 20%, branch 20%, clarify 20%, resample 20%",
        f"confidence {answer.confidence:.0%} (the probability of one text, not calibrated)",
        f"length 5 tokens, 10.0 tokens/s; {ENDINGS['length']}",
        "cost 10 tokens forwarded (5 prompt, 5 sampled); 1 prompt token reused",
        "seed 3",
        "note thresholds are generic",
    ):
        assert expected in text
    page.get_by_role("radio", name="regime").click()
    legend = page.locator(".legend").inner_text()
    assert all(f"{regime.label} {meaning}" in legend for regime, meaning in MEANINGS.items())
    source = (VIEWER / "summary.js").read_text("utf-8")
    assert all(f'{reason}: "{words}"' in source for reason, words in ENDINGS.items())


def test_several_answers_are_chosen_from_a_list_and_a_cut_trace_is_named(show: Callable[..., Any]) -> None:
    trace = trace_of(result(EVERY), result((step(0, "second"),)))
    page = show(Trace(trace.header, trace.answers, ("answer 2 has no result",)))
    page.locator("header select").select_option("1")
    assert page.locator("#text").text_content() == "second"
    assert page.locator("#prompt").inner_text() == "And?"
    assert page.locator("#problems").inner_text() == "answer 2 has no result"


def test_an_answer_without_tokens_and_a_trace_without_answers_open(show: Callable[..., Any]) -> None:
    assert "0 tokens" in show(result(())).locator(".exv-summary").inner_text()
    assert show(Trace({"model": "tiny"}, ())).locator("#text .t").count() == 0


def test_a_phone_shows_it_without_scrolling_sideways_and_opens_a_token_over_the_text(show: Callable[..., Any]) -> None:
    steps = tuple(step(n, " word" if n % 9 else " " + "long" * 30) for n in range(120))
    page = show(result(steps, search=replace(SEARCH, spec="x" * 90)), width=390, height=844, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#text .t").nth(4).tap()
    box = page.locator(".exv-detail").bounding_box()
    assert box["y"] > 300
    assert box["y"] + box["height"] == pytest.approx(844, abs=1)
    page.locator(".exv-detail .close").tap()
    assert page.locator(".exv-detail").is_hidden()


MOVES = """async () => {
          const began = performance.now();
          document.querySelector("#text .t").focus();
          for (let n = 0; n < 50; n++) {
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
            await new Promise(requestAnimationFrame);
          }
          return (performance.now() - began) / 50;
        }"""
"""Milliseconds of a move from token to token with the arrow key, each drawn before the next."""


def test_four_thousand_tokens_open_and_follow_the_pointer_fluidly(show: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    signals = rng.gamma(1.2, 1.2, (4000, 2))
    steps = tuple(
        step(n, f" w{n}", Regime(n % 5), entropy=float(h), varentropy=float(v)) for n, (h, v) in enumerate(signals)
    )
    few = show(result(steps[:400]))
    before = min(few.evaluate(MOVES) for _ in range(3))
    page = show(result(steps))
    assert page.locator("#text .t").count() == 4000
    # the best of several, as other programs may want the processor, too; work that grows with the text takes tenfold
    again = min(page.evaluate(MOVES) for _ in range(3))
    assert again < 6 * before, f"{again:.0f} ms a move, and {before:.0f} ms in a text of a tenth"
    # a pixel shows its highest bar, so the drawing does not grow with the text
    assert len(page.locator(".strip .bar.c-flow").first.get_attribute("d")) < 20_000


def test_every_label_of_the_strip_lies_inside_it(show: Callable[..., Any]) -> None:
    page = show(result(tuple(step(n, " w") for n in range(2000))), width=1280)
    last = page.locator(".strip text.tick").last
    assert last.text_content() == "2000"
    label, strip = last.bounding_box(), page.locator(".strip").bounding_box()
    assert label["x"] + label["width"] <= strip["x"] + strip["width"]
