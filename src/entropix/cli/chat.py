"""`entropix chat`: a conversation that keeps its KV cache."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from entropix.cli.options import (
    add_decoding_options,
    add_model_options,
    add_output_options,
    check_policy,
    decode_utf8,
)
from entropix.closest import did_you_mean
from entropix.errors import EntropixError, ParameterError, PromptError

if TYPE_CHECKING:
    from entropix.cli.output import Screen
    from entropix.cli.sampling import Sampling
    from entropix.model import Model, Options
    from entropix.trace import TraceWriter

COMMANDS_HELP = """\
/help            these commands
/reset           forget the conversation, except for the system message
/policy NAME     choose tokens by another policy, for example /policy sample:temperature=0.7 (what --set and
                 options such as --top-p said ends with the one before)
/seed N          start the next answers from this seed; /seed alone draws one again
/save FILE       write the conversation as JSON messages
/trace FILE      write every step from now on to FILE; /trace alone ends the trace
/quit            leave, as do /exit, /bye, the words exit and quit, Ctrl-D, and Ctrl-C at the prompt
Ctrl-C during an answer stops it and keeps what was said. A line that starts with a space is never a command."""

DESCRIPTION = """\
Talk with a model. Every answer streams, coloured by how unsure the model was; the KV cache is kept, so
that a turn costs only what is new. Standard input may also be a file of lines, one turn or command each."""

OTHERWISE = {
    **dict.fromkeys(("/exit", "/bye", "/q", "exit", "quit"), "/quit"),
    **dict.fromkeys(("/?", "/h"), "/help"),
    **dict.fromkeys(("/clear", "/new"), "/reset"),
}
"""What other programs call the commands; the words without a stroke only where they are the whole line."""

EXAMPLES = f"""\
examples:
  entropix chat
  entropix chat --system "You answer in one sentence." --seed 7
  entropix chat --policy sample:temperature=0.7 --trace chat.jsonl
  printf 'Name a river.\\nAnother one.\\n' | entropix chat --quiet

in the chat:
{COMMANDS_HELP}"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--system", metavar="TEXT", help="a system message at the start of the conversation")
    add_model_options(parser)
    add_decoding_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    from entropix.cli.output import Screen
    from entropix.cli.running import loaded
    from entropix.cli.sampling import read_sampling
    from entropix.trace import check_writable

    sampling = read_sampling(args)
    if args.trace:
        check_writable(args.trace)
    screen = Screen.of(args)
    with loaded(args, screen, args.model) as model:
        session = Session(args, screen, model, sampling)
        try:
            return session.run()
        finally:
            session.close()


