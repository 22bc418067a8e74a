# PYTHON_ARGCOMPLETE_OK
"""The command line: one module a subcommand, imported only when it is used."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from entropix.cli.hint import first_use
from entropix.cli.parser import Formatter, Parser, no_command
from entropix.errors import EntropixError

COMMANDS = {
    "ask": "answer a question, and say how sure the answer is",
    "generate": "answer one or several prompts",
    "chat": "talk with a model",
    "run": "answer a prompt or talk, the model named first",
    "serve": "answer HTTP requests as OpenAI's API does",
    "trace": "show a saved trace",
    "models": "list the models that can be loaded by name",
    "doctor": "say what is installed, what is used and what is missing",
    "policies": "list the policies and their parameters",
    "searches": "list the search strategies and their parameters",
    "eval": "compare ways to decode on questions with known answers",
    "replay": "count the ballots of a run again by other rules",
    "tune": "choose a policy's parameters on questions set apart for it",
    "calibrate": "measure where a model's regimes begin",
    "completion": "print what makes a shell complete commands, options and names",
}

DESCRIPTION = """\
Decoding that knows when the model is unsure.

A language model is sure of some tokens and unsure of others. entropix measures that at every token,
from entropy and varentropy, decodes accordingly, and shows in colour what it did and why."""

EXAMPLES = """\
examples:
  entropix ask "What is 17 * 23?"                    an answer, how sure it is, and from what
  entropix generate "Why is the sky blue?"           one text, coloured by uncertainty
  entropix chat                                      a conversation
  entropix generate --trace sky.jsonl "Why …?"       keep every step …
  entropix trace sky.jsonl --table                   … and look at it later, without the model

`entropix COMMAND --help` explains a command and shows examples."""

UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the number of SIGINT, of SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a mistake in what was given, 130 after Ctrl-C.

    A bug of ours keeps its stack trace."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:
        from entropix.cli.complete import complete

        complete()
    if sys.stdout is None or sys.stderr is None:  # closed by the caller (`>&-`): write to nowhere
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stands in until the process ends
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal must not stop an answer
    if not arguments:
        make_parser().print_help(sys.stderr)
        return 2
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    try:
        try:
            parser = make_parser(arguments)
            if problem := no_command(arguments, COMMANDS):
                parser.error(problem)
            parsed = parser.parse_args(arguments)
            code: int = parsed.run(parsed)
            first_use(parsed, arguments[0])
            return code
        finally:
            sys.stdout.flush()  # not at exit, where a reader that is gone could not be handled
    except EntropixError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("entropix: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _give_up_stdout()
        print(f"entropix: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 2


def fail(error: EntropixError | str) -> int:
    """Say what was wrong, in one message, and return the exit code for it."""
    from entropix.trace.terminal import visible

    print(f"entropix: {visible(str(error))}", file=sys.stderr)
    return 2


def make_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of all commands; options only of the one that `arguments` name."""
    parser = Parser(prog="entropix", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=Formatter)
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            module: Any = import_module(f"entropix.cli.{name}")
            module.configure(sub)
            sub.set_defaults(run=module.run, parser=sub)
    return parser


class Version(argparse.Action):
    """--version, looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from entropix.version import entropix_version

        print(f"entropix {entropix_version()}")
        parser.exit()


def _give_up_stdout() -> None:
    """The reader of our output is gone: nothing may be written there any more, also not at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # a stand-in without a file descriptor, as in tests
    finally:
        os.close(nowhere)
