"""`entropix.progress`: how a vote stands, while it is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entropix.engines.scripted import ScriptedEngine, saying
from entropix.serve.process import Background
from helpers.clients import client_of
from helpers.scripts import seven_or_on_and_on

Serving = Callable[..., Background]


def stream(server: Background, **ours: Any) -> list[dict[str, Any]]:
    chunks = client_of(server).chat.completions.create(
        model="scripted",
        messages=[{"role": "user", "content": "How many are left?"}],
        seed=1,
        max_tokens=60,
        stream=True,
        extra_body={"entropix": ours},
    )
    return [chunk.entropix for chunk in chunks if getattr(chunk, "entropix", None)]


def test_every_text_that_begins_or_ends_is_told_before_the_answer(serving: Serving) -> None:
    server = serving(ScriptedEngine(saying("The answer is 9.", certainty=20), sequences=24))
    told = stream(server, effort="medium", progress=True)
    progress = [one["progress"] for one in told if "progress" in one]
    assert progress[0] == {"texts": 3, "ended": 0, "answers": {}, "tokens": 3}
    counts = [(one["texts"], one["ended"]) for one in progress]
    assert counts == sorted(counts), "texts only come"
    assert len(set(counts)) == len(counts), "nothing is told twice"
    assert max(one["texts"] for one in progress) >= 3
    assert "result" in told[-1]
    assert all("progress" not in one for one in told[-1:])


def test_answers_come_in_with_their_counts(serving: Serving) -> None:
    server = serving(ScriptedEngine(seven_or_on_and_on, sequences=24))
    told = stream(server, search="vote:n=4,answer=number,stop=none,wave=1", progress=True)
    answers = [one["progress"]["answers"] for one in told if "progress" in one]
    assert any(answers), "an answer is seen before the vote has ended"


def test_nothing_of_it_is_sent_unless_it_is_asked_for(serving: Serving) -> None:
    server = serving(ScriptedEngine(saying("The answer is 9.", certainty=20), sequences=24))
    assert all("progress" not in one for one in stream(server, effort="medium"))
    assert all("progress" not in one for one in stream(server, progress=True)), "one text has no progress to tell"
