"""Completions as evaluation tools and editors use them: echo, markup, holes; and tokens over HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from entropix import Model
from entropix.engines.base import Engine
from entropix.engines.scripted import BEGIN, END, ScriptedEngine, ScriptedTokenizer, hashed
from entropix.serve.process import Background
from helpers.clients import MESSAGES, client_of, until

Serving = Callable[..., Background]
TEXT = "The sky 🙂 is blue."


def complete(client: openai.OpenAI, prompt: Any = TEXT, **options: Any) -> Any:
    asked = {"model": "scripted", "prompt": prompt, "temperature": 0, "max_tokens": 5}
    return client.completions.create(**{**asked, **options})


def expected(engine: Engine, tokens: list[int]) -> list[float]:
    """ln p of each token but the first, one forward at a time."""
    out = []
    sequence = engine.open(tokens[:1])
    logits = engine.forward([(sequence, tokens[:1])]).logits[0].astype(float)
    for token in tokens[1:]:
        top = logits.max()
        out.append(float(logits[token] - top - math.log(sum(math.exp(z - top) for z in logits))))
        logits = engine.forward([(sequence, [token])]).logits[0].astype(float)
    engine.close(sequence)
    return out


def test_an_empty_prompt_is_the_models_beginning_and_an_empty_turn_is_a_turn(serving: Serving) -> None:
    client = client_of(serving())
    assert complete(client, "").usage.prompt_tokens == 1
    assert complete(client, "").choices[0].text == complete(client, [BEGIN]).choices[0].text
    turn = [{"role": "user", "content": ""}]
    assert client.chat.completions.create(model="scripted", messages=turn, max_tokens=5).choices[0].message.content


def test_echo_states_the_log_probability_of_every_token_of_the_prompt(serving: Serving) -> None:
    server = serving()
    client = client_of(server)
    model: Model = server.server.reader.model
    tokens = model.encode(TEXT, raw=True)
    found = complete(client, max_tokens=0, echo=True, logprobs=1)
    scores = found.choices[0].logprobs
    assert found.choices[0].text == TEXT
    assert found.usage.completion_tokens == 0
    assert found.usage.prompt_tokens == len(tokens)
    assert scores.token_logprobs[0] is None
    assert scores.token_logprobs[1:] == pytest.approx(expected(ScriptedEngine(hashed(3.0)), tokens), abs=1e-4)
    assert len(scores.tokens) == len(scores.top_logprobs) == len(scores.text_offset) == len(tokens)


def test_echo_changes_nothing_about_the_answer_behind_it(serving: Serving) -> None:
    client = client_of(serving())
    mirostat = {"entropix": {"policy": "mirostat"}}
    for options in ({"temperature": 0}, {"temperature": 1}, {"temperature": None, "extra_body": mirostat}):
        asked: dict[str, Any] = {"seed": 5, **options}
        alone = complete(client, logprobs=0, **asked)
        scored = complete(client, logprobs=0, echo=True, **asked)
        repeated = complete(client, echo=True, **asked)
        text = alone.choices[0].text
        assert scored.choices[0].text == repeated.choices[0].text == TEXT + text
        n = len(alone.choices[0].logprobs.token_logprobs)
        assert scored.choices[0].logprobs.token_logprobs[-n:] == pytest.approx(alone.choices[0].logprobs.token_logprobs)
        assert scored.usage.completion_tokens == alone.usage.completion_tokens == 5


def test_a_stop_text_or_an_end_token_in_the_prompt_ends_no_echo(serving: Serving) -> None:
    client = client_of(serving())
    prompt = [BEGIN, *b"so", END, *b"it goes"]
    found = complete(client, prompt, echo=True, logprobs=0, stop=["so", "goes"], max_tokens=4)
    assert len(found.choices[0].logprobs.tokens) >= len(prompt)
    assert found.choices[0].logprobs.tokens[3] == "<end>"


def test_echo_streams_and_takes_several_prompts(serving: Serving) -> None:
    client = client_of(serving())
    whole = complete(client, ["ab", "x"], echo=True, logprobs=2, seed=1)
    texts: dict[int, str] = {0: "", 1: ""}
    tokens: dict[int, list[str]] = {0: [], 1: []}
    for chunk in complete(client, ["ab", "x"], echo=True, logprobs=2, seed=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            tokens[choice.index] += choice.logprobs.tokens if choice.logprobs else []
    for choice in whole.choices:
        assert texts[choice.index] == choice.text
        assert tokens[choice.index] == choice.logprobs.tokens


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"max_tokens": 0}, "echo: true"),
        ({"max_tokens": 0, "echo": True}, "logprobs"),
        ({"echo": True, "logprobs": 1, "n": 2}, "n=1"),
        ({"echo": True, "logprobs": 1, "extra_body": {"entropix": {"search": "vote:n=2"}}}, "search"),
        ({"suffix": "x"}, "no tokens for filling a hole"),
        ({"prompt": [1, 2], "suffix": "x"}, "prompt of text"),
    ],
    ids=str,
)
def test_what_has_no_echo_and_no_hole_is_refused(client: openai.OpenAI, options: Any, part: str) -> None:
    with pytest.raises(openai.BadRequestError, match=part):
        complete(client, **options)


def test_markup_in_a_prompt_becomes_its_token_unless_that_is_not_wanted(serving: Serving) -> None:
    server = serving()
    client = client_of(server)
    used = [
        complete(client, "<user>hi", extra_body={"entropix": {"parse_special": wanted}}).usage.prompt_tokens
        for wanted in (None, True, False)
    ]
    assert used == [1 + 1 + 2, 1 + 1 + 2, 1 + 8]
    assert complete(client, "hi", extra_body={"add_special_tokens": False}).usage.prompt_tokens == 2
    plain = client_of(serving(parse_special=False))
    assert complete(plain, "<user>hi").usage.prompt_tokens == 9


class Filling(ScriptedTokenizer):
    """Control tokens for holes."""

    NAMES = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        if special and text in self.NAMES:
            return [(BEGIN, 258, 259)[self.NAMES.index(text)]]
        return super().encode(text, special=special, begin=begin)

    def label(self, token: int) -> str:
        return dict(zip((BEGIN, 258, 259), self.NAMES, strict=True)).get(token) or super().label(token)


def test_a_hole_is_filled_by_a_model_that_has_tokens_for_it(serving: Serving) -> None:
    engine = ScriptedEngine(hashed(3.0), sequences=24)
    engine.tokenizer = Filling()
    server = serving(engine)
    found = complete(client_of(server), "def f(", suffix="): pass")
    assert found.usage.prompt_tokens == 1 + 3 + len("def f(") + len("): pass")
    body = b'{"model": "scripted", "prompt": "def f(", "suffix": "\\ud800"}'
    refused = httpx.post(f"{server.url}/v1/completions", content=body, headers={"content-type": "application/json"})
    assert refused.status_code == 400
    assert "lone surrogate" in refused.json()["error"]["message"]


def test_tokens_go_there_and_back_in_the_shapes_of_vllm_and_llama_cpp(server: Background) -> None:
    def post(path: str, **body: Any) -> Any:
        return httpx.post(f"{server.url}{path}", json=body).json()

    found = post("/tokenize", prompt=TEXT)
    assert found["tokens"][0] == BEGIN
    assert found["count"] == len(found["tokens"])
    assert post("/tokenize", prompt=TEXT, add_special_tokens=False)["tokens"] == found["tokens"][1:]
    assert post("/tokenize", content=TEXT)["tokens"] == found["tokens"][1:]
    assert post("/tokenize", content="<end>")["tokens"] == [END]
    assert len(post("/tokenize", content="<end>", parse_special=False)["tokens"]) == 5
    assert post("/tokenize", content="a", with_pieces=True)["tokens"] == [{"id": 97, "piece": "a"}]
    assert post("/tokenize", messages=MESSAGES)["count"] > 3
    back = post("/detokenize", tokens=found["tokens"])
    assert back["prompt"] == back["content"] == "<begin>" + TEXT
    assert "one of prompt, content" in post("/tokenize")["error"]["message"]
    assert "0 … 259" in post("/detokenize", tokens=[10**6])["error"]["message"]
    assert post("/detokenize", tokens=[])["prompt"] == ""
    assert httpx.get(f"{server.url}/tokenizer_info").json()["eos_token"] == "<end>"


def test_embeddings_are_refused_in_one_sentence(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="makes no embeddings"):
        client.embeddings.create(model="scripted", input="hi")


@pytest.mark.parametrize("path", ["/embeddings", "/api/embed", "/api/embeddings"])
def test_so_are_they_without_v1_and_by_ollamas_names(server: Background, path: str) -> None:
    answer = httpx.post(f"{server.url}{path}", json={"model": "scripted", "input": "hi"})
    assert answer.status_code == 501
    error = answer.json()["error"]
    assert "makes no embeddings" in (error if path.startswith("/api/") else error["message"])


@pytest.mark.parametrize("path", ["chat/completions", "completions", "models", "responses"])
def test_paths_without_v1_are_the_same(server: Background, path: str) -> None:
    body = {"model": "scripted", "max_tokens": 2, "messages": MESSAGES}
    if path == "completions":
        body = {"model": "scripted", "max_tokens": 2, "prompt": "hi"}
    elif path == "responses":
        body = {"model": "scripted", "max_output_tokens": 2, "input": "hi"}
    answer = httpx.get(f"{server.url}/{path}") if path == "models" else httpx.post(f"{server.url}/{path}", json=body)
    assert answer.status_code == 200, answer.text


def test_stops_and_lengths_as_clients_send_them(client: openai.OpenAI) -> None:
    whole = complete(client, max_tokens=12, seed=2).choices[0].text
    assert complete(client, max_tokens=12, seed=2, stop="").choices[0].text == whole
    assert complete(client, max_tokens=12, seed=2, stop=["", "zzzz"]).choices[0].text == whole
    cut = complete(client, max_tokens=12, seed=2, stop=["1q", "2q", "3q", "4q", whole[3:6]]).choices[0]
    assert cut.text == whole[:3]
    assert complete(client, max_tokens=-1, stop=whole[3:6]).choices[0].text == whole[:3]


def test_a_strict_server_refuses_what_others_note(serving: Serving) -> None:
    strict, lenient = client_of(serving(strict=True)), client_of(serving())
    for options in ({"temperature": 1.9}, {"n": 100}, {"max_tokens": 100_000}):
        asked: Any = {"model": "scripted", "messages": MESSAGES, "max_tokens": 4, "stop": "e", **options}
        lenient.chat.completions.create(**asked)
        with pytest.raises(openai.BadRequestError, match="strict"):
            strict.chat.completions.create(**asked)
    strict.chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=4)  # type: ignore[arg-type]


def test_the_echo_of_smollm2_is_what_the_evaluation_plug_in_scores(real_server: Background) -> None:
    from entropix.engines.scoring import scores

    model = real_server.server.reader.model
    texts = ["The capital of France is Paris.", "The capital of France is 🙂 cheese."]
    tokens = [model.encode(text, raw=True) for text in texts]
    # the engine is one thread's at a time: the server's must have given everything back
    until(lambda: real_server.server.scheduler._in_flight == 0)
    wanted = dict(scores(model.engine, [(one[:4], one[4:]) for one in tokens]))
    client = client_of(real_server)
    found = client.completions.create(model="smollm2", prompt=texts, max_tokens=1, logprobs=1, echo=True, temperature=0)
    for choice in found.choices:
        assert choice.logprobs is not None
        logprobs: Any = choice.logprobs.token_logprobs
        assert sum(logprobs[4:-1]) == pytest.approx(wanted[choice.index].logprob, abs=0.05)
