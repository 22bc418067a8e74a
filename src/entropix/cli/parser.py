"""The command line's parser: what argparse does, options between positional arguments, and what one may have meant."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from entropix.closest import did_you_mean


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
        super().error(message)

    def _options(self) -> list[str]:
        """The options of this parser and of its subcommands: of all, only the one that is used has some."""
        found = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in action.choices.values():
                    found += sub._option_string_actions
        return found
