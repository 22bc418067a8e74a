"""The command line's parser: what argparse does, options between positional arguments, and what one may have meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from entropix.closest import did_you_mean
from entropix.lines import quoted

OTHERWISE = {
    **dict.fromkeys(("list", "ls", "ps", "tags", "pull", "download"), "models"),
    **dict.fromkeys(("complete", "prompt", "write"), "generate"),
    **dict.fromkeys(("question", "answer"), "ask"),
    **dict.fromkeys(("check", "info", "env"), "doctor"),
    "version": "--version",
}
"""What other programs call the commands, where nothing else would find them."""


LONG_USAGE = 3
"""Lines of a usage that hide the message below them."""


def no_command(arguments: Sequence[str], commands: Iterable[str]) -> str:
    """What is wrong with the first argument, where a command belongs; "" where nothing is, or the parser knows it."""
    first, known = arguments[0], list(commands)
    if first in known or first in ("-h", "--help", "--version") or (first.startswith("-") and len(arguments) == 1):
        return ""
    if first.startswith("-"):
        return f"{first} belongs behind a command, as in: entropix ask {first} …"
    if len(first.split()) > 1:
        return f"a question is asked by: entropix ask {quoted(first)}"
    meant = OTHERWISE.get(first)
    hint = f"; did you mean {meant}?" if meant else did_you_mean(first, known)
    return f"there is no command {quoted(first)}; there are {', '.join(known)}{hint}"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves room for commands: they stand further in than argparse counts, which gave the longest their own lines."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment


class Parser(argparse.ArgumentParser):
    """An ArgumentParser of a subcommand, or of all. `generate "a" --seed 1 "b"` has two prompts."""

    in_order = False
    """Whether arguments are parsed as they stand, positional ones only together."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        asked = {"-h", "--help"}.intersection(args or ())  # the help is not itself while positionals are put aside
        if self.in_order or asked or self._subparsers is not None or not self._get_positional_actions():
            return super().parse_known_args(args, namespace)
        self.in_order = True  # what follows calls this again, for options and for the others
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.in_order = False

    def error(self, message: str) -> NoReturn:
        """As argparse, with the option or the command that is most like one that there is not."""
        if message.startswith("unrecognized arguments: "):
            option = next((word for word in message.split()[2:] if word.startswith("-")), "")
            message += did_you_mean(option.partition("=")[0], self._options())
        elif choice := re.match(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message += did_you_mean(choice[2], [name.strip("'") for name in choice[3].split(", ")])
        if self.format_usage().count("\n") > LONG_USAGE:
            self.usage = "%(prog)s …   (`%(prog)s --help` explains every option)"
        super().error(message)

    def _options(self) -> list[str]:
        """The options of this parser and of its subcommands: of all, only the one that is used has some."""
        found = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in action.choices.values():
                    found += sub._option_string_actions
        return found
