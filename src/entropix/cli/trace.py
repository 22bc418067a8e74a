"""`entropix trace`: show a saved trace; no model is needed."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import Any

from entropix.cli.options import add_color_options, named, positive

DESCRIPTION = """\
Show a trace that `entropix generate --trace FILE` or `/trace FILE` in a chat has written: the text
in colour with a summary, or one row per token with what was measured and decided. A trace
that was cut off, because the run was killed or the disk was full, is shown as far as it goes.

With --html it becomes a page for a browser: every token can be pointed at, with charts and the search's
branches. The page is one file that loads nothing, so it can be kept, mailed and put on a web server."""

EXAMPLES = """\
examples:
  entropix trace sky.jsonl                          the text, as it looked when it was generated
  entropix trace sky.jsonl --table                  one row per token; as many columns as fit
  entropix trace sky.jsonl --table --steps 10:20    steps 10 to 19
  entropix trace chat.jsonl --answer 2              only the second answer
  entropix trace sky.jsonl --tree                   the branches of a search, with scores and votes
  entropix trace sky.jsonl --table > table.txt      all columns
  entropix trace sky.jsonl --html sky.html          a page for a browser"""


def step_range(text: str) -> slice:
    """A:B, A:, :B or A; steps count from 0, and B itself is not included."""
    first, colon, last = text.partition(":")
    try:
        start, stop = (int(part) if part else None for part in (first, last))
    except ValueError:
        start = stop = -1
    if any(bound is not None and bound < 0 for bound in (start, stop)) or not (colon or first):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form A:B with integers from 0 on")
    if not colon and start is not None:
        return slice(start, start + 1)
    if start is not None and stop is not None and stop <= start:
        raise argparse.ArgumentTypeError(f"{text!r} holds no step: the second number must be the greater")
    return slice(start, stop)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("file", metavar="FILE", help="a trace, as written with --trace")
    parser.add_argument("--table", action="store_true", help="one row per token with its signals and the decision")
    parser.add_argument("--tree", action="store_true", help="every branch that the search of an answer has tried")
    parser.add_argument(
        "--html",
        type=named,
        metavar="OUT",
        help='write the trace as a page for a browser to OUT; "-" is standard output',
    )
    parser.add_argument(
        "--steps", type=step_range, metavar="A:B", help="only steps A up to, not including, B; counted from 0"
    )
    parser.add_argument("--answer", type=positive, metavar="N", help="only the N-th answer, counted from 1")
    add_color_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no legend, notes or summary")


def run(args: argparse.Namespace) -> int:
    from entropix.cli.output import Screen, write_heading
    from entropix.errors import TraceError
    from entropix.trace import read_trace

    trace = read_trace(args.file)
    screen = Screen.of(args)
    for problem in trace.problems:
        screen.err.print(f"entropix: {problem}", soft_wrap=True)
    answers = trace.answers
    if args.answer:
        answers = tuple(answer for answer in answers if answer.index == args.answer - 1)
        if not answers:
            raise TraceError(f"the trace {args.file!r} has no answer {args.answer}; it has {len(trace.answers)}")
    if args.tree and (args.table or args.steps is not None):
        args.parser.error("--tree shows whole branches; leave --table and --steps out")
    if args.html is not None:
        if args.tree or args.table or args.steps is not None:
            args.parser.error("--html shows everything; leave --table, --tree and --steps out")
        write_html(args.file, replace(trace, answers=answers), args.html)
        return 0
    if args.steps is not None and not any(answer.steps[args.steps] for answer in answers):
        longest = max((len(answer.steps) for answer in answers), default=0)
        raise TraceError(f"no answer of {args.file!r} has these steps; the longest has {longest}, counted from 0")
    if not args.table:
        screen.explain()
    for answer in answers:
        if len(trace.answers) > 1:
            write_heading(screen, answer.index, len(trace.answers), prompt_text(answer.prompt))
        if args.tree:
            show_search(screen, answer)
        elif args.table:
            show_table(screen, answer, args.steps)
        else:
            show_text(screen, answer, args.steps)
    return 0


def write_html(source: str, trace: Any, out: str) -> None:
    """Write a trace as a page; refuses to put it in the place of the trace itself."""
    from entropix.errors import TraceError
    from entropix.trace.html import document, write_document

    if out == "-":
        sys.stdout.buffer.write(document(trace).encode())  # whatever the terminal's encoding
        return
    if os.path.exists(out) and os.path.samefile(source, out):
        raise TraceError(f"{out!r} is the trace itself; name another file for the page")
    write_document(trace, out)


def show_text(screen: Any, answer: Any, steps: slice | None) -> None:
    """An answer as it was printed when it was generated."""
    from entropix.cli.output import Printer
    from entropix.trace.terminal import shares

    printer = Printer(screen)
    if steps is not None or answer.result is None:
        for step in answer.steps[steps or slice(None)]:
            printer.step(step)
        printer.end_line()
        screen.tell(shares(screen.err, answer.steps, screen.tint))
        return
    printer.finish(answer.result)
    for note in answer.result.notes:
        screen.tell(note)
    screen.summarise(answer.result)


def show_table(screen: Any, answer: Any, steps: slice | None) -> None:
    """An answer's steps as a table: as wide as the terminal, or with all columns elsewhere."""
    from entropix.cli.output import print_table
    from entropix.trace.table import step_table

    rows = answer.steps[steps or slice(None)]
    width = screen.out.width if screen.out.file.isatty() else None
    print_table(screen, step_table(screen.out, rows, width, explain=not screen.quiet))


def show_search(screen: Any, answer: Any) -> None:
    """The branches of an answer, or that there are none."""
    from entropix.cli.tree import show_tree

    if answer.result is None or answer.result.search is None:
        screen.tell(f"answer {answer.index + 1} was decoded without a search, or its run ended before it did")
    else:
        show_tree(screen.out, answer.result.search)


def prompt_text(prompt: Any) -> str:
    """A prompt for a heading: the text, or the last message of a conversation."""
    if isinstance(prompt, list) and prompt:
        prompt = prompt[-1]
    if isinstance(prompt, dict):
        prompt = prompt.get("content")
    return prompt if isinstance(prompt, str) else ""
