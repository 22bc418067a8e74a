"""`--temperature`, `--top-p`, `--top-k`, `--min-p`, and `entropix run`: what people type from habit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from entropix.cli.options import Default
from entropix.cli.remote import sampling
from entropix.engines.scripted import saying
from entropix.trace import read_trace


def header(cli: Any, tmp_path: Path, *arguments: str) -> Any:
    outcome = cli(*arguments, "--trace", str(tmp_path / "t"), "How many are left?")
    assert outcome.code == 0, outcome.err
    return read_trace(tmp_path / "t").header


@pytest.mark.parametrize("command", ["generate", "ask"])
def test_what_is_typed_is_the_policys_own_parameter(cli: Any, tmp_path: Path, command: str) -> None:
    typed = ("--temperature", "0.5", "--top-p", "0.8", "--top-k", "20", "--min-p", "0.1")
    found = header(cli, tmp_path, command, *typed)
    assert found["policy"] == ("entropix" if command == "generate" else "sample")
    asked = {"temperature": 0.5, "top_p": 0.8, "top_k": 20, "min_p": 0.1}
    assert {name: found["parameters"][name] for name in asked} == asked
    assert "filters" not in found


def test_it_reaches_the_policy_that_decides(cli: Any, tmp_path: Path) -> None:
    cli.script = saying("abc", certainty=3)
    arguments = ("--policy", "sample", "--temperature", "0.25", "--top-k", "7", "--seed", "1", "hi")
    assert cli("generate", "--trace", str(tmp_path / "t"), *arguments).code == 0
    step = read_trace(tmp_path / "t").answers[0].steps[0]
    assert (step.temperature, step.top_k) == (0.25, 7)


def test_a_policy_without_them_has_top_k_and_min_p_as_filters_under_it(cli: Any, tmp_path: Path) -> None:
    found = header(
        cli, tmp_path, "generate", "-p", "mirostat", "--top-k", "5", "--min-p", "0.2", "--temperature", "0.9"
    )
    assert found["filters"] == "top_k=5,min_p=0.2"
    assert found["parameters"]["temperature"] == 0.9


@pytest.mark.parametrize("command", ["generate", "ask"])
def test_temperature_0_is_greedy_whatever_else_is_typed(cli: Any, tmp_path: Path, command: str) -> None:
    assert header(cli, tmp_path, command, "--temperature", "0", "--top-p", "0.9")["policy"] == "greedy"


def test_temperature_0_of_greedy_is_no_contradiction(cli: Any, tmp_path: Path) -> None:
    assert header(cli, tmp_path, "generate", "-p", "greedy", "--temperature", "0")["policy"] == "greedy"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-p", "greedy", "--temperature", "0.7"), "--temperature 0.7 contradicts --policy greedy"),
        (("-p", "greedy", "--top-k", "5"), "--top-k 5 contradicts --policy greedy"),
        (("-p", "dynatemp", "--temperature", "0.7"), "policy 'dynatemp' has no temperature; it has low, high"),
        (("-p", "top-n-sigma", "--top-p", "0.7"), "policy 'top-n-sigma' has no top_p; it has n, temperature"),
        (("--temperature", "0.7", "-p", "sample:temperature=0.6"), "--policy temperature=0.6 contradict each other"),
        (("--temperature", "-1"), "entropix: temperature=-1.0 is out of range"),
        (("--temperature", "nan"), "temperature=nan is out of range"),
        (("--temperature", "0", "--top-p", "7"), "top_p=7.0 is out of range"),
        (("-p", "mirostat", "--min-p", "2"), "filters: min_p=2.0 is out of range"),
        (("--top-k", "many"), "argument --top-k: invalid int value: 'many'"),
    ],
)
@pytest.mark.parametrize("command", ["generate", "chat", "ask"])
def test_what_cannot_be_is_said_before_a_model_is_loaded(
    cli: Any, command: str, arguments: tuple[str, ...], said: str
) -> None:
    outcome = cli(command, *arguments, *(["hi"] * (command != "chat")), stdin=b"hi\n")
    assert outcome.code == 2
    assert said.replace("entropix:", "sample:" if command == "ask" else "entropix:") in outcome.err
    assert cli.loads == []


def test_set_and_an_option_that_say_two_things_contradict_each_other(cli: Any) -> None:
    outcome = cli("generate", "--top-p", "0.5", "--set", "top_p=0.6", "hi")
    assert (outcome.code, "--top-p 0.5 and --set top_p=0.6 contradict each other" in outcome.err) == (2, True)
    assert cli("generate", "--top-p", "0.5", "--set", "top_p=0.5", "hi").code == 0


def test_a_chat_takes_them_and_another_policy_ends_them(cli: Any, tmp_path: Path) -> None:
    lines = f"hi\n/policy mirostat\n/trace {tmp_path / 'b'}\nhi\n".encode()
    first = str(tmp_path / "a")
    assert cli("chat", "-p", "edt", "--top-k", "3", "--top-p", "0.7", "--trace", first, stdin=lines).code == 0
    before, after = read_trace(first).header, read_trace(tmp_path / "b").header
    assert (before["policy"], before["filters"], before["parameters"]["top_p"]) == ("edt", "top_k=3", 0.7)
    assert (after["policy"], "filters" in after) == ("mirostat", False)


# run


def test_run_with_a_prompt_answers_it_by_the_model_named_first(cli: Any) -> None:
    outcome = cli("run", "mine.gguf", "-c", "2048", "-ngl", "3", "--temperature", "0.5", "hi")
    assert outcome.code == 0
    assert outcome.out == cli("generate", "hi").out
    name, options = cli.loads[0]
    assert (name, options["context"], options["gpu_layers"]) == ("mine.gguf", 2048, 3)


def test_run_reads_a_pipe_and_takes_a_question_for_what_it_is(cli: Any) -> None:
    assert cli("run", "mine.gguf", "-q", stdin=b"hi").code == 0
    assert cli("run", "-q", "Why is the sky blue?").code == 0
    assert [name for name, _ in cli.loads] == ["mine.gguf", "smollm2"]
    assert json.loads(cli("run", "smollm2", "--json", "hi").out)["prompt"] == "hi"


def test_run_without_a_prompt_is_a_conversation_on_a_terminal(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["hi", "/quit"])
    monkeypatch.setattr(sys, "stdin", Terminal(lines))
    outcome = cli("run", "mine.gguf")
    assert outcome.code == 0
    assert "/help lists the commands" in outcome.err
    assert "Hello" in outcome.out


def test_run_refuses_what_a_conversation_does_not_have(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(iter(())))
    outcome = cli("run", "mine.gguf", "--json")
    assert (outcome.code, cli.loads) == (2, [])
    assert "--json is for an answer; give a prompt after the model" in outcome.err


class Terminal:
    """Standard input where somebody types."""

    def __init__(self, lines: Any) -> None:
        self.lines = lines

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        line = next(self.lines, None)
        return "" if line is None else f"{line}\n"


# what one may have meant


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "--temprature", "1", "hi"), "did you mean --temperature?"),
        (("generate", "--gpu_layers=3", "hi"), "did you mean --gpu-layers?"),
        (("genrate", "hi"), "did you mean generate?"),
        (("list",), "did you mean models?"),
        (("version",), "did you mean --version?"),
        (("generate", "--set", "clarify_heet=1", "hi"), "did you mean clarify_heat?"),
        (("ask", "--effort", "hgh", "hi"), "did you mean high?"),
    ],
)
def test_a_word_that_is_nearly_right_is_suggested(cli: Any, arguments: tuple[str, ...], said: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, cli.loads) == (2, [])
    assert said in outcome.err


def test_a_mistake_is_not_hidden_by_a_long_usage(cli: Any) -> None:
    assert cli("ask", "--seed", "one", "hi").err.splitlines() == [
        "usage: entropix ask …   (`entropix ask --help` explains every option)",
        "entropix ask: error: argument --seed: invalid int value: 'one'",
    ]
    assert cli("completion", "cmd").err.startswith("usage: entropix completion [-h] [SHELL]\n")


def test_a_word_like_no_other_gets_no_suggestion(cli: Any) -> None:
    assert "did you mean" not in cli("generate", "--xyzzy", "hi").err


def test_options_may_stand_between_prompts(cli: Any) -> None:
    outcome = cli("generate", "first", "--seed", "1", "second", "--", "-third")
    assert outcome.code == 0
    assert [line for line in outcome.out.splitlines() if line.startswith("──")] == [
        "── 1 of 3: first",
        "── 2 of 3: second",
        "── 3 of 3: -third",
    ]


def test_an_endpoint_is_sent_what_was_typed_and_decides_the_rest_itself() -> None:
    assert sampling(Default("entropix"), {}) == {"fields": {}}
    typed = {"temperature": 0.0, "top_p": 0.9, "top_k": 5}
    assert sampling(Default("entropix"), typed) == {"temperature": 0.0, "top_p": 0.9, "fields": {"top_k": 5}}


def test_adapters_and_positions_reach_the_engine(cli: Any) -> None:
    arguments = ("--lora", "a.gguf", "--lora", "b.gguf:0.5", "--rope-scaling", "yarn:4", "--rope-freq-base", "1e6")
    assert cli("generate", *arguments, "hi").code == 0
    wanted = {"lora": ["a.gguf", "b.gguf:0.5"], "rope_scaling": "yarn:4", "rope_freq_base": 1e6}
    assert {name: cli.loads[0][1][name] for name in wanted} == wanted
    outcome = cli("generate", "--endpoint", "http://localhost:1/v1", "--lora", "a.gguf", "hi")
    assert (outcome.code, "--lora does not go with --endpoint" in outcome.err) == (2, True)


@pytest.mark.parametrize("command", ["generate", "ask"])
def test_filters_and_penalties_are_typed_by_their_names(cli: Any, tmp_path: Path, command: str) -> None:
    found = header(cli, tmp_path, command, "--filters", "typical=0.9,dry_multiplier=0.8,xtc_probability=0.5")
    assert found["filters"] == "typical=0.9,xtc_probability=0.5"
    assert found["repetition"] == "dry_multiplier=0.8"


def test_filters_decide_what_can_be_drawn(cli: Any) -> None:
    hot = ("generate", "-q", "--policy", "sample:temperature=5", "--seed", "1", "-n", "12", "hi")
    assert cli(*hot, "--filters", "top_k=1").out == cli("generate", "-q", "-p", "greedy", "-n", "12", "hi").out
    assert cli(*hot).out != cli(*hot, "--filters", "top_k=1").out


def test_an_option_and_a_filter_may_not_contradict_each_other(cli: Any) -> None:
    shown = cli("generate", "--policy", "mirostat", "--min-p", "0.1", "--filters", "min_p=0.2", "hi")
    assert (shown.code, "contradict each other" in shown.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tipical=0.9", "no filter or penalty 'tipical'; known are top_k, typical"),
        ("typical=2", "typical=2"),
        ("x", "of the form"),
    ],
)
def test_a_mistaken_filter_is_refused(cli: Any, given: str, said: str) -> None:
    shown = cli("generate", "--filters", given, "hi")
    assert (shown.code, said in shown.err) == (2, True), shown.err


def test_filters_over_an_endpoint_are_refused(cli: Any) -> None:
    shown = cli("generate", "--filters", "typical=0.9", "--endpoint", "http://localhost:1/v1", "hi")
    assert (shown.code, "--filters does not go with --endpoint" in shown.err) == (2, True)
