"""`entropix.risk` over HTTP: as `ask --risk` on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import Script, saying
from entropix.errors import ParameterError
from entropix.profiles.confidence import Calibration
from entropix.serve.process import Background
from entropix.serve.settings import Settings
from helpers.confidences import calibrated, calibration

SURE = saying("The answer is 9.", certainty=20)
COUNT, OPEN = "How many are left?", "Why is the sky blue?"
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
Serve = Callable[..., Background]


@pytest.fixture
def serving() -> Iterator[Serve]:
    """Starts a server of a model whose profile holds these calibrations."""
    with ExitStack() as stack:

        def start(*made: Calibration, script: Script = SURE, **settings: Any) -> Background:
            model = calibrated(script, *made, sequences=24)
            return stack.enter_context(Background(model, Settings(port=0, places=8, **settings)))

        yield start


def ask(server: Background, question: str = COUNT, *, path: str = "chat/completions", **options: Any) -> httpx.Response:
    given = {"messages": [{"role": "user", "content": question}]} if path != "completions" else {"prompt": question}
    body = {"model": "scripted", "seed": 1, "max_tokens": 60, **given, **options}
    return httpx.post(f"{server.url}/v1/{path}", json=body, timeout=60)


def risking(risk: Any, effort: str | None = "medium", **further: Any) -> dict[str, Any]:
    return {"entropix": {"risk": risk, "steps": False, **({"effort": effort} if effort else {}), **further}}


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["entropix"]["choices"][0]["result"]
    return result


@pytest.mark.parametrize("risk", [0.1, "10%", 0.12])
def test_an_answer_is_given_where_its_risk_is_kept(serving: Serve, risk: Any) -> None:
    result = told(ask(serving(calibration()), **risking(risk)))
    assert (result["abstained"], result["risk_bound"]) == (False, 0.1)
    assert result["confidence"] == pytest.approx(0.875, abs=0.01)
    assert result["confidence_source"].endswith("calibrated on 120 items of sums")


def test_an_answer_that_is_not_sure_enough_abstains_and_keeps_its_text(serving: Serve) -> None:
    answer = ask(serving(calibration(threshold=0.95)), reasoning_effort="medium", entropix={"risk": "10%"})
    assert (told(answer)["abstained"], told(answer)["risk_bound"]) == (True, None)
    assert any("88% sure, and 95% are needed" in note for note in told(answer)["notes"])
    assert answer.json()["choices"][0]["message"]["content"] == "The answer is 9."


def test_an_open_question_and_greedy_decoding_abstain_as_no_vote_is_held(serving: Serve) -> None:
    server = serving(calibration())
    for answer in (ask(server, OPEN, **risking(0.1)), ask(server, temperature=0, **risking(0.1))):
        assert told(answer)["abstained"]
        assert any("no vote was held" in note for note in told(answer)["notes"])


def test_a_completion_and_every_choice_may_have_a_risk(serving: Serve) -> None:
    server = serving(calibration(), script=saying(" 9.", certainty=20, after=b"left?"))
    answer = ask(server, path="completions", n=2, **risking(0.1))
    assert answer.status_code == 200, answer.text
    choices = answer.json()["entropix"]["choices"]
    assert [choice["result"]["abstained"] for choice in choices] == [False, False]


def test_a_stream_says_at_its_end_that_it_abstains(serving: Serve) -> None:
    text = ask(serving(calibration(threshold=None)), stream=True, **risking(0.1)).text
    assert '"abstained":true' in text.replace(": ", ":")
    assert "no confidence keeps a risk of 0.1" in text


@pytest.mark.parametrize("risk", [0, 1, -0.1, 3, "0%", "100%", "ten", "", "١٠٪"])
def test_a_risk_out_of_range_is_refused_with_what_is_allowed(serving: Serve, risk: Any) -> None:
    answer = ask(serving(calibration()), **risking(risk))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "entropix.risk")
    assert "give one between 0 and 1, as 10% or 0.1" in error["message"]


@pytest.mark.parametrize("risk", [True, [0.1], {"share": 0.1}])
def test_a_risk_of_another_kind_is_refused(serving: Serve, risk: Any) -> None:
    answer = ask(serving(calibration()), **risking(risk))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "entropix.risk")
    assert "it must be a number or a string" in answer.json()["error"]["message"]


def test_a_risk_smaller_than_all_that_were_fitted_is_refused(serving: Serve) -> None:
    error = ask(serving(calibration()), **risking(0.01)).json()["error"]
    assert "confidence was calibrated for: 0.1" in error["message"]


@pytest.mark.parametrize("made", [(), (calibration(rule="lead:2 of 8, greedy first"),)])
def test_without_a_calibration_that_fits_it_says_what_the_library_says(serving: Serve, made: Any) -> None:
    with pytest.raises(ParameterError) as alone:
        calibrated(SURE, *made).ask(COUNT, risk=0.1)
    answer = ask(serving(*made), **risking(0.1))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"entropix.risk: {alone.value}"


@pytest.mark.parametrize(
    "options", [risking(0.1, None), risking(0.1, "none"), risking(0.1, None, search="tree:max_sequences=2")]
)
def test_a_risk_without_a_vote_is_refused(serving: Serve, options: Any) -> None:
    error = ask(serving(calibration()), **options).json()["error"]
    assert (error["param"], "give effort low, medium or high" in error["message"]) == ("entropix.risk", True)


def test_a_risk_beside_tools_is_refused_as_a_call_is_one_text(serving: Serve) -> None:
    error = ask(serving(calibration()), tools=[TOOL], **risking(0.1)).json()["error"]
    assert (error["param"], "may call tools is one text" in error["message"]) == ("entropix.risk", True)


def test_the_servers_own_effort_holds_the_vote_of_a_risk(serving: Serve) -> None:
    assert told(ask(serving(calibration(), effort="medium"), **risking(0.1, None)))["risk_bound"] == 0.1


def test_a_response_may_have_a_risk_too(serving: Serve) -> None:
    body = {"model": "scripted", "input": COUNT, **risking(0.1)}
    answer = httpx.post(f"{serving(calibration()).url}/v1/responses", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["entropix"]["choices"][0]["result"]["risk_bound"] == 0.1
