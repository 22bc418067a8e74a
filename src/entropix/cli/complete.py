"""What a shell asks for when Tab is pressed: argcomplete's protocol, with the names that this project knows."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

VARIABLE = "_ARGCOMPLETE"
"""Set by the shell's function while it asks."""


def complete() -> None:
    """Answer the shell and end the process; without argcomplete nothing is answered, and nothing is said."""
    try:
        import argcomplete
        from argcomplete.completers import FilesCompleter
    except ImportError:
        os._exit(1)
    from entropix.cli import make_parser
    from entropix.cli.parser import Parser

    Parser.in_order = True  # argcomplete follows the parser through what it does
    parser = make_parser(words())
    files = FilesCompleter()
    for command, action in actions(parser):
        name = f"{command} {action.dest}"
        find = KNOWN.get(name) or KNOWN.get(action.dest)
        if find is not None:
            also = files if action.dest in ("model", "profile") else None
            action.completer = partial(_answer, find, also)  # type: ignore[attr-defined]  # read by argcomplete
    argcomplete.autocomplete(parser, always_complete_options="long")


def words() -> list[str]:
    """The words before the one that is completed, without the program's name."""
    line = os.environ.get("COMP_LINE", "")
    before = line[: int(os.environ.get("COMP_POINT", len(line)))]
    whole = before.split() if before[-1:].isspace() else before.split()[:-1]
    return whole[int(os.environ[VARIABLE]) :]


def actions(parser: argparse.ArgumentParser, command: str = "") -> Iterable[tuple[str, argparse.Action]]:
    """The options and arguments of a parser and of its subcommands, each with its command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from actions(sub, name)
        else:
            yield command, action


def _answer(
    find: Callable[[], Iterable[str]], files: Callable[[str], Iterable[str]] | None, prefix: str, **_: Any
) -> Any:
    names = [name for name in find() if name.startswith(prefix)]
    return [*names, *(files(prefix) if files is not None else ())]


def _models() -> Iterable[str]:
    from entropix.models import available

    return [entry.name for entry in available()]


def _profiles() -> Iterable[str]:
    from entropix import profiles

    return [profile.name for profile in (*profiles.own(), *profiles.shipped())]


def _kv_types() -> Iterable[str]:
    from entropix.engines.llama_cpp.context import KV_TYPES

    return KV_TYPES


def _names(group: str) -> Iterable[str]:
    from entropix.registry import names

    return names(f"entropix.{group}")


KNOWN: dict[str, Callable[[], Iterable[str]]] = {
    "model": _models,
    "profile": _profiles,
    "kv_type": _kv_types,
    "engine": partial(_names, "engines"),
    "policy": partial(_names, "policies"),
    "policies name": partial(_names, "policies"),
    "search": partial(_names, "strategies"),
    "searches name": partial(_names, "strategies"),
    "prompts": list,
}
"""By the option's place in the parsed arguments, where need be after its command. A prompt is not completed."""
