"""The lm-eval model answers as `Model.generate` does, scores what lm_eval asks for, and leaks nothing."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("lm_eval")
import entropix
from entropix import Model
from entropix.engines import Engine
from entropix.engines.scripted import ASSISTANT, BEGIN, END, USER, ScriptedEngine, hashed, saying
from entropix.errors import CapabilityError, EntropixError, ParameterError, PromptError
from entropix.plugins.lm_eval.__main__ import main
from entropix.plugins.lm_eval.model import EntropixLM, seed_of

ROOT = Path(__file__).parents[2]


class Request(NamedTuple):
    """As much of lm_eval's Instance as a model looks at."""

    args: tuple[Any, ...]


def lm_of(engine: Engine | None = None, **options: Any) -> EntropixLM:
    engine = engine or ScriptedEngine(hashed(1.0), context=200, sequences=8)
    return EntropixLM(Model(engine), **options)


def generated(lm: EntropixLM, *contexts: str, **settings: Any) -> list[str]:
    texts = lm.generate_until([Request((context, settings)) for context in contexts], disable_tqdm=True)
    assert lm.model.engine.cells_used() == 0
    return texts


def scored(lm: EntropixLM, *pairs: tuple[str, str]) -> list[tuple[float, bool]]:
    found = lm.loglikelihood([Request(pair) for pair in pairs], disable_tqdm=True)
    assert lm.model.engine.cells_used() == 0
    return found


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
@pytest.mark.parametrize(
    ("policy", "search"),
    [("greedy", None), ("sample:temperature=0.9;top_p=0.8", None), ("entropix", "vote:n=2;answer=text")],
)
def test_answers_are_those_of_generate_with_the_same_seed(
    batch_size: int | str, policy: str, search: str | None
) -> None:
    lm = lm_of(policy=policy, search=search, seed=7, batch_size=batch_size)
    questions = ["one", "two and more", "three", "four"]
    answers = generated(lm, *questions, max_gen_toks=12, until=["e"])
    for question, answer in zip(questions, answers, strict=True):
        result = lm.model.generate(
            question,
            raw=True,
            policy=policy.replace(";", ","),
            search=search and search.replace(";", ","),
            seed=seed_of(7, question, 0),
            max_tokens=12,
            stop="e",
        )
        assert answer == result.text
        assert "e" not in answer
    assert len(set(answers)) == 4


def test_a_seed_of_its_own_gives_each_question_and_each_asking_its_own_answer() -> None:
    lm = lm_of(policy="sample:temperature=1")
    first = generated(lm, "a", "a", "b", max_gen_toks=20)
    assert len(set(first)) == 3
    assert generated(lm, "a", "a", "b", max_gen_toks=20) == first
    assert generated(lm, "b", max_gen_toks=20) == first[2:]
    assert set(generated(lm_of(policy="sample:temperature=1", seed=1), "a", "b", max_gen_toks=20)).isdisjoint(first)


@pytest.mark.parametrize(
    ("until", "text"),
    [
        ("\n", "first"),
        (["\n"], "first"),
        (["nd", "\n"], "first"),
        (["", "ond"], "first\nsec"),
        ("", "first\nsecond"),
        ([], "first\nsecond"),
        (None, "first\nsecond"),
    ],
)
def test_answers_end_ahead_of_a_stop_string_and_empty_ones_stop_nothing(until: Any, text: str) -> None:
    lm = lm_of(ScriptedEngine(saying("first\nsecond", after=b"?")), policy="greedy")
    assert generated(lm, "what?", until=until) == [text]


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_the_length_has_the_names_that_lm_eval_knows(name: str) -> None:
    lm = lm_of(ScriptedEngine(saying("0123456789" * 40, after=b"?")), policy="greedy", max_gen_toks=7)
    assert generated(lm, "?", **{name: 5}) == ["01234"]
    assert generated(lm, "?", max_tokens=9, max_gen_toks=3) == ["012"]
    assert generated(lm, "?") == ["0123456"]


def test_what_gen_kwargs_ask_for_in_vain_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    lm = lm_of(policy="greedy")
    caplog.clear()  # of what is said about the model
    with caplog.at_level(logging.WARNING):
        generated(lm, "a", "b", do_sample=False, temperature=0.0, until=["x"], max_gen_toks=2)
        assert not caplog.records
        generated(lm, "a", "b", do_sample=True, temperature=0.7, top_p=0.9, max_gen_toks=2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "temperature of gen_kwargs do nothing: policy 'greedy'" in said[0]
    assert "top_p" in said[1]


def test_a_question_that_is_too_long_loses_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[int, ...]] = []

    def script(tokens: tuple[int, ...]) -> np.ndarray:
        seen.append(tokens)
        return saying("x")(tokens)

    lm = lm_of(ScriptedEngine(script, context=50), policy="greedy")
    with caplog.at_level(logging.WARNING):
        generated(lm, "y" * 30 + "z" * 20, max_gen_toks=20)
    assert seen[0] == tuple(b"y" * 10 + b"z" * 20)
    assert "longer than 30 tokens" in caplog.text
    with pytest.raises(ParameterError, match="max_gen_toks=50 leaves no room for the question: the context holds 50"):
        generated(lm, "y", max_gen_toks=50)


