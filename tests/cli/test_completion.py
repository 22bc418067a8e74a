"""What Tab completes, by argcomplete's own protocol and in real shells, and the hint that is said once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import entropix
from entropix.cli.hint import HINT
from helpers.terminal import Terminal

SOURCE = Path(entropix.__file__).parents[1]
COMMAND = [sys.executable, "-m", "entropix"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
    known = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "ENTROPIX_MODELS": str(folder / "models")}
    return {**os.environ, "PYTHONPATH": path, **known, **more}


def tab(folder: Path, line: str) -> list[str]:
    """What the shell is offered for a line, the cursor at its end."""
    pytest.importorskip("argcomplete")
    answer = folder / "answer"
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, check=False, cwd=folder,
        env=environment(
            folder, _ARGCOMPLETE="1", _ARGCOMPLETE_IFS="\n", _ARGCOMPLETE_SUPPRESS_SPACE="1", COMP_LINE=line,
            COMP_POINT=str(len(line)), _ARGCOMPLETE_STDOUT_FILENAME=str(answer), _ARGCOMPLETE_COMP_WORDBREAKS=" =",
        ),
    )  # fmt: skip
    assert done.stdout == ""
    return answer.read_text().split("\n")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("entropix gen", ["generate"]),
        ("entropix generate --temp", ["--temperature"]),
        ("entropix generate -m smol", ["smollm2"]),
        ("entropix generate --policy entropix-", ["entropix-2024"]),
        ("entropix ask hello --effort me", ["medium"]),
        ("entropix generate --search bac", ["backtrack"]),
        ("entropix policies miro", ["mirostat"]),
        ("entropix generate --kv-type q8", ["q8_0"]),
        ("entropix eval --engine llama", ["llama_cpp"]),
        ("entropix chat --engine=trans", ["transformers"]),
    ],
)
def test_tab_completes_commands_options_and_names(tmp_path: Path, line: str, offered: list[str]) -> None:
    assert tab(tmp_path, line) == offered


def test_tab_completes_files_beside_names_of_models(tmp_path: Path) -> None:
    (tmp_path / "smaller.gguf").touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smart-Q4_0.gguf").touch()
    for line in ("entropix generate -m sm", "entropix run sm"):
        assert sorted(tab(tmp_path, line)) == ["smaller.gguf", "smart-Q4_0", "smollm2"]


def test_tab_offers_no_option_twice_and_none_of_another_command(tmp_path: Path) -> None:
    offered = tab(tmp_path, "entropix models --")
    assert sorted(offered) == ["--color", "--help", "--json"]


def shell(name: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Where a shell lies, and an environment in which `entropix` is a program."""
    pytest.importorskip("argcomplete")
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    program = folder / "entropix"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m entropix "$@"\n')
    program.chmod(0o755)
    return found, environment(folder, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_real_bash_completes(tmp_path: Path) -> None:
    bash, env = shell("bash", tmp_path)
    script = """
    eval "$(entropix completion bash)"
    COMP_WORDS=(entropix ser); COMP_CWORD=1; COMP_LINE="entropix ser"; COMP_POINT=12; COMP_TYPE=9; COMP_KEY=9
    _python_argcomplete entropix
    printf '%s|' "${COMPREPLY[@]}"
    """
    done = subprocess.run([bash, "--norc", "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "serve |"


def test_a_real_fish_completes(tmp_path: Path) -> None:
    fish, env = shell("fish", tmp_path)
    script = (
        'entropix completion fish | source; complete -C "entropix ser"; complete -C "entropix generate -p entropix-"'
    )
    done = subprocess.run([fish, "-N", "-c", script], capture_output=True, text=True, check=True, env=env)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["serve", "entropix-2024"]


def test_a_real_zsh_completes(tmp_path: Path) -> None:
    """zsh completes on a terminal only."""
    zsh, env = shell("zsh", tmp_path)
    (tmp_path / ".zshrc").write_text(
        'PS1="> "; autoload -Uz compinit; compinit -u; eval "$(entropix completion zsh)"\n'
    )
    terminal = Terminal([zsh, "-d", "-i"], {**env, "ZDOTDIR": str(tmp_path), "TERM": "dumb"})
    terminal.wait_for("> ")
    terminal.type("entropix ser\t")
    terminal.wait_for("ve ")
    terminal.type("\x15entropix generate -p entropix-\t")
    terminal.wait_for("2024")
    terminal.type("\x15exit\r")
    assert terminal.end() == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_every_shell_gets_its_code(cli: Any, shell: str) -> None:
    pytest.importorskip("argcomplete")
    outcome = cli("completion", shell)
    assert (outcome.code, outcome.err) == (0, "")
    assert "entropix" in outcome.out


def test_the_shell_is_read_off_the_environment(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    outcome = cli("completion")
    assert (outcome.code, "name one of bash, zsh, fish, powershell" in outcome.err) == (2, True)


def test_without_argcomplete_the_command_for_it_is_said_and_tab_is_silent(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    outcome = cli("completion", "bash")
    assert outcome.code == 2
    assert "pip install 'entropix-llm[completion]'" in outcome.err
    (tmp_path / "argcomplete.py").write_text("raise ImportError")
    path = os.pathsep.join((str(tmp_path), str(SOURCE)))
    done = subprocess.run(
        COMMAND, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": path, "_ARGCOMPLETE": "1", "COMP_LINE": "entropix g", "COMP_POINT": "10"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


# the hint


def on_a_terminal(folder: Path, *arguments: str, **more: str) -> str:
    """What a command says on a terminal, which both of its outputs are."""
    terminal = Terminal([*COMMAND, *arguments], environment(folder, **more))
    assert terminal.end() == 0
    return terminal.seen.replace("\r\n", "\n")


def test_the_hint_is_said_once_on_a_terminal(tmp_path: Path) -> None:
    first = on_a_terminal(tmp_path, "policies")
    assert first.endswith(f"\n{HINT}\n")
    assert "(said once)" not in on_a_terminal(tmp_path, "policies")


@pytest.mark.parametrize("arguments", [("policies", "--json"), ("doctor",)])
def test_the_hint_is_not_said_to_programs_and_where_it_says_nothing_new(tmp_path: Path, arguments: Any) -> None:
    assert "(said once)" not in on_a_terminal(tmp_path, *arguments)
    assert "(said once)" in on_a_terminal(tmp_path, "policies")


def test_the_hint_is_not_said_into_a_pipe_and_stays_for_the_terminal(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "policies"], capture_output=True, text=True, check=True, env=environment(tmp_path))
    assert "(said once)" not in done.stdout + done.stderr
    assert "(said once)" in on_a_terminal(tmp_path, "policies")


def test_where_it_cannot_be_remembered_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "(said once)" not in on_a_terminal(tmp_path, "policies", XDG_CACHE_HOME=str(tmp_path / "file"))
