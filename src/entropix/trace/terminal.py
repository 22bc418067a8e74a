"""Answers on a terminal: tokens tinted by entropy or by regime, a legend, a summary. The one place that colours.

Text of a model is data: its control characters are shown, never sent, and its square brackets are no markup.
"""

from __future__ import annotations

import math
import re
import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, TextIO, TypeAlias

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from entropix.types import Action, Ledger, Regime, Result, Step

ColorChoice: TypeAlias = Literal["auto", "always", "never"]
ColorSystem: TypeAlias = Literal["auto", "standard", "256", "truecolor"]
Tint: TypeAlias = Literal["entropy", "regime"]
"""What the colour of a token says."""

ENTROPY_ENDS = (0.5, 1.0, 2.0, 3.0)
"""Upper ends, in nats, of the levels that have a tint each; what lies above the last is the last level."""
# legible on black and on white, and each darker than the one before, so that any colour vision can order them
ENTROPY_STYLES = (
    Style(),
    Style(color="#b58900"),
    Style(color="#d75f00"),
    Style(color="#d7005f"),
    Style(color="#af00d7", bold=True),
)
# the same on terminals of sixteen colours
BASIC_ENTROPY_STYLES = (
    Style(),
    Style(color="yellow"),
    Style(color="red"),
    Style(color="magenta"),
    Style(color="magenta", bold=True),
)

# Okabe and Ito's palette, which people with any colour vision can tell apart; flow stays as the terminal has it
REGIME_STYLES: Mapping[Regime, Style] = {
    Regime.FLOW: Style(),
    Regime.ADAPT: Style(color="#56b4e9"),
    Regime.BRANCH: Style(color="#e69f00"),
    Regime.CLARIFY: Style(color="#009e73"),
    Regime.RESAMPLE: Style(color="#cc79a7"),
}
# the same on terminals of sixteen colours, where the nearest ones would coincide
BASIC_STYLES: Mapping[Regime, Style] = {
    Regime.FLOW: Style(),
    Regime.ADAPT: Style(color="cyan"),
    Regime.BRANCH: Style(color="yellow"),
    Regime.CLARIFY: Style(color="green"),
    Regime.RESAMPLE: Style(color="magenta"),
}
INJECTED = Style(italic=True, underline=True)
"""Text that was put in, not said; attributes rather than a colour, so that it shows without colours too."""
MUTED = Style(dim=True)

MEANINGS: Mapping[Regime, str] = {
    Regime.FLOW: "sure",
    Regime.ADAPT: "moderately unsure",
    Regime.BRANCH: "a favourite and live alternatives",
    Regime.CLARIFY: "evenly unsure of many",
    Regime.RESAMPLE: "lost",
}
ENDINGS = {
    "end": "the model ended its turn",
    "stop": "stop string",
    "length": "token limit",
    "context": "context full",
    "constraint": "no token possible",
    "cancelled": "cancelled",
    "error": "failed",
}

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str, keep: str = "\n\t") -> str:
    """`text` with its control characters (C0, DEL, C1) and lone surrogates escaped, except those in `keep`."""

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        return character if character in keep else character.encode("unicode_escape").decode()

    return _CONTROLS.sub(escape, text)