def test_an_engine_that_fails_in_an_answer_leaks_nothing() -> None:
    def failing(tokens: tuple[int, ...]) -> np.ndarray:
        if len(tokens) > 20:
            raise RuntimeError("broken")
        return hashed()(tokens)

    lm = lm_of(ScriptedEngine(failing), policy="greedy", search="vote:n=3")
    with pytest.raises(RuntimeError, match="broken"):
        generated(lm, "a", "b", "a longer one")
    assert lm.model.engine.cells_used() == 0


# --- conversations -----------------------------------------------------------------------------------------------


def test_a_conversation_is_put_in_the_models_own_template() -> None:
    lm = lm_of(policy="greedy")
    messages = [{"role": "system", "content": "be\nbrief"}, {"role": "user", "content": 'a "b" <end>'}]
    context = lm.apply_chat_template(messages)
    assert lm.tok_encode(context) == lm.model.tokenizer.chat(messages)
    assert lm.tok_encode(context).count(END) == 2  # what a text says is no control token
    (answer,) = generated(lm, context, max_gen_toks=9)
    seed = seed_of(0, context, 0)
    assert answer == lm.model.generate(messages, policy="greedy", max_tokens=9, seed=seed).text
    assert lm.tok_encode("hi") == [BEGIN, *b"hi"]


def test_an_answer_that_is_begun_goes_on() -> None:
    lm = lm_of()
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "The answer is "}]
    context = lm.apply_chat_template(messages, add_generation_prompt=False)
    assert lm.tok_encode(context) == [BEGIN, USER, *b"q", END, ASSISTANT, *b"The answer is "]
    # lm_eval counts a context's last space to the continuation
    assert lm._encode_pair(context, "42") == (lm.tok_encode(context)[:-1], [*b" 42"])


def test_choices_in_a_conversation_are_scored_after_it() -> None:
    lm = lm_of(ScriptedEngine(saying("B")))
    context = lm.apply_chat_template([{"role": "user", "content": "A or B?"}])
    (a, b) = scored(lm, (context, "A"), (context, "B"))
    assert b == (pytest.approx(-math.log(1 + 259 * math.exp(-12)), abs=1e-5), True)
    assert a == (pytest.approx(b[0] - 12, abs=1e-4), False)


def test_what_cannot_be_said_about_templates_is_refused() -> None:
    assert "scripted" in str(lm_of().chat_template(True))
    assert lm_of().chat_template(False) is None
    with pytest.raises(ParameterError, match="no chat template 'alpaca'"):
        lm_of().chat_template("alpaca")
    engine = ScriptedEngine()
    engine.tokenizer.has_chat_template = False  # type: ignore[misc]
    with pytest.raises(PromptError, match="has no chat template; leave --apply_chat_template out"):
        lm_of(engine).chat_template(True)


# --- log-likelihoods ---------------------------------------------------------------------------------------------


def test_log_likelihoods_are_of_the_continuation_only() -> None:
    lm = lm_of()
    pairs = [("ab", "c"), ("ab", "cde"), ("ab ", "cde"), ("other", "x")]
    for (context, rest), (logprob, greedy) in zip(pairs, scored(lm, *pairs), strict=True):
        tokens, begin = [BEGIN, *(context + rest).encode()], 1 + len(context.rstrip())
        rows = [(hashed(1.0)(tuple(tokens[:n])), tokens[n]) for n in range(begin, len(tokens))]
        assert logprob == pytest.approx(sum(row[t] - np.logaddexp.reduce(row) for row, t in rows), abs=1e-4)
        assert greedy == all(int(row.argmax()) == t for row, t in rows)


@pytest.mark.parametrize("context", ["", " ", "\n\n"])
def test_without_a_context_the_beginning_of_a_text_stands_for_it(context: str) -> None:
    lm = lm_of()
    ((logprob, _),) = scored(lm, (context, "a"))
    tokens = [BEGIN, *(context + "a").encode()]
    rows = [(hashed(1.0)(tuple(tokens[:n])), tokens[n]) for n in range(1, len(tokens))]
    assert logprob == pytest.approx(sum(row[t] - np.logaddexp.reduce(row) for row, t in rows), abs=1e-4)


