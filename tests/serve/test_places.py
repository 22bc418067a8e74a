"""Where spans and fields of an answer stand: in the text that the client gets, whatever came before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from entropix.engines.scripted import ScriptedEngine, saying
from entropix.model import Model
from entropix.serve.process import Background
from helpers.templates import HERMES, THINKING, WEATHER, templated

Serving = Callable[..., Background]
MESSAGES = [{"role": "user", "content": "When?"}]
TEXT = "🙂 In 1887 Anna came."
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>'
ORDER = {
    "type": "object",
    "properties": {
        "who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "sizes": {"type": "array", "items": {"enum": ["S", "M"]}},
    },
    "required": ["who", "sizes"],
}
SPOKEN = '{"who":{"name":"Änn 🙂"},"sizes":["S","M"]}'


def engine(text: str = TEXT) -> ScriptedEngine:
    return ScriptedEngine(saying(text, certainty=6), sequences=24, context=1024, cells=8192)


def post(server: Background, path: str, **body: Any) -> dict[str, Any]:
    asked = {"model": "scripted", "max_tokens": 120, "seed": 1, "temperature": 0, **body}
    answer = httpx.post(f"{server.url}{path}", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def spans_of(answer: dict[str, Any], text: str) -> list[str]:
    """What stands in `text` where the answer's spans are said to be: the spans' own texts."""
    spans = answer["entropix"]["choices"][0]["result"]["spans"]
    said = [text[span["start"] : span["end"]] for span in spans]
    assert said == [span["text"] for span in spans]
    return said


def steps_of(answer: dict[str, Any]) -> list[list[str]]:
    """The texts of each span's steps."""
    (choice,) = answer["entropix"]["choices"]
    return [
        [step["text"] for step in choice["steps"][span["first"] : span["last"] + 1]]
        for span in choice["result"]["spans"]
    ]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"])
def test_every_api_has_spans_by_characters_of_its_content(serving: Serving, path: str) -> None:
    server = serving(engine())
    if path == "/v1/responses":
        answer = post(server, path, input="When?", max_tokens=None, max_output_tokens=60, seed=None)
        text = answer["output"][-1]["content"][0]["text"]
    elif path == "/api/chat":
        body = {"model": "scripted", "messages": MESSAGES, "stream": False, "options": {"temperature": 0, "seed": 1}}
        answer = httpx.post(f"{server.url}{path}", json=body, timeout=60).json()
        text = answer["message"]["content"]
        answer["entropix"] = {"choices": [answer["entropix"]]}
    else:
        answer = post(server, path, messages=MESSAGES, **({} if "chat" in path else {"seed": None}))
        text = answer["content"][0]["text"] if path == "/v1/messages" else answer["choices"][0]["message"]["content"]
    assert text == TEXT
    assert spans_of(answer, text) == ["1887", "Anna"]


def test_a_streams_last_chunk_has_spans_and_fields(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    schema = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER, "strict": True}}
    body = {"model": "scripted", "messages": MESSAGES, "seed": 1, "stream": True, "response_format": schema}
    server = serving(engine(SPOKEN))
    body["entropix"] = {}
    text = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    said = "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])
    result = events[-1]["entropix"]["result"]
    assert [span["text"] for span in result["spans"]] == ["Änn 🙂", "S", "M"]
    found = result["fields"]
    model = Model(engine(SPOKEN))
    whole = model.generate("When?", seed=1, constraint=ORDER)
    alone = whole.fields
    assert alone is not None
    assert result["uncertainties"] == pytest.approx(dict(whole.uncertainties), rel=1e-4)
    assert {"length", "msp", "perplexity", "mean-token-entropy", "ccp"} <= set(result["uncertainties"])
    value = json.loads(said)
    assert found["who"]["name"]["value"] == value["who"]["name"] == "Änn 🙂"
    assert [size["value"] for size in found["sizes"]] == value["sizes"]
    for record, field in ((found["who"]["name"], alone.who.name), (found["sizes"][1], alone.sizes[1])):
        assert said[record["start"] : record["end"]] == record["value"]
        for name in ("confidence", "probability", "mass", "unconstrained"):
            assert record[name] == pytest.approx(getattr(field, name), rel=1e-4)
        assert record["share"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_beside_reasoning_they_are_those_of_the_content(serving: Serving, stream: bool) -> None:
    server = serving(templated(THINKING, 'So 99 in Rome.</think>\n\n{"year": 1887, "n": "Anna"}'))
    asked = {"model": "scripted", "messages": MESSAGES, "max_tokens": 200, "temperature": 0, "stream": stream}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json={**asked, "entropix": {"steps": True}}, timeout=60)
    if stream:
        events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
        content = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
        steps = [step for e in events for step in e.get("entropix", {}).get("steps", [])]
        answer = {"entropix": {"choices": [{**events[-1]["entropix"], "steps": steps}]}}
    else:
        answer = reply.json()
        content = answer["choices"][0]["message"]["content"]
        assert answer["choices"][0]["message"]["reasoning_content"] == "So 99 in Rome."
    assert json.loads(content) == {"year": 1887, "n": "Anna"}
    assert spans_of(answer, content) == ["1887", "Anna"]
    assert ["".join(texts) for texts in steps_of(answer)] == ["1887", "Anna"]
    fields = answer["entropix"]["choices"][0]["result"]["fields"]
    assert (fields["year"]["value"], content[fields["n"]["start"] : fields["n"]["end"]]) == (1887, "Anna")


def test_beside_a_call_they_are_those_of_the_text_before_it(serving: Serving) -> None:
    server = serving(templated(HERMES, f"  Let me ask Anna.\n{CALL}"))
    answer = post(server, "/v1/chat/completions", messages=MESSAGES, tools=[WEATHER], max_tokens=300)
    message = answer["choices"][0]["message"]
    assert message["tool_calls"]
    assert spans_of(answer, message["content"]) == ["Anna"]
    alone = post(serving(templated(HERMES, CALL)), "/v1/chat/completions", messages=MESSAGES, tools=[WEATHER])
    assert alone["choices"][0]["message"]["tool_calls"]
    assert alone["entropix"]["choices"][0]["result"]["spans"] == []


@pytest.mark.parametrize("scored", [{}, {"logprobs": 2}])
def test_behind_an_echoed_prompt_they_stand_in_the_whole_text(serving: Serving, scored: dict[str, Any]) -> None:
    server = serving(engine('xxxxxxxxxxxx{"n": 1887}'))
    asked = {"prompt": "Who is 99? ", "entropix": {"steps": True}}
    plain = post(server, "/v1/completions", **asked)
    echoed = post(server, "/v1/completions", **asked, echo=True, **scored)
    text = echoed["choices"][0]["text"]
    assert text == "Who is 99? " + plain["choices"][0]["text"]
    assert spans_of(echoed, text) == spans_of(plain, plain["choices"][0]["text"]) == ["1887"]
    assert ["".join(texts) for texts in steps_of(echoed)] == ["1887"]
    results = [answer["entropix"]["choices"][0]["result"] for answer in (echoed, plain)]
    field = results[0]["fields"]["n"]
    assert text[field["start"] : field["end"]] == "1887"
    # the prompt's tokens are none of the answer's
    assert results[0]["uncertainties"] == pytest.approx(results[1]["uncertainties"], rel=1e-4)
    assert results[0]["uncertainty"] == pytest.approx(results[1]["uncertainty"], rel=1e-4)
    assert field["probability"] == pytest.approx(results[1]["fields"]["n"]["probability"], rel=1e-4)
