"""Effort on the page: chosen beside policy and search, seen while it is held, and what it found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, saying
from helpers.confidences import calibrated, calibration
from helpers.scripts import seven_or_eight

Serving = Callable[..., str]


def opened(visit: Callable[..., Any], serving: Serving, engine: Engine, **options: Any) -> Any:
    page = visit(serving(engine), **options).page
    page.locator("#model", has_text="scripted").wait_for()
    return page


def ask(page: Any, text: str) -> None:
    page.fill("#seed", "1")
    page.fill("#message", text)
    page.keyboard.press("Enter")
    page.locator("#stop:disabled").wait_for(timeout=30_000)
    page.locator("#status", has_text="done").wait_for(timeout=30_000)


def words(locator: Any) -> str:
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def test_effort_finds_an_answer_and_says_how_sure_and_why(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, ScriptedEngine(saying("The answer is 9.", certainty=20), sequences=24))
    page.locator("[data-kind=effort] select").select_option("medium")
    assert page.locator("[data-kind=search] select").is_disabled(), "effort is a search of its own"
    assert page.locator("[data-kind=policy] select").input_value() == "sample", "which draws texts that differ"
    ask(page, "How many are left?")
    vote = page.locator(".turn .vote")
    assert words(vote.locator(".said")) == "9 · 100% sure"
    assert words(vote.locator(".source")) == "3 of 3 texts agree; share of the ballots, not calibrated."
    assert "sample · effort medium · seed 1" in words(page.locator(".foot .line"))
    page.locator("[data-kind=effort] select").select_option("none")
    assert page.locator("[data-kind=policy] select").input_value() == "entropix", "what was lent is given back"
    assert page.locator("[data-kind=search] select").is_enabled()


def test_the_shares_of_the_answers_are_bars_and_their_texts_open(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, ScriptedEngine(seven_or_eight, sequences=24))
    page.locator("[data-kind=effort] select").select_option("high")
    ask(page, "How many are left?")
    rows = page.locator(".turn .vote .shares-of > li")
    shares = [int(re.findall(r"(\d+)%", words(row))[0]) for row in rows.all()]
    assert len(shares) == 2
    assert sum(shares) in (99, 100, 101)
    widths = rows.locator(".fill").evaluate_all("all => all.map(bar => Number.parseInt(bar.style.width))")
    assert widths == shares
    other = rows.nth(1)
    answer = words(other.locator("b"))
    other.locator("> details > summary").click()
    other.locator(".one > summary").first.click()
    assert other.locator(".whole").first.text_content() == answer
    other.get_by_role("button", name="Look at its tokens").first.click()
    assert page.locator(".answer").text_content() == answer, "the text is shown token by token"
    page.get_by_role("button", name="Back to the answer").click()
    assert page.locator(".answer").text_content() != answer


def test_a_vote_is_seen_while_it_is_held(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, ScriptedEngine(seven_or_eight, sequences=24))
    page.evaluate(
        """() => {
        window.seen = [];
        new MutationObserver(() => {
          const live = document.querySelector(".vote.live");
          if (live) window.seen.push(live.innerText);
        }).observe(document.querySelector("#columns"), { childList: true, subtree: true });
        }"""
    )
    page.locator("[data-kind=effort] select").select_option("high")
    ask(page, "How many are left?")
    seen = [re.sub(r"\s+", " ", text) for text in page.evaluate("window.seen")]
    assert any(re.match(r"0 texts of \d+ ended, \d+ being written", text) for text in seen)
    assert any(re.search(r"tokens 7 \d+ 8 \d+|tokens 8 \d+ 7 \d+", text) for text in seen)
    assert page.locator(".vote.live").count() == 0


def test_a_question_of_which_no_vote_was_held_says_so(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, ScriptedEngine(saying("Because.", certainty=20), sequences=24))
    page.locator("[data-kind=effort] select").select_option("low")
    ask(page, "Why is the sky blue?")
    assert page.locator(".turn .vote").count() == 0
    assert "no vote was held, as the question is open" in words(page.locator(".foot"))


def test_an_answer_that_is_not_sure_enough_is_none(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, ScriptedEngine(seven_or_eight, sequences=24))

    def abstaining(route: Any) -> None:
        answer = route.fetch()
        body = answer.text()
        assert '"abstained": false' in body
        changed = body.replace('"abstained": false', '"abstained": true').replace(
            '"risk_bound": null', '"risk_bound": 0.1'
        )
        route.fulfill(response=answer, body=changed)

    page.route("**/v1/chat/completions", abstaining)
    page.locator("[data-kind=effort] select").select_option("low")
    ask(page, "How many are left?")
    vote = page.locator(".turn .vote")
    assert words(vote.locator(".said")) == "No answer: not sure enough."
    assert re.search(
        r"The texts lean to \d, \d+% sure: .*At most 10% of the answers that are given are wrong\.", words(vote)
    )


def test_what_was_chosen_is_sent_and_a_reload_keeps_it(visit: Callable[..., Any], serving: Serving) -> None:
    page = opened(visit, serving, ScriptedEngine(seven_or_eight, sequences=24))
    sent: list[dict[str, Any]] = []
    page.on("request", lambda r: sent.append(json.loads(r.post_data)) if r.method == "POST" else None)
    page.locator("[data-kind=effort] select").select_option("low")
    page.locator("#reproducible").check()
    ask(page, "How many are left?")
    ours = sent[0]["entropix"]
    assert (ours["effort"], ours["progress"], ours["reproducible"]) == ("low", True, True)
    assert "search" not in ours, "beside effort it would be refused"
    before = words(page.locator(".turn .vote .said"))
    page.reload()
    page.locator("#model", has_text="scripted").wait_for()
    assert words(page.locator(".turn .vote .said")) == before
    assert page.locator("[data-kind=effort] select").input_value() == "low"
    assert page.locator("#reproducible").is_checked()


def test_the_servers_own_effort_and_reproducibility_are_what_the_page_begins_with(
    visit: Callable[..., Any], serving: Serving
) -> None:
    address = serving(ScriptedEngine(seven_or_eight, sequences=24), effort="low", reproducible=True)
    page = visit(address).page
    page.locator("#model", has_text="scripted").wait_for()
    assert page.locator("[data-kind=effort] select").input_value() == "low"
    assert page.locator("#reproducible").is_checked()


def test_a_risk_is_chosen_beside_effort_and_its_bound_stands_by_the_answer(
    visit: Callable[..., Any], serving: Serving
) -> None:
    sure = saying("The answer is 9.", certainty=20)
    page = visit(serving(calibrated(sure, calibration(), sequences=24))).page
    page.locator("#model", has_text="scripted").wait_for()
    risk, effort = page.locator("[data-kind=risk] select"), page.locator("[data-kind=effort] select")
    assert risk.is_disabled(), "without an effort there is no vote"
    effort.select_option("low")
    assert risk.is_disabled(), "nothing is calibrated for it"
    assert "not calibrated" in page.locator("[data-kind=risk]").get_attribute("title")
    effort.select_option("medium")
    assert risk.locator("option").all_text_contents() == ["any", "10%"]
    risk.select_option("10%")
    sent: list[dict[str, Any]] = []
    page.on("request", lambda r: sent.append(json.loads(r.post_data)) if r.method == "POST" else None)
    ask(page, "How many are left?")
    assert sent[0]["entropix"]["risk"] == 0.1
    source = words(page.locator(".turn .vote .source"))
    assert source.endswith("At most 10% of the answers that are given are wrong.")
    assert "effort medium · risk 10% · seed 1" in words(page.locator(".foot .line"))
    page.reload()
    page.locator("#model", has_text="scripted").wait_for()
    assert risk.input_value() == "0.1"
    effort.select_option("none")
    assert risk.is_disabled()
    assert risk.input_value() == "", "what cannot be kept is not asked for"


def test_an_answer_that_the_server_is_not_sure_of_abstains(visit: Callable[..., Any], serving: Serving) -> None:
    sure = saying("The answer is 9.", certainty=20)
    page = visit(serving(calibrated(sure, calibration(threshold=0.95), sequences=24))).page
    page.locator("#model", has_text="scripted").wait_for()
    page.locator("[data-kind=effort] select").select_option("medium")
    page.locator("[data-kind=risk] select").select_option("10%")
    ask(page, "How many are left?")
    assert words(page.locator(".turn .vote .said")) == "No answer: not sure enough."
    assert "95% are needed" in words(page.locator(".turn .foot"))