def test_a_text_that_is_too_long_loses_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    whole, long = lm_of(ScriptedEngine(only_the_last_ten)), lm_of(ScriptedEngine(only_the_last_ten, context=30))
    pairs = [("y" * 60, "abc"), ("y" * 60, "abcdefghij" * 2), ("ab", "cd")]
    with caplog.at_level(logging.WARNING):
        assert scored(long, *pairs) == scored(whole, *pairs)
        assert "longer than 31 tokens" in caplog.text
        ((logprob, _),) = scored(long, ("a", "b" * 300))  # a continuation longer than the context
    assert math.isfinite(logprob)


def only_the_last_ten(tokens: tuple[int, ...]) -> np.ndarray:
    return hashed(1.0)(tokens[-10:])


def test_whole_texts_are_scored_in_windows_of_the_contexts_length() -> None:
    text = "".join(chr(97 + n % 26) for n in range(45))
    lm = lm_of(ScriptedEngine(context=20))
    (total, empty) = lm.loglikelihood_rolling([Request((text,)), Request(("",))], disable_tqdm=True)
    assert lm.model.engine.cells_used() == 0
    tokens = [BEGIN, *text.encode()]
    # each token once; windows of 20 tokens, the last one with as much context as fits
    begins = [0] * 20 + [20] * 20 + [25] * 5
    by_hand = 0.0
    for n, begin in enumerate(begins, 1):
        row = hashed()(tuple(tokens[begin:n]))
        by_hand += row[tokens[n]] - np.logaddexp.reduce(row)
    assert total == pytest.approx(by_hand, abs=1e-3)
    assert empty == 0


def test_a_real_models_greedy_answer_is_greedy_and_its_log_likelihood_is_that_of_its_steps(
    llama_engine: Engine,
) -> None:
    lm = lm_of(llama_engine, policy="greedy")
    question = "The largest city of France is"
    result = lm.model.generate(question, raw=True, policy="greedy", seed=1, max_tokens=6)
    assert len(result.tokens) == 6
    ((logprob, greedy), (other, _)) = scored(lm, (question, result.text), (question, " Berlin"))
    assert generated(lm, question, max_gen_toks=6) == [result.text]
    assert greedy
    assert logprob == pytest.approx(-result.surprisal, abs=0.02)
    assert other < logprob


def test_lm_evals_own_cache_saves_asking_again(tmp_path: Path) -> None:
    pytest.importorskip("sqlitedict")
    from lm_eval.api.model import CachingLM

    lm = lm_of(policy="greedy")
    asked: list[tuple[str, list[Any]]] = [
        ("generate_until", [Request(("a", {"max_gen_toks": 4})), Request(("b", {"max_gen_toks": 4}))]),
        ("loglikelihood", [Request(("a", "b")), Request(("a", "cd"))]),
        ("loglikelihood_rolling", [Request(("abc",))]),
    ]
    first = [getattr(CachingLM(lm, str(tmp_path / "cache")), kind)(requests) for kind, requests in asked]
    forwards = lm.model.engine.forwards
    again = [getattr(CachingLM(lm, str(tmp_path / "cache")), kind)(requests) for kind, requests in asked]
    assert (again, lm.model.engine.forwards) == (first, forwards)


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 1}, "'temperature' is unknown; known are model, policy, search"),
        ({"pretrained": "gpt2"}, "'pretrained' is unknown"),
        ({"batch_size": 0}, "batch_size=0 is not an integer from 1 on"),
        ({"batch_size": "many"}, "batch_size='many'"),
        ({"seed": "x"}, "seed='x' is not an integer from 0 on"),
        ({"max_gen_toks": -1}, "max_gen_toks=-1"),
        ({"policy": "nonsense"}, "nonsense"),
        ({"policy": "sample:heat=1"}, "heat"),
        ({"search": "nonsense"}, "no search 'nonsense'"),
    ],
)
def test_mistakes_in_the_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EntropixError, match=message):
        lm_of(**options)


def test_a_search_that_the_engine_cannot_do_is_refused_at_once() -> None:
    with pytest.raises(CapabilityError, match="draws several texts of one prompt, and this engine cannot"):
        lm_of(ScriptedEngine(fork=False), search="vote:n=2")


def test_arguments_go_on_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> Model:
        asked.update(options, name=name)
        return Model(ScriptedEngine(sequences=options["sequences"]))

    monkeypatch.setattr(entropix, "load", load)
    # lm_eval says batch_size=1 and device="cuda:0" where the user said nothing
    command_line = {"batch_size": 1, "max_batch_size": None, "device": "cuda:0"}
    lm = EntropixLM.create_from_arg_obj({"model": "m", "threads": 2, "batch_size": 20}, command_line)
    assert asked == {"name": "m", "profile": None, "sequences": 20, "threads": 2}
    assert lm.batch == 20
    assert EntropixLM.create_from_arg_obj({}, {**command_line, "device": "cpu"}).batch == 1
    assert asked == {"name": "smollm2", "profile": None, "sequences": 16, "device": "cpu", "threads": 2}