def one_line(text: str, width: int = 60) -> str:
    """`text` on one line of at most about `width` characters."""
    text = " ".join(visible(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def wants_color(choice: ColorChoice, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour: as asked for, else NO_COLOR before FORCE_COLOR before whether `stream` is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return environ["FORCE_COLOR"] != "0"
    return stream.isatty() and environ.get("TERM") != "dumb"


class PlainConsole(Console):
    """A console that leaves it to the program what happens when its reader is gone; rich's own exits with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console(
    stream: TextIO, *, color: ColorChoice = "auto", environ: Mapping[str, str], width: int | None = None
) -> Console:
    """A console on `stream` that prints text as it is: no markup, no highlighting, colours only where wanted."""
    colored = wants_color(color, stream, environ)
    attributes = stream.isatty() and color != "never" and environ.get("TERM") != "dumb"
    terminal = colored or attributes
    return PlainConsole(
        file=stream,
        force_terminal=terminal,
        no_color=not colored,
        color_system=_color_system(environ) if terminal else None,
        width=width,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _color_system(environ: Mapping[str, str]) -> ColorSystem:
    if sys.platform == "win32":
        return "auto"
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    term = environ.get("TERM", "")
    return "256" if "256color" in term or term in ("", "dumb") else "standard"


def is_colored(console: Console) -> bool:
    return console.is_terminal and not console.no_color


def style_of(regime: Regime, action: Action = Action.SAMPLE, *, basic: bool = False) -> Style:
    """How a token of this regime looks. `basic`: on a terminal of sixteen colours."""
    style = (BASIC_STYLES if basic else REGIME_STYLES)[regime]
    return style + INJECTED if action == Action.INJECT else style


def regime_style(console: Console, regime: Regime, action: Action = Action.SAMPLE) -> Style:
    return style_of(regime, action, basic=console.color_system == "standard")


def entropy_style(console: Console, entropy: float | None) -> Style:
    """How a token of this entropy looks; one without, such as a token of an injected text, as a sure one. Without
    colours all look the same: bold would be read as said with force."""
    if not is_colored(console):
        return Style()
    styles = BASIC_ENTROPY_STYLES if console.color_system == "standard" else ENTROPY_STYLES
    return styles[0 if entropy is None or math.isnan(entropy) else bisect_left(ENTROPY_ENDS, entropy)]


def token_style(console: Console, step: Step, tint: Tint = "entropy") -> Style:
    """How a token looks."""
    if tint == "regime":
        return regime_style(console, step.regime, step.action)
    style = entropy_style(console, step.entropy)
    return style + INJECTED if step.action == Action.INJECT else style


def write_step(console: Console, step: Step, tint: Tint = "entropy") -> None:
    """Print what a step added to the text, at once."""
    write_text(console, step.text, token_style(console, step, tint))


def write_text(console: Console, text: str, style: Style | None = None) -> None:
    """Print `text` without a line break, at once: exactly on a pipe or in a file, with its control characters
    shown on a terminal."""
    if not text:
        return
    if console.is_terminal or console.file.isatty():
        text = visible(text)
    console.print(Segments([Segment(text, style)]), end="", soft_wrap=True)


def write_spans(console: Console, result: Result) -> None:
    """Print an answer with its doubtful spans underlined, in bold too where they are less likely than not; on a pipe
    the text alone."""
    at = 0
    for span in result.spans:
        if not span.doubtful:
            continue
        write_text(console, result.text[at : span.start])
        write_text(console, span.text, Style(underline=True, bold=True if span.probability < 0.5 else None))
        at = span.end
    write_text(console, result.text[at:])


def span_lines(result: Result, most: int = 8) -> list[str]:
    """The doubtful spans of an answer, least sure first, each on a line with what else was likely at its least likely
    token; a line for none."""
    from entropix.uncertainty.spans import DOUBTFUL, doubtful

    found = doubtful(result.spans)
    if not found:
        return [f"spans: none of {len(result.spans)} is less than {DOUBTFUL:.0%} sure"]
    lines = [f"spans: {len(found)} of {len(result.spans)} are less than {DOUBTFUL:.0%} sure"]
    for span in found[:most]:
        others = ", ".join(f"{_said(label)} {p:.0%}" for label, p in span.alternatives if p >= 0.01)
        least = f"{_said(span.least)} {span.least_probability:.0%}" + (f"; else {others}" if others else "")
        lines.append(f"  {span.probability:4.0%}  {one_line(span.text, 40)} ({span.kind}; {least})")
    return lines + ([f"  and {len(found) - most} more"] if len(found) > most else [])


def _said(label: str) -> str:
    """A token within a sentence: in quotes where its signs would be taken for those of the sentence."""
    text = one_line(label, 20) or "␣"
    return text if text.isalnum() else f"“{text}”"


def legend(console: Console, tint: Tint = "entropy") -> Text:
    """What the colours mean."""
    muted = MUTED if is_colored(console) else None
    text = Text()
    if tint == "regime":
        for regime, meaning in MEANINGS.items():
            text.append(regime.label, regime_style(console, regime))
            text.append(f" {meaning} · ", muted)
    else:
        text.append("entropy in nats: ", muted)
        for start, end in pairwise((0.0, *ENTROPY_ENDS)):
            text.append(f"up to {end:g}" if start == 0 else f"to {end:g}", entropy_style(console, end))
            text.append(" · ", muted)
        text.append("above", entropy_style(console, math.inf)).append(" · ", muted)
    return text.append("injected text", INJECTED)


def summary(console: Console, result: Result, tint: Tint = "entropy") -> Text:
    """One answer in a line: regimes, entropy, uncertainty, speed, ending, cost. The regimes have their colours where
    these are the text's."""
    speed = f", {len(result.tokens) / result.seconds:.1f} tokens/s" if result.seconds > 0 else ""
    parts = [
        shares(console, result.steps, tint),
        Text(f"entropy {result.mean_entropy:.2f} nats"),
        unsure(result),
        Text(f"{_count(len(result.tokens), 'token')}{speed}"),
        Text(ENDINGS.get(result.finish_reason, visible(result.finish_reason, ""))),
        Text(cost(result.ledger)),
        Text(f"seed {result.seed}"),
    ]
    return Text(" | ").join(part for part in parts if part)


def unsure(result: Result) -> Text:
    """How unsure an answer is, with what that is: of a vote a share, of one text nats, as its 1 − p is nearly 1."""
    if result.search is not None and result.search.confidence is not None:
        return Text(f"uncertainty {result.uncertainty:.0%} of {_count(result.search.ballots, 'text')}")
    return Text(f"uncertainty {max(result.surprisal, 0.0):.1f} nats (−Σ ln p)")


def shares(console: Console, steps: Sequence[Step], tint: Tint = "entropy") -> Text:
    """The share of each regime that occurred, in the regimes' colours where these are the text's."""
    counts = [(regime, sum(step.regime == regime for step in steps)) for regime in MEANINGS]
    return Text(" ").join(
        Text(f"{regime.label} {count / len(steps):.0%}", regime_style(console, regime) if tint == "regime" else Style())
        for regime, count in counts
        if count
    )


def cost(ledger: Ledger) -> str:
    """The token ledger in a few words: what was computed, and what a kept prefix saved."""
    kinds = ("prompt", "sampled", "injected", "abandoned", "looked_ahead", "recomputed", "asked")
    spent = [f"{getattr(ledger, kind)} {kind.replace('_', ' ')}" for kind in kinds if getattr(ledger, kind)]
    text = f"forwarded {ledger.forwarded}" + (f" ({', '.join(spent)})" if spent else "")
    return f"{text}, reused {_count(ledger.shared, 'prompt token')}" if ledger.shared else text


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
