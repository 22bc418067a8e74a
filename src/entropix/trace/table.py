"""The steps of an answer as a table that fits the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from entropix.trace.terminal import is_colored, regime_style, visible
from entropix.types import Candidate, Step

TOKEN_WIDTH = 20
GAP = 2
"""Cells between two columns, one of which the table draws itself."""
COLORED = ("token", "regime")


@dataclass(frozen=True, slots=True)
class Column:
    """A column and how soon it is dropped when the terminal is narrow: the highest first."""

    title: str
    cell: Callable[[Step], str]
    drop: int
    left: bool = False


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.{digits}f}"


def _whole(value: int | None) -> str:
    return "" if value is None else str(value)


def _attention(which: int) -> Callable[[Step], str]:
    return lambda step: _number(step.attention[which] if step.attention and len(step.attention) > which else None)


def token_text(label: str) -> str:
    """A token for one cell of a table: spaces at the ends and line breaks can be seen."""
    text = visible(label, keep="").replace(" ", "␣") if not label.strip() else visible(label, keep="")
    bare = text.strip(" ")
    start = len(text) - len(text.lstrip(" "))
    return "␣" * start + bare + "␣" * (len(text) - start - len(bare))


def _candidate(candidate: Candidate) -> str:
    def percent(p: float) -> str:
        return "?" if math.isnan(p) else f"{100 * p:.0f}"

    return f"{token_text(candidate.label)} {percent(candidate.before)}→{percent(candidate.after)}"


def _probability(step: Step) -> str:
    return "" if step.logprob is None else f"{100 * math.exp(min(step.logprob, 0.0)):.1f}"


COLUMNS = (
    Column("step", lambda s: str(s.index), 0),
    Column("token", lambda s: token_text(s.label), 0, left=True),
    Column("regime", lambda s: s.regime.label + ("*" if s.action else ""), 1, left=True),
    Column("H", lambda s: _number(s.entropy), 2),
    Column("V", lambda s: _number(s.varentropy), 3),
    Column("att H", _attention(0), 11),
    Column("att V", _attention(1), 14),
    Column("agree", _attention(2), 12),
    Column("inter", _attention(3), 13),
    Column("T", lambda s: _number(s.temperature), 5),
    Column("top-k", lambda s: _whole(s.top_k), 8),
    Column("top-p", lambda s: _number(s.top_p), 9),
    Column("min-p", lambda s: _number(s.min_p, 3), 10),
    Column("p %", _probability, 4),
    Column("rank", lambda s: _whole(s.rank), 6),
    Column("leading: before→after %", lambda s: "  ".join(map(_candidate, s.leading)), 7, left=True),
)
TOKEN, LEADING = COLUMNS[1], COLUMNS[-1]

CAPTION = (
    "H entropy in nats, V varentropy in nats², att H/V attention entropy and varentropy, agree head agreement, "
    "inter interaction strength, T temperature, p probability of the token before filters; * injected"
)


def step_table(console: Console, steps: Sequence[Step], width: int | None = None, *, explain: bool = True) -> Table:
    """One row per step, in the colour of its regime. Columns that do not fit `width` are left out, the least
    telling first; None: as wide as needed. Columns that are empty in every step are left out too.
    explain: say below what the columns are."""
    cells = {column: [column.cell(step) for step in steps] for column in COLUMNS}
    shown = [column for column in COLUMNS if column.drop == 0 or any(cells[column])]
    widths = {column: max(map(cell_len, [column.title, *cells[column]])) for column in shown}
    for column in shown:
        if column is TOKEN:
            widths[column] = min(widths[column], TOKEN_WIDTH)
        elif column is LEADING:
            widths[column] = cell_len(LEADING.title)

    def needed() -> int:
        return sum(widths[column] for column in shown) + GAP * (len(shown) - 1)

    while width is not None and needed() > width:
        # the candidates say more than the filters and the attention
        last = max(shown, key=lambda column: column.drop)
        if last.drop == 0:
            break
        shown.remove(last)
    if width is not None and needed() > width:
        widths[TOKEN] = max(widths[TOKEN] - (needed() - width), cell_len(TOKEN.title))
    if width is not None and LEADING in shown:
        widths[LEADING] += max(width - needed(), 0)
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        caption=CAPTION if explain else None,
        caption_justify="left",
        header_style="bold" if is_colored(console) else "",
        caption_style="dim" if is_colored(console) else "",
    )
    for column in shown:
        table.add_column(
            column.title,
            justify="left" if column.left else "right",
            no_wrap=True,
            overflow="ellipsis",
            width=None if width is None else widths[column],
        )
    for row, step in enumerate(steps):
        style = regime_style(console, step.regime, step.action)
        table.add_row(*(Text(cells[column][row], style if column.title in COLORED else Style()) for column in shown))
    return table