# --- the command line --------------------------------------------------------------------------------------------

QUESTIONS = [
    ("What is the capital of France?", ["Berlin", "Paris", "Rome"], 1),
    ("What is 2 + 3?", ["5", "9", "1"], 0),
    ("How many legs has a dog?", ["two", "four", "six"], 1),
]
CHOICE = """
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
TEXT = """
output_type: generate_until
doc_to_text: "{{question}} Say only the answer."
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tasks mine_choice and mine_text, and no way to the network."""
    data = tmp_path / "data.jsonl"
    rows = [{"question": q, "choices": c, "answer": a} for q, c, a in QUESTIONS]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    for name, text in (("mine_choice", CHOICE), ("mine_text", TEXT)):
        source = {"test": str(data)}
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {json.dumps({'data_files': source})}\n"
        (tmp_path / f"{name}.yaml").write_text(f"{head}test_split: test\n{text}")
    for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1"), ("HF_HOME", str(tmp_path / "hf"))):
        monkeypatch.setenv(name, value)
    return tmp_path


def command(tasks: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "entropix.plugins.lm_eval", "--model", "entropix", "--include_path", str(tasks)]
    line += ["--output_path", str(tasks / "out"), *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(line, capture_output=True, text=True, env=env, cwd=tasks, check=False)


def test_the_command_line_runs_tasks_of_all_kinds(tasks: Path, llama_engine: Engine) -> None:
    arguments = "model=smollm2,threads=1,context=1024,policy=sample:temperature=0.2,search=vote:n=2;answer=number"
    done = command(
        tasks, "--model_args", arguments, "--tasks", "mine_choice,mine_text", "--batch_size", "4", "--log_samples",
        "--apply_chat_template",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = (tasks / "out").rglob("results_*.json")
    found = json.loads(file.read_text())
    assert found["n-samples"]["mine_text"]["effective"] == 3
    assert found["config"]["search"] == "vote:n=2,answer=number"
    assert found["config"]["engine"] == "LlamaCppEngine"

    lm = lm_of(llama_engine, policy="sample:temperature=0.2", search="vote:n=2,answer=number")
    right, answers = 0, []
    for question, choices, answer in QUESTIONS:
        chat = lm.apply_chat_template([{"role": "user", "content": f"Question: {question}\nAnswer:"}])
        logprobs = [logprob for logprob, _ in scored(lm, *((chat, choice) for choice in choices))]
        right += logprobs.index(max(logprobs)) == answer
        chat = lm.apply_chat_template([{"role": "user", "content": f"{question} Say only the answer."}])
        answers += generated(lm, chat, max_gen_toks=16, until=["\n"])
    assert found["results"]["mine_choice"]["acc,none"] == pytest.approx(right / 3)
    (samples,) = (tasks / "out").rglob("samples_mine_text_*.jsonl")
    assert [json.loads(line)["resps"][0][0] for line in samples.read_text().splitlines()] == answers


def test_a_mistake_gets_one_message_and_exit_code_2(
    tasks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["lm_eval", "run", "--model", "entropix", "--model_args", "nonsense=1", "--tasks", "mine_text"]
    monkeypatch.setattr(sys, "argv", [*line, "--include_path", str(tasks)])
    assert main() == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("entropix: model_args: 'nonsense' is unknown; known are model, ")


def test_without_lm_eval_the_command_says_what_to_install() -> None:
    code = (
        "import sys, runpy\nsys.modules['lm_eval'] = None\n"
        "runpy.run_module('entropix.plugins.lm_eval', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "entropix: the lm-eval model needs lm_eval; install it with: pip install 'entropix-llm[lm-eval]'"
    )


def test_the_entry_point_names_the_model() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    value = project["entry-points"]["lm_eval.models"]["entropix"]
    assert importlib.metadata.EntryPoint("entropix", value, "lm_eval.models").load() is EntropixLM
    from lm_eval.api.registry import get_model

    assert get_model("entropix") is EntropixLM


def test_b7_a_continuation_that_merges_with_its_context_is_not_certain(llama_engine: Engine) -> None:
    lm = lm_of(llama_engine)
    pairs = [("The capital of Fran", "ce"), ("The capital of Fran", "cis"), ("The capital of", " France")]
    (france, _), (francis, _), (apart, _) = scored(lm, *pairs)
    assert francis < france < 0
    assert france == pytest.approx(apart, abs=0.02)
    assert lm.prefix_token_id == 1, "SmolLM2's own"
