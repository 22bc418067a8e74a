"""`entropix trace`, `models`, `policies`, `calibrate`, and what all commands share."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entropix import profiles
from entropix.cli import COMMANDS, make_parser
from entropix.engines.scripted import saying
from entropix.errors import ModelError
from entropix.parameters import parameters
from entropix.policies import POLICIES
from entropix.profiles import Profile
from entropix.search import STRATEGIES
from entropix.trace import read_trace

SAID = "Hello, 😀 [red]world[/red]\x1b[31m!"


@pytest.fixture
def saved(cli: Any, tmp_path: Path) -> str:
    path = str(tmp_path / "t.jsonl")
    assert cli("generate", "hi", "ho", "--trace", path).code == 0
    return path


def test_a_trace_shows_the_same_text_and_summary_as_the_run(cli: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "t.jsonl")
    run = cli("generate", "hi", "--trace", path)
    shown = cli("trace", path)
    assert shown.out == run.out
    assert shown.err.splitlines()[-1].split("tokens/s")[1] == run.err.splitlines()[-1].split("tokens/s")[1]


def test_a_trace_can_be_coloured_and_then_escapes_control_characters(cli: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "t.jsonl")
    cli.script = saying("a\x1b[2J", certainty=6)
    cli("generate", "hi", "--trace", path)
    out = cli("trace", path, "--color", "always").out
    assert "\x1b[" in out
    assert "\x1b[2J" not in out


def test_steps_and_answers_can_be_chosen(cli: Any, saved: str) -> None:
    assert cli("trace", saved, "--answer", "2", "--steps", "1:4", "-q").out == "── 2 of 2: ho\nell\n".replace(
        "── 2", "\n── 2", 1
    )
    assert cli("trace", saved, "--answer", "1", "--steps", "3", "-q").out.endswith("hi\nl\n")
    assert cli("trace", saved, "--answer", "1", "--steps", ":2", "-q").out.endswith("hi\nHe\n")
    rows = cli("trace", saved, "--answer", "1", "--table", "--steps", "2:4", "-q").out.splitlines()
    assert [row.split()[:2] for row in rows[-2:]] == [["2", "l"], ["3", "l"]]


@pytest.mark.parametrize("steps", ["x", "1:2:3", "-1:", "", "4:4", ":-2"])
def test_steps_that_are_none_are_refused(cli: Any, saved: str, steps: str) -> None:
    outcome = cli("trace", saved, f"--steps={steps}")
    assert outcome.code == 2
    assert "--steps" in outcome.err


@pytest.mark.parametrize("show", [(), ("--table",)])
def test_steps_beyond_the_end_are_refused_and_the_end_is_said(cli: Any, saved: str, show: tuple[str, ...]) -> None:
    outcome = cli("trace", saved, "--steps", "500:510", *show)
    assert (outcome.code, outcome.out) == (2, "")
    longest = max(len(answer.steps) for answer in read_trace(saved).answers)
    assert f"has these steps; the longest has {longest}, counted from 0" in outcome.err
    assert cli("trace", saved, "--steps", f"{longest - 1}:", *show).code == 0


def test_an_answer_that_is_not_there_is_refused(cli: Any, saved: str) -> None:
    outcome = cli("trace", saved, "--answer", "3")
    assert outcome.code == 2
    assert "has no answer 3; it has 2" in outcome.err


def test_a_cut_off_trace_is_shown_as_far_as_it_goes(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    cli("generate", "hi", "--trace", str(path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]) + lines[6][:40])
    outcome = cli("trace", str(path))
    assert (outcome.code, outcome.out) == (0, "Hello\n")
    assert "line 7 is cut off" in outcome.err
    assert "answer 1 has no result" in outcome.err
    assert cli("trace", str(path), "--table").code == 0


def test_a_trace_becomes_a_page_with_the_thresholds_of_the_run(cli: Any, saved: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    outcome = cli("trace", saved, "--html", str(out))
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    data = page_data(out.read_text("utf-8"))
    assert [answer["prompt"] for answer in data["answers"]] == ["hi", "ho"]
    assert set(data["header"]["thresholds"]) == {"entropy_low", "entropy_high", "varentropy_low", "varentropy_high"}
    printed = page_data(cli("trace", saved, "--html", "-", "--answer", "2").out)
    assert [answer["index"] for answer in printed["answers"]] == [1]
    assert list(tmp_path.glob("*.partial")) == []


def page_data(page: str) -> Any:
    return json.loads(page.partition('id="trace">')[2].partition("</script>")[0])


def test_a_page_never_takes_the_place_of_its_trace_or_of_what_cannot_be_written(
    cli: Any, saved: str, tmp_path: Path
) -> None:
    before = Path(saved).read_bytes()
    outcome = cli("trace", saved, "--html", saved)
    assert outcome.code == 2
    assert "is the trace itself; name another file for the page" in outcome.err
    assert Path(saved).read_bytes() == before
    outcome = cli("trace", saved, "--html", str(tmp_path / "no" / "page.html"))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "there is no such folder" in outcome.err
    assert cli("trace", saved, "--html", "x.html", "--table").code == 2


@pytest.mark.parametrize("content", [None, b"", b"\0\1\2", b"{}\n"])
def test_what_is_no_trace_is_refused(cli: Any, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "t.jsonl").write_bytes(content)
    outcome = cli("trace", str(tmp_path / "t.jsonl"))
    assert (outcome.code, outcome.out) == (2, "")
    assert "cannot read the trace" in outcome.err


def test_policies_lists_every_policy_and_every_parameter(cli: Any) -> None:
    out = cli("policies").out
    assert all(name in out and policy.summary in out for name, policy in POLICIES.items())
    for name, policy in POLICIES.items():
        shown = cli("policies", name).out
        for parameter, field in parameters(policy).items():
            assert parameter in shown
            assert field.metadata["doc"] in shown
    assert cli("policies", "magic").code == 2


def test_policies_are_json_for_programs(cli: Any) -> None:
    known = json.loads(cli("policies", "--json").out)
    assert known["sample"]["parameters"]["top_p"] == {
        "default": 1.0,
        "low": 0.0,
        "high": 1.0,
        "allowed": None,
        "doc": "nucleus; 1 keeps all",
    }


def test_searches_lists_every_strategy_and_every_parameter(cli: Any) -> None:
    out = cli("searches").out
    assert all(name in out and strategy.summary in out for name, strategy in STRATEGIES.items())
    for name, strategy in STRATEGIES.items():
        shown = cli("searches", name).out
        for parameter, field in parameters(strategy).items():
            assert parameter in shown
            assert field.metadata["doc"] in shown
            assert all(text in shown for text in field.metadata["allowed"])
    assert cli("searches", "forest").code == 2


def test_searches_are_json_for_programs(cli: Any) -> None:
    known = json.loads(cli("searches", "--json").out)
    assert list(known) == list(STRATEGIES)
    assert known["tree"]["parameters"]["when"]["allowed"] == ["now", "end"]
    assert known["vote"]["parameters"]["keep"]["high"] == 1


def test_the_help_of_search_names_every_strategy(cli: Any) -> None:
    text = " ".join(cli("generate", "--help").out.split())
    assert f"{', '.join(STRATEGIES)}, or several joined by +" in text


def test_models_lists_what_is_there_with_its_profile(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from entropix import models

    entry = models.ModelEntry("tiny", "llama_cpp", "/models/Tiny-Model.Q4.gguf", "cached", 5_000_000)
    measured = Profile("tiny model", "f0", 260, profiles.generic(_info()).thresholds, tokens=1234, source="here")
    monkeypatch.setattr(models, "available", lambda: [entry])
    monkeypatch.setattr(profiles, "own", lambda: [measured])
    monkeypatch.setattr(profiles, "shipped", list)
    outcome = cli("models")
    assert outcome.code == 0
    assert "tiny   llama_cpp  cached  tiny model  5 MB  /models/Tiny-Model.Q4.gguf" in outcome.out
    assert "1,234" in outcome.out
    known = json.loads(cli("models", "--json").out)
    assert known["models"][0]["profile"] == "tiny model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("entropix.engines.llama_cpp.library.chosen", _no_llama_cpp)
        assert "llama.cpp: there is none, for a reason" in cli("models").out
        assert json.loads(cli("models", "--json").out)["llama_cpp"] == {
            "used": None,
            "why": "there is none, for a reason",
        }


def _no_llama_cpp() -> None:
    raise ModelError("there is none, for a reason")


def _info() -> Any:
    from entropix.engines.scripted import ScriptedEngine

    return ScriptedEngine().info


def test_calibrate_writes_a_profile_that_generate_can_use(cli: Any, tmp_path: Path) -> None:
    from entropix.engines.scripted import hashed

    cli.script = hashed()
    (tmp_path / "prompts").write_text("One?\n\nTwo?\n")
    path = tmp_path / "p.json"
    outcome = cli(
        "calibrate", "tiny", "--prompts", str(tmp_path / "prompts"), "--tokens", "8", "--out", str(path), "--name", "t"
    )
    assert (outcome.code, outcome.out) == (0, f"{path}\n")
    assert "entropy" in outcome.err
    assert "nats" in outcome.err
    profile = Profile.load(path)
    assert (profile.name, profile.tokens) == ("t", 16)
    assert "measured on 16 tokens only" in outcome.err
    assert cli.loads[0][0] == "tiny"


def test_calibrate_writes_to_the_users_profiles_by_default(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(profiles, "user_directory", lambda: tmp_path / "own")
    (tmp_path / "prompts").write_text("One?")
    outcome = cli("calibrate", "a/b", "--prompts", str(tmp_path / "prompts"), "--tokens", "4", "--name", "a/b: c")
    assert outcome.out == f"{tmp_path}/own/a-b--c.json\n"


def test_calibrate_refuses_what_cannot_work(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    assert "there are no prompts" in cli("calibrate", "x", "--prompts", str(tmp_path / "empty")).err
    assert "it is a folder" in cli("calibrate", "x", "--out", str(tmp_path)).err
    assert "empty' is not a folder" in cli("calibrate", "x", "--out", str(tmp_path / "empty" / "p.json")).err
    assert cli("calibrate", "x", "--prompts", str(tmp_path / "none")).code == 2
    assert cli("calibrate").code == 2
    assert cli.loads == []


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "--trace", "", "hi"),
        ("chat", "--trace", ""),
        ("eval", "--out", "", "arithmetic"),
        ("tune", "--out", "", "arithmetic"),
        ("calibrate", "x", "--out", ""),
        ("trace", "x.jsonl", "--html", ""),
    ],
    ids=lambda command: command[0],
)
def test_an_empty_file_name_is_refused_before_anything_is_done(cli: Any, command: tuple[str, ...]) -> None:
    outcome = cli(*command)
    assert outcome.code == 2
    assert "the name is empty; give one, or leave the option out" in outcome.err
    assert cli.loads == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_and_shows_examples(cli: Any, name: str) -> None:
    outcome = cli(name, "--help")
    assert outcome.code == 0
    assert "examples:" in outcome.out
    parser = make_parser([name])
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for action in commands.choices[name]._actions:
        assert action.help, action.option_strings or action.dest
        if action.help == argparse.SUPPRESS:  # between processes of our own
            continue
        assert all(option in outcome.out for option in action.option_strings)
    assert max(map(len, (parser.epilog or "").splitlines())) < 120


def test_help_lists_every_command_and_says_what_it_does(cli: Any) -> None:
    out = cli("--help").out
    assert all(name in out and summary in out for name, summary in COMMANDS.items())
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert all([name, summary] in lines for name, summary in COMMANDS.items()), "each on a line of its own"


@pytest.mark.parametrize(("asked", "same"), [(("help",), ("--help",)), (("help", "ask"), ("ask", "--help"))])
def test_help_is_a_command_too(cli: Any, asked: tuple[str, ...], same: tuple[str, ...]) -> None:
    outcome = cli(*asked)
    assert outcome.code == 0
    assert outcome.out == cli(*same).out


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(cli: Any) -> None:
    outcome = cli()
    assert (outcome.code, outcome.out) == (2, "")
    assert "examples:" in outcome.err


def test_version_is_a_line(cli: Any) -> None:
    outcome = cli("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("entropix ")


@pytest.mark.parametrize("command", [["--help"], ["generate", "--help"], ["trace", "--help"], ["--version"]])
def test_help_imports_no_engine_and_no_arrays(command: list[str]) -> None:
    code = (
        "import sys\nfrom entropix.cli import main\n"
        f"try: main({command!r})\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'torch', 'llama_cpp', 'transformers', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
