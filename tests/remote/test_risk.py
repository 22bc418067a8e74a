"""A risk over an endpoint: our own server holds the vote and says what came of it; any other is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the server: pip install 'entropix-llm[serve]'")

from entropix.cli import main
from entropix.engines.scripted import saying
from entropix.errors import EndpointError, ParameterError
from entropix.profiles.confidence import Calibration
from entropix.remote import Endpoint, connect
from entropix.serve.process import Background
from entropix.serve.settings import Settings
from helpers.confidences import calibrated, calibration
from helpers.endpoint import Behaviour, Exchange, Fake

COUNT, OPEN = "How many are left?", "Why is the sky blue?"
Serve = Callable[..., Background]


@pytest.fixture
def serving() -> Iterator[Serve]:
    """Starts a server of a model whose profile holds these calibrations."""
    with ExitStack() as stack:

        def start(*made: Calibration, says: str = "The answer is 9.") -> Background:
            model = calibrated(saying(says, certainty=20), *made, sequences=24)
            return stack.enter_context(Background(model, Settings(port=0, places=8)))

        yield start


def at(server: Background, **options: Any) -> Endpoint:
    return connect(f"{server.url}/v1", **options)


def test_the_answer_is_the_one_of_the_model_there_with_its_bound(serving: Serve) -> None:
    seen: list[int] = []
    found = at(serving(calibration())).generate(
        COUNT, effort="medium", risk="10%", seed=1, max_tokens=60, progress=lambda texts: seen.append(len(texts))
    )
    alone = calibrated(saying("The answer is 9.", certainty=20), calibration(), sequences=24).ask(
        COUNT, effort="medium", risk="10%", seed=1, max_tokens=60
    )
    assert (found.text, found.answer, found.risk_bound, found.abstained) == ("The answer is 9.", "9", 0.1, False)
    assert found.confidence == pytest.approx(alone.confidence, rel=1e-4)
    assert found.confidence_source == alone.confidence_source
    assert found.search.shares == alone.search.shares
    assert found.tokens == alone.tokens
    assert seen, "how the vote stands was not told"


def test_what_is_not_sure_enough_abstains(serving: Serve) -> None:
    found = at(serving(calibration(threshold=0.95))).generate(COUNT, effort="medium", risk=0.1, seed=1)
    assert (found.abstained, found.risk_bound, found.answer) == (True, None, "9")
    assert any("95% are needed" in note for note in found.notes)


def test_a_server_without_a_calibration_is_quoted(serving: Serve) -> None:
    with pytest.raises(EndpointError, match=r"400 entropix.risk: a risk of 0\.1 cannot be kept.*not calibrated"):
        at(serving()).generate(COUNT, effort="medium", risk=0.1)


def test_another_server_is_refused_before_it_is_asked_anything(fake: Callable[[Behaviour], Fake]) -> None:
    def other(exchange: Exchange) -> None:
        exchange.say(["9"])

    server = fake(other)
    with pytest.raises(EndpointError, match=r"is no `entropix serve`.*leave the risk out"):
        connect(server.url).generate(COUNT, effort="medium", risk=0.1)
    assert not server.bodies


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"effort": "medium", "risk": "ten"}, "no share of wrong answers"),
        ({"risk": 0.1}, "give effort low, medium or high"),
        ({"risk": 0.1, "effort": "none"}, "give effort low, medium or high"),
        ({"risk": 0.1, "search": "vote:n=3,answer=number"}, "give effort low, medium or high"),
        ({"risk": 0.1, "effort": "low", "answer": str.strip}, "the name of an extractor"),
        ({"risk": 0.1, "effort": "low", "raw": True}, "without raw"),
    ],
)
def test_what_a_server_cannot_judge_is_refused_here(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        connect("http://127.0.0.1:9/v1").generate(COUNT, **options)


def test_the_time_limit_and_a_watch_end_the_wait(serving: Serve) -> None:
    server = serving(calibration(), says="9 " * 2000)
    with pytest.raises(EndpointError, match=r"time limit of 0\.2 s"):
        at(server, limit=0.2).generate(COUNT, effort="medium", answer="number", risk=0.1, max_tokens=4000)
    gone = threading.Event()
    threading.Timer(0.3, gone.set).start()
    begun = time.monotonic()
    with pytest.raises(EndpointError, match="stopped before"):
        at(server).generate(
            COUNT, effort="medium", answer="number", risk=0.1, max_tokens=4000, watch=lambda: not gone.is_set()
        )
    assert time.monotonic() - begun < 20


def test_the_command_shows_the_bound_or_that_it_abstains(serving: Serve, capfd: Any) -> None:
    def ask(server: Background, *more: str) -> tuple[int, str, str]:
        given = ["ask", "--endpoint", f"{server.url}/v1", "--seed", "1", "--risk", "10%", *more]
        return main(given), *capfd.readouterr()

    server = serving(calibration())
    code, out, err = ask(server, COUNT)
    assert (code, out) == (0, "9\n")
    assert "88% sure: 3 of 3 texts agree" in err
    assert "at most 10 % of the answers that are given are wrong, at confidence 95 %" in err
    code, out, _ = ask(server, OPEN)
    assert (code, out) == (0, "not sure enough to answer at a risk of 10 %\n")
    code, out, _ = ask(server, "--json", COUNT)
    told = json.loads(out)
    assert (told["risk_bound"], told["abstained"], len(told["search"]["branches"])) == (0.1, False, 3)
    code, out, err = ask(serving(), COUNT)
    assert (code, out) == (2, "")
    assert "not calibrated" in err
