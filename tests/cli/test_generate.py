"""`entropix generate` over a scripted model: what goes where, what is refused, what is kept."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropix.engines.scripted import ASSISTANT, saying
from entropix.model import Stream
from entropix.trace import TraceWriter, read_trace

SAID = "Hello, 😀 [red]world[/red]\x1b[31m!"


def test_a_pipe_gets_the_text_and_nothing_else(cli: Any) -> None:
    outcome = cli("generate", "hi")
    assert (outcome.code, outcome.out) == (0, SAID + "\n")
    assert "nats" in outcome.err
    assert "entropix calibrate" in outcome.err
    assert "\x1b" not in outcome.err


def test_quiet_says_only_the_answer(cli: Any) -> None:
    outcome = cli("generate", "-q", "hi")
    assert (outcome.out, outcome.err) == (SAID + "\n", "")


def test_an_answer_that_ends_its_line_gets_no_second_line_break(cli: Any) -> None:
    cli.script = saying("done\n", certainty=20)
    assert cli("generate", "hi").out == "done\n"


def test_colours_are_for_people_and_then_control_characters_are_escaped(cli: Any) -> None:
    cli.script = saying("a\x1b[2J[b]", certainty=6)
    outcome = cli("generate", "--color", "always", "hi")
    assert "\x1b[" in outcome.out
    assert "\\x1b" in outcome.out
    assert "\x1b[2J" not in outcome.out
    assert "injected text" in outcome.err


@pytest.mark.parametrize(("variable", "colored"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_the_environment_decides_about_colours(
    cli: Any, monkeypatch: pytest.MonkeyPatch, variable: str, colored: bool
) -> None:
    cli.script = saying("ab", certainty=6)
    monkeypatch.setenv(variable, "1")
    assert ("\x1b[" in cli("generate", "hi").out) is colored


def test_the_legend_can_be_asked_for_and_left_out(cli: Any) -> None:
    assert "injected text" in cli("generate", "--legend", "hi").err
    assert "injected text" not in cli("generate", "--no-legend", "--color", "always", "hi").err


def test_the_prompt_comes_from_standard_input_when_none_is_given(cli: Any, tmp_path: Path) -> None:
    for arguments in ([], ["-"], ["-f", "-"]):
        assert cli("generate", *arguments, "--trace", str(tmp_path / "t"), stdin="Grüße\n".encode()).code == 0
        assert read_trace(tmp_path / "t").header["prompts"] == ["Grüße"]


def test_prompts_come_from_files_with_or_without_a_byte_order_mark(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes("\ufefffirst\r\n".encode())
    (tmp_path / "two").write_bytes(b"second\n\n")
    outcome = cli("generate", "-f", str(tmp_path / "one"), "-f", str(tmp_path / "two"), "--trace", str(tmp_path / "t"))
    assert outcome.code == 0
    assert read_trace(tmp_path / "t").header["prompts"] == ["first", "second\n"]


def test_several_prompts_are_one_batch_printed_one_after_the_other(cli: Any) -> None:
    outcome = cli("generate", "first\nprompt", "second", "third")
    assert outcome.out == (
        f"── 1 of 3: first prompt\n{SAID}\n\n── 2 of 3: second\n{SAID}\n\n── 3 of 3: third\n{SAID}\n"
    )
    assert outcome.err.count("−Σ ln p") == 3


def test_system_messages_and_raw_text_reach_the_model(cli: Any, tmp_path: Path) -> None:
    trace = str(tmp_path / "t")
    cli("generate", "--system", "Be brief.", "hi", "--trace", trace)
    assert read_trace(trace).header["prompts"] == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    ]
    cli.script = saying("hithere", after=b"<none>", certainty=20)  # says what follows as many tokens as there are
    assert cli("generate", "--raw", "hi", "--trace", trace).code == 0
    assert read_trace(trace).answers[0].steps[0].position == 3  # begin, h, i: no markup of a chat
    assert cli("generate", "--raw", "--system", "x", "hi").code == 2


def test_the_options_reach_decoding(cli: Any, tmp_path: Path) -> None:
    trace = str(tmp_path / "t")
    options = ["-n", "20", "--stop", "wor", "--seed", "9", "-p", "sample:temperature=0.5", "--set", "top_p=0.8"]
    outcome = cli("generate", "hi", *options, "--no-attention", "--trace", trace)
    assert outcome.out == "Hello, 😀 [red]\n"
    saved = read_trace(trace)
    assert saved.header["policy"] == "sample"
    assert saved.header["parameters"] == {"temperature": 0.5, "top_k": 0, "top_p": 0.8, "min_p": 0.0}
    result = saved.answers[0].result
    assert result is not None
    assert (result.seed, result.finish_reason) == (9, "stop")
    assert (result.steps[0].temperature, result.steps[0].top_p, result.steps[0].attention) == (0.5, 0.8, None)


def test_the_options_reach_the_loader(cli: Any) -> None:
    cli("generate", "hi", "-m", "x.gguf", "--engine", "llama_cpp", "--context", "64", "--threads", "2")
    ((name, options),) = cli.loads
    given = {"engine": "llama_cpp", "context": 64, "threads": 2}
    assert (name, {key: value for key, value in options.items() if value is not None}) == ("x.gguf", given)


def test_text_of_a_parameter_is_taken_as_it_is(cli: Any, tmp_path: Path) -> None:
    cli("generate", "hi", "--set", "inject= Wait, a=b ", "--trace", str(tmp_path / "t"))
    assert read_trace(tmp_path / "t").header["parameters"]["inject"] == " Wait, a=b "


def test_json_is_one_object_an_answer_and_nothing_else(cli: Any) -> None:
    outcome = cli("generate", "--json", "--seed", "4", "one", "two", "--color", "always")
    answers = [json.loads(line) for line in outcome.out.split("\n") if line]
    assert [a["prompt"] for a in answers] == ["one", "two"]
    first = answers[0]
    assert (first["text"], first["finish_reason"], first["seed"]) == (SAID, "end", 4)
    assert sum(first["regime_shares"].values()) == pytest.approx(1, abs=1e-4)
    assert first["ledger"]["forwarded"] == first["ledger"]["prompt"] + first["ledger"]["sampled"]
    assert "".join(token["text"] for token in first["tokens"]) == SAID
    assert {"entropy", "varentropy", "attention", "temperature", "leading", "regime"} <= set(first["tokens"][0])
    assert 0 <= first["uncertainty"] <= 1


def test_the_trace_holds_what_was_printed(cli: Any, tmp_path: Path) -> None:
    cli("generate", "hi", "--trace", str(tmp_path / "t.jsonl"))
    trace = read_trace(tmp_path / "t.jsonl")
    assert trace.answers[0].text == SAID
    assert trace.problems == ()
    assert len(trace.answers[0].steps) == len(SAID.encode()) + 1


def test_noise_while_loading_does_not_reach_standard_output(cli: Any) -> None:
    def noise() -> None:
        print("python noise")
        os.write(1, b"library noise\n")
        subprocess.run(["echo", "child noise"], check=True)

    cli.noise = noise
    outcome = cli("generate", "hi")
    assert outcome.out == SAID + "\n"
    assert all(f"{who} noise" in outcome.err for who in ("python", "library", "child"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", ""], "the prompt is empty"),
        (["generate", "ok", "  "], "prompt 2 is empty"),
        (["generate", "-f", "/nowhere/p.txt"], "cannot read '/nowhere/p.txt': no such file"),
        (["generate", "hi", "-p", "magic"], "there is no policy 'magic'; known are entropix, greedy"),
        (["generate", "hi", "-p", "greedy:heat=1"], "there is no parameter 'heat'"),
        (["generate", "hi", "-p", "sample:temperature"], "is not of the form parameter=value"),
        (["generate", "hi", "--set", "temperature"], "is not of the form PARAMETER=VALUE"),
        (["generate", "hi", "--set", "=3"], "is not of the form PARAMETER=VALUE"),
        (["generate", "hi", "--set", "keep=1"], "there is no parameter 'keep'"),
        (["generate", "hi", "--set", "spec=1"], "there is no parameter 'spec'"),
        (["generate", "hi", "--set", "temperature=9"], "temperature=9.0 is out of range"),
        (["generate", "hi", "-p", "magic", "--set", "thresholds=1"], "there is no policy 'magic'"),
        (["generate", "hi", "--trace", "/nowhere/t.jsonl"], "there is no folder '/nowhere'"),
        (["generate", "hi", "--trace", "/dev/full"], "no space left on the device"),
        (["generate", "hi", "-n", "0"], "not an integer from 1 on"),
        (["generate", "hi", "--stop", ""], "empty"),
        (["generate", "hi", "--seed", "x"], "invalid int value"),
        (["generate", "x" * 5000], "the context holds 4096"),
        (["nonsense"], "there is no command 'nonsense'; there are ask, generate, chat"),
        (["Why is the sky blue?"], "a question is asked by: entropix ask 'Why is the sky blue?'"),
        (["-m", "x.gguf", "ask", "hi"], "-m belongs behind a command, as in: entropix ask -m"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(cli: Any, arguments: list[str], message: str) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert message in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("setting", ["keep=1", "temperature=9"])
def test_mistakes_in_a_policy_are_found_before_the_model_is_loaded(cli: Any, setting: str) -> None:
    cli("generate", "hi", "--set", setting)
    assert cli.loads == []


def test_a_prompt_that_is_not_utf8_is_refused_with_its_offset(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"caf\xe9 au lait")
    for outcome in (
        cli("generate", "-f", str(tmp_path / "p")),
        cli("generate", stdin=b"caf\xe9"),
        cli("generate", "caf\udce9"),
    ):
        assert outcome.code == 2
        assert "is not UTF-8: byte 0xe9 at offset 3" in outcome.err


def test_insisting_on_attention_that_the_engine_lacks_is_refused(cli: Any) -> None:
    cli.engine = {"attention": False}
    outcome = cli("generate", "--attention", "hi")
    assert outcome.code == 2
    assert "shows none" in outcome.err
    outcome = cli("generate", "hi")
    assert outcome.code == 0
    assert outcome.err.count("attention terms are neutral") == 1


def test_an_error_message_cannot_send_control_characters(cli: Any) -> None:
    outcome = cli("generate", "hi", "-p", "\x1b[31m")
    assert "\x1b" not in outcome.err


def test_a_trace_that_fails_in_the_middle_loses_no_text_and_exits_with_2(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = TraceWriter._write

    def failing(self: TraceWriter, kind: str, record: Any) -> None:
        if record.get("index") == 3:
            self._fail(OSError(28, "No space left on device"))
        write(self, kind, record)

    monkeypatch.setattr(TraceWriter, "_write", failing)
    outcome = cli("generate", "hi", "--trace", str(tmp_path / "t.jsonl"))
    assert (outcome.code, outcome.out) == (2, SAID + "\n")
    assert "no space left on the device" in outcome.err
    assert read_trace(tmp_path / "t.jsonl").answers[0].text == "Hel"


def test_an_error_in_the_middle_keeps_the_text_and_the_trace(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from entropix.errors import CapacityError

    ordinary = Stream.__next__

    def failing(self: Stream) -> Any:
        token = ordinary(self)
        if token.step.index == 5:
            raise CapacityError("the cache is full")
        return token

    monkeypatch.setattr(Stream, "__next__", failing)
    outcome = cli("generate", "hi", "--trace", str(tmp_path / "t.jsonl"))
    assert (outcome.code, outcome.out) == (2, "Hello\n")
    assert outcome.err.endswith("entropix: the cache is full\n")
    answer = read_trace(tmp_path / "t.jsonl").answers[0]
    assert answer.result is not None
    assert answer.result.finish_reason == "cancelled"


def test_a_bug_of_ours_keeps_its_stack_trace(cli: Any) -> None:
    def broken(tokens: Any) -> Any:
        raise ZeroDivisionError

    cli.script = broken
    with pytest.raises(ZeroDivisionError):
        cli("generate", "hi")


def test_the_trace_of_an_earlier_run_survives_a_mistake(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    cli("generate", "hi", "--trace", str(path))
    before = path.read_bytes()
    assert cli("generate", "x" * 5000, "--trace", str(path)).code == 2
    assert path.read_bytes() == before


def broken_after(n: int) -> Any:
    """A model that says "a" and computes NaN from the n-th token of an answer to BAD on."""

    def script(tokens: tuple[int, ...]) -> Any:
        logits = np.zeros(260)
        start = max(at for at, token in enumerate(tokens) if token == ASSISTANT)
        if b"BAD" in bytes(t % 256 for t in tokens) and len(tokens) > start + n:
            logits[3] = np.nan
        logits[ord("a")] = 20.0
        return logits

    return script


@pytest.mark.parametrize("json_output", [False, True])
def test_d23_logits_that_are_no_numbers_get_one_message_and_what_was_said_stays(
    cli: Any, tmp_path: Path, json_output: bool
) -> None:
    cli.script = broken_after(4)
    trace = tmp_path / "t.jsonl"
    outcome = cli("generate", "-q", "-n", "9", "--trace", str(trace), *(["--json"] if json_output else []), "BAD")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "computes NaN or infinite logits" in outcome.err
    said = json.loads(outcome.out)["text"] if json_output else outcome.out.strip()
    assert said == "aaaa"
    assert '"error"' in trace.read_text()


def test_d23_of_several_prompts_the_others_are_answered(cli: Any) -> None:
    cli.script = broken_after(2)
    outcome = cli("generate", "-q", "-n", "4", "BAD", "good", "fine")
    assert outcome.code == 2
    assert [line for line in outcome.out.splitlines() if line and "──" not in line] == ["aa", "aaaa", "aaaa"]
    assert outcome.err.count("NaN") == 1


@pytest.mark.parametrize(
    ("encoding", "advice"),
    [
        ("utf-16", "is UTF-16, not UTF-8; convert it with iconv -f utf-16 -t utf-8"),
        ("utf-16-le", "is UTF-16LE, not UTF-8; convert it with iconv -f utf-16le -t utf-8"),
        ("utf-16-be", "is UTF-16BE, not UTF-8; convert it with iconv -f utf-16be -t utf-8"),
        ("utf-32", "is UTF-32, not UTF-8; convert it with iconv -f utf-32 -t utf-8"),
        ("latin1", "is not UTF-8: byte 0xfc at offset 2; convert it from its encoding"),
    ],
)
def test_d26_a_file_in_another_encoding_is_told_how_to_be_converted(
    cli: Any, tmp_path: Path, encoding: str, advice: str
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes("Grüße, how are you today?".encode(encoding))
    outcome = cli("generate", "-q", "-f", str(file))
    assert (outcome.code, outcome.out) == (2, "")
    assert advice in outcome.err
    assert ("latin1" in outcome.err) == (encoding == "latin1")
    converted = subprocess.run(
        ["iconv", "-f", encoding.replace("-le", "le").replace("-be", "be"), "-t", "utf-8", str(file)],
        capture_output=True,
        check=True,
    )
    assert converted.stdout.decode("utf-8-sig") == "Grüße, how are you today?"


def test_d26_a_file_that_is_no_text_is_not_told_to_be_converted(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\1\0\x08\x06\0\0\0\\r\xa8f")
    outcome = cli("generate", "-q", "-f", str(file))
    assert outcome.code == 2
    assert "so it is no text" in outcome.err
    assert "iconv" not in outcome.err


@pytest.mark.parametrize("text", ["a", "ab", "\ufeffHi", "日本語", "a\0b is text with a NUL", "🙂" * 9])
def test_d26_utf8_of_any_kind_is_read(cli: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(text, encoding="utf-8")
    assert cli("generate", "-q", "-f", str(file)).code == 0


def test_d26_a_schema_file_that_cannot_be_read_is_not_told_what_a_schema_s_text_looks_like(
    cli: Any, tmp_path: Path
) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes('{"type": "object"}'.encode("utf-16"))
    outcome = cli("generate", "-q", "--json-schema", str(file), "hi")
    assert outcome.code == 2
    assert "is UTF-16" in outcome.err
    assert "begins with {" not in outcome.err
    assert "begins with {" in cli("generate", "-q", "--json-schema", str(tmp_path / "none.json"), "hi").err


def test_spans_leave_the_text_as_it_is_on_a_pipe_and_list_what_is_doubtful(cli: Any) -> None:
    cli.script = saying("It was 1887.", certainty=6)
    shown = cli("generate", "--spans", "-p", "greedy", "When?", "And then?")
    assert shown.out.count("It was 1887.\n") == 2
    assert shown.err.count("1887 (number; ") == 2
    assert cli("generate", "--spans", "-q", "-p", "greedy", "When?").out == "It was 1887.\n"
