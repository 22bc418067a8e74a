"""`entropix completion`: what makes a shell complete commands, options and names when Tab is pressed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from entropix.errors import ModelError

SHELLS = ("bash", "zsh", "fish", "powershell")
INSTALL = "pip install 'entropix-llm[completion]'"

DESCRIPTION = f"""\
Print what makes a shell complete commands, options, policies, searches and the names of models and
files when Tab is pressed. It needs argcomplete: {INSTALL}"""

EXAMPLES = """\
examples:
  eval "$(entropix completion bash)"                   now, or in ~/.bashrc for every shell
  eval "$(entropix completion zsh)"                    in ~/.zshrc, after compinit
  entropix completion fish > ~/.config/fish/completions/entropix.fish
  entropix completion powershell | Out-String | Invoke-Expression"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "shell", nargs="?", choices=SHELLS, metavar="SHELL", help=f"{', '.join(SHELLS)} (default: the one of $SHELL)"
    )


def run(args: argparse.Namespace) -> int:
    shell = args.shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        args.parser.error(f"the shell is not known from $SHELL; name one of {', '.join(SHELLS)}")
    try:
        from argcomplete import shellcode
    except ImportError:
        raise ModelError(f"completion needs argcomplete, which is not installed: {INSTALL}") from None
    print(shellcode(["entropix"], shell="bash" if shell == "zsh" else shell))
    return 0
