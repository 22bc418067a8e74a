"""`entropix run`: as Ollama and others have it, a model and perhaps a prompt."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from entropix.cli.options import Default

DESCRIPTION = """\
Run a model, as `ollama run` and others do: with a prompt, or with text on standard input, it is
answered as `entropix generate` does; without one, a conversation begins as in `entropix chat`.

What looks like a question instead of a model's name is a prompt for the default model."""

EXAMPLES = """\
examples:
  entropix run smollm2
  entropix run smollm2 "Why is the sky blue?"
  entropix run organisation/model-GGUF:Q4_K_M -c 8192 -ngl -1 --temperature 0.7
  cat letter.txt | entropix run qwen.gguf --system "Summarise the user's text in one sentence."

exit codes: 0 done, 2 something given was wrong, 130 stopped by Ctrl-C"""

ANSWERS = ("raw", "json_schema", "regex", "grammar", "search", "show_tree", "endpoint", "json")
"""Options of an answer that a conversation does not have."""


def configure(parser: argparse.ArgumentParser) -> None:
    from entropix.cli.generate import add_options

    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "model",
        nargs="?",
        default=Default("smollm2"),
        metavar="MODEL",
        help="a name from `entropix models`, a .gguf file, a transformers directory, or a hub name (default: "
        "%(default)s)",
    )
    add_options(parser, model=False)


def run(args: argparse.Namespace) -> int:
    if not isinstance(args.model, Default) and is_prompt(args.model):
        args.prompts = [args.model, *args.prompts]
        args.model = Default("smollm2")
    module: Any
    if args.prompts or args.prompt_file or sys.stdin is None or not sys.stdin.isatty():
        from entropix.cli import generate as module
    else:
        from entropix.cli import chat as module

        for name in ANSWERS:
            if getattr(args, name) not in (None, False):
                args.parser.error(f"--{name.replace('_', '-')} is for an answer; give a prompt after the model")
    code: int = module.run(args)
    return code


def is_prompt(text: str) -> bool:
    """Whether a text is rather a sentence than the name of a model: no file of that name, and words."""
    return len(text.split()) > 1 and not os.path.exists(os.path.expanduser(text)) and not text.endswith(".gguf")