class Session:
    """One conversation with its settings, which commands change."""

    def __init__(self, args: argparse.Namespace, screen: Screen, model: Model, sampling: Sampling) -> None:
        self.args = args
        self.screen = screen
        self.model = model
        self.sampling = sampling
        self.interactive = sys.stdin.isatty()
        self.left = False
        self.failed = 0
        self.answers = 0
        self.writer: TraceWriter | None = None
        self.chat = model.chat(system=args.system, **self.options())
        self.commands: dict[str, Callable[[str], None]] = {
            "/help": self.help,
            "/reset": self.reset,
            "/policy": self.policy,
            "/seed": self.seed,
            "/save": self.save,
            "/trace": self.trace,
            "/quit": self.quit,
        }
        if args.trace:
            self.trace(args.trace)

    def options(self) -> Options:
        """What the next answer is decoded with."""
        options: Options = {
            "policy": self.args.policy,
            "seed": self.args.seed,
            "reproducible": self.args.reproducible,
            "max_tokens": self.args.max_tokens,
            "stop": tuple(self.args.stop),
            "attention": self.args.attention,
            "filters": self.sampling.filters,
            "repetition": self.sampling.repetition,
        }
        return cast("Options", {**options, **self.sampling.parameters})

    def run(self) -> int:
        """Turn by turn until the input ends. A mistake ends a script of lines, not a conversation."""
        from entropix.cli import INTERRUPTED, fail

        for note in self.model.notes:
            self.screen.tell(note)
        self.screen.explain()
        if self.interactive:
            self.screen.tell("/help lists the commands, /quit or Ctrl-D leaves")
        lines = read_turns(self.interactive)
        while not self.left:
            try:
                line = next(lines, None)
                if line is None:
                    break
                if self.turn(line) and not self.interactive:
                    return INTERRUPTED
            except EntropixError as error:
                if not self.interactive:
                    raise
                fail(error)
                lines = read_turns(self.interactive)
            except KeyboardInterrupt:  # at the prompt
                print(file=sys.stderr)
                return INTERRUPTED
        return self.failed

    def turn(self, line: str) -> bool:
        """A command or a message; True if the user stopped the answer."""
        if not line.strip():
            return False
        if not line.startswith("/") and line.rstrip() not in OTHERWISE:
            return self.answer(line.strip())
        name, _, rest = line.rstrip().partition(" ")
        command = self.commands.get(OTHERWISE.get(name, name))
        if command is None:
            meant = did_you_mean(name, [*self.commands, *(other for other in OTHERWISE if other.startswith("/"))])
            raise ParameterError(
                f"there is no command {name!r}; known are {', '.join(self.commands)}{meant or '.'} Start the line with "
                "a space to send it as a message"
            )
        command(rest.strip())
        return False

    def answer(self, text: str) -> bool:
        from entropix.cli.output import Printer
        from entropix.cli.running import follow, interruptible

        printer = Printer(self.screen)
        with interruptible() as interrupt:
            stream = self.chat.send(text)
            if self.writer:
                self.writer.prompt(self.answers, text)
            try:
                result = follow(
                    stream, interrupt, lambda _, step: printer.step(step), self.writer, self.answers, self.screen
                )[0]
            except EntropixError:
                if printer.text:
                    printer.end_line()
                raise
            self.answers += 1
            printer.finish(result)
        self.screen.summarise(result)
        if self.writer and self.writer.error:
            self.end_trace()
        for error in stream.failures.values():
            raise error
        return interrupt.requested

    def help(self, rest: str) -> None:
        self.screen.err.print(COMMANDS_HELP, soft_wrap=True)

    def reset(self, rest: str) -> None:
        self.chat.reset()
        self.screen.tell("the conversation starts anew")

    def policy(self, rest: str) -> None:
        from entropix.cli.sampling import Sampling

        if rest:
            self.sampling = Sampling({}, check_policy(rest, {}))
            self.args.policy = rest
            self.chat.options = self.options()
        self.screen.tell(f"policy {self.args.policy}")

    def seed(self, rest: str) -> None:
        try:
            self.args.seed = int(rest) if rest else None
        except ValueError:
            raise ParameterError(f"/seed takes an integer, not {rest!r}") from None
        self.chat.options = self.options()
        self.screen.tell("a seed is drawn for every answer" if self.args.seed is None else f"seed {self.args.seed}")

    def save(self, rest: str) -> None:
        if not rest:
            raise ParameterError("/save needs a file name")
        text = json.dumps(self.chat.messages, ensure_ascii=False, indent=2) + "\n"
        try:
            Path(rest).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ParameterError(f"cannot write {rest!r}: {(error.strerror or str(error)).lower()}") from None
        self.screen.tell(f"{len(self.chat.messages)} messages written to {rest}")

    def trace(self, rest: str) -> None:
        from entropix.cli.running import header_of
        from entropix.trace import TraceWriter, check_writable

        if rest:
            check_writable(rest)
        self.end_trace()
        if rest:
            header = header_of(self.model, self.args, self.sampling, [])
            self.writer = TraceWriter(rest, {**header, "system": self.args.system})
            self.answers = 0
            self.screen.tell(f"tracing to {rest}")

    def quit(self, rest: str) -> None:
        self.left = True

    def end_trace(self) -> None:
        """Close the trace; a failed write is reported, remembered in the exit code, and ends only the trace."""
        from entropix.cli.running import close_trace

        writer, self.writer = self.writer, None
        self.failed = close_trace(writer) or self.failed

    def close(self) -> None:
        self.chat.close()
        self.end_trace()


def read_turns(interactive: bool) -> Iterator[str]:
    """The lines of standard input, with a prompt and line editing on a terminal. Raises PromptError for a line
    that is not UTF-8."""
    if not interactive:
        for n, data in enumerate(sys.stdin.buffer, 1):
            yield decode_utf8(data, f"line {n} of standard input").rstrip("\r\n")
        return
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives input() line editing and history
    while True:
        try:
            if sys.stdout.isatty():
                yield input("> ")
            else:  # the prompt must not get into the answers
                print("> ", end="", file=sys.stderr, flush=True)
                line = sys.stdin.readline()
                if not line:
                    return
                yield line.rstrip("\n")
        except EOFError:
            print(file=sys.stderr)
            return
        except UnicodeDecodeError:
            raise PromptError("the line is not UTF-8; nothing was sent") from None
