"""Answers on standard output, everything about them on standard error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from entropix.trace import result_record, step_record, to_json
from entropix.trace.terminal import (
    MUTED,
    Tint,
    is_colored,
    legend,
    make_console,
    one_line,
    span_lines,
    summary,
    visible,
    write_spans,
    write_step,
    write_text,
)
from entropix.types import Result, Step


class Screen:
    """The two streams, and what the reader wants to see of them."""

    def __init__(
        self, color: Any = "auto", *, quiet: bool = False, legend: bool | None = None, tint: Tint = "entropy"
    ) -> None:
        self.out = make_console(sys.stdout, color=color, environ=os.environ)
        self.err = make_console(sys.stderr, color=color, environ=os.environ)
        self.quiet = quiet
        self.tint = tint
        self._legend = is_colored(self.out) if legend is None else legend

    @classmethod
    def of(cls, args: argparse.Namespace) -> Screen:
        return cls(args.color, quiet=args.quiet, legend=args.legend, tint=getattr(args, "tint", "entropy"))

    @staticmethod
    def muted(console: Console) -> Style:
        """For what matters less; NO_COLOR gets plain text."""
        return MUTED if is_colored(console) else Style()

    def tell(self, message: str | Text) -> None:
        """A line for the reader, unless --quiet."""
        if not self.quiet:
            text = message if isinstance(message, Text) else Text(visible(message), self.muted(self.err))
            self.err.print(text, soft_wrap=True)

    def explain(self) -> None:
        """The legend, where it is wanted."""
        if self._legend:
            self.tell(legend(self.err, self.tint))

    def summarise(self, result: Result) -> None:
        from entropix.cli.votes import tell_vote

        self.tell(summary(self.err, result, self.tint))
        tell_vote(self, result)


class Printer:
    """Prints one answer as it comes, then whatever of its text no step brought, and ends its last line."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.text = ""
        self.steps = 0

    def step(self, step: Step) -> None:
        write_step(self.screen.out, step, self.screen.tint)
        self.text += step.text
        self.steps += 1

    def finish(self, result: Result) -> None:
        for step in result.steps[self.steps :]:
            self.step(step)
        if result.text.startswith(self.text):
            write_text(self.screen.out, result.text[len(self.text) :])
            self.text = result.text
        self.end_line()

    def end_line(self) -> None:
        if not self.text.endswith("\n"):
            write_text(self.screen.out, "\n")


class TextOutput:
    """Answers as text: the first while it comes, those after it when all are done."""

    def __init__(self, screen: Screen, prompts: Sequence[str], *, spans: bool = False) -> None:
        """spans: print an answer when it is whole, its doubtful spans underlined."""
        self.screen = screen
        self.prompts = prompts
        self.spans = spans
        self.printer = Printer(screen)

    def begin(self) -> None:
        if not self.spans:
            self.screen.explain()
        self._heading(0)

    def step(self, index: int, step: Step) -> None:
        if index == 0 and not self.spans:
            self.printer.step(step)

    def end(self, results: Sequence[Result]) -> None:
        for n, result in enumerate(results):
            if n:
                self._heading(n)
                self.printer = Printer(self.screen)
            if self.spans:
                show_spans(self.screen, result)
            else:
                self.printer.finish(result)
            self.screen.summarise(result)

    def abort(self) -> None:
        """End the line before an error is reported."""
        if self.printer.text:
            self.printer.end_line()

    def _heading(self, n: int) -> None:
        if len(self.prompts) > 1:
            write_heading(self.screen, n, len(self.prompts), self.prompts[n])


def show_spans(screen: Screen, result: Result) -> None:
    """The answer with its doubtful spans underlined, and what they are on standard error."""
    write_spans(screen.out, result)
    if not result.text.endswith("\n"):
        write_text(screen.out, "\n")
    for line in span_lines(result):
        screen.tell(line)


class JsonOutput:
    """Answers as JSON, one object a line, and nothing else on standard output."""

    def __init__(self, screen: Screen, prompts: Sequence[str]) -> None:
        self.screen = screen
        self.prompts = prompts

    def begin(self) -> None: ...

    def step(self, index: int, step: Step) -> None: ...

    def end(self, results: Sequence[Result]) -> None:
        for prompt, result in zip(self.prompts, results, strict=True):
            print(to_json(answer_record(prompt, result)), flush=True)

    def abort(self) -> None: ...


def answer_record(prompt: str, result: Result) -> dict[str, Any]:
    """One answer for a program: the prompt, the result, and every token with its signals."""
    return {
        "prompt": prompt,
        "answer": result.answer,
        **result_record(result),
        "tokens": [step_record(step) for step in result.steps],
    }


def write_heading(screen: Screen, n: int, of: int, prompt: str) -> None:
    """A heading line for each of several answers."""
    width = max(20, min(screen.out.width, 100) - 20)
    write_text(
        screen.out, f"{chr(10) if n else ''}── {n + 1} of {of}: {one_line(prompt, width)}\n", screen.muted(screen.out)
    )


WIDE = 10_000
"""Cells enough for any table: files and pipes have no edge."""


LAST = 12
"""Cells that the last column of a table needs to be read."""


def print_table(screen: Screen, table: Table) -> None:
    """Print a table as wide as the terminal, or as wide as it needs to be elsewhere."""
    if not sys.stdout.isatty():
        screen.out.width = WIDE
    screen.out.print(table)


def write_table(screen: Screen, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under titles. On a narrow terminal the last column wraps, on a very narrow one all do."""
    cells = [[Text(visible(cell, keep="")) for cell in row] for row in rows]
    widths = [max(len(title), *(row[n].cell_len for row in cells)) for n, title in enumerate(titles)]
    needed = sum(widths[:-1]) + len(widths) + min(widths[-1], LAST)
    narrow = sys.stdout.isatty() and needed > screen.out.width
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold" if is_colored(screen.out) else "",
    )
    for n, title in enumerate(titles, 1):
        table.add_column(title, overflow="fold", no_wrap=n < len(titles) and not narrow)
    for row in cells:
        table.add_row(*row)
    print_table(screen, table)


def file_name(name: str) -> str:
    """A profile's name as a file name on any system."""
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in name).strip(".-") or "profile"


def may_move(screen: Screen) -> bool:
    """Whether a line that changes in place may stand on standard error."""
    return is_colored(screen.err) and sys.stderr.isatty() and not screen.quiet


def progress_bar(screen: Screen) -> Any:
    """A bar on standard error, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=screen.err, disable=screen.quiet or not sys.stderr.isatty(), transient=True)
