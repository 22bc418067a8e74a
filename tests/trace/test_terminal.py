"""Rendering on a terminal: what is coloured, what is escaped, what fits."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from entropix.trace.table import step_table, token_text
from entropix.trace.terminal import (
    ENTROPY_ENDS,
    ENTROPY_STYLES,
    Tint,
    cost,
    is_colored,
    legend,
    make_console,
    one_line,
    span_lines,
    style_of,
    summary,
    visible,
    wants_color,
    write_spans,
    write_step,
    write_text,
)
from entropix.types import Action, Candidate, Ledger, Regime, Result, Step
from entropix.uncertainty import Spans, spans_of
from entropix.uncertainty.spans import SpanPlace

TERMINAL = {"TERM": "xterm-256color"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def step(
    text: str,
    regime: Regime = Regime.FLOW,
    action: Action = Action.SAMPLE,
    index: int = 0,
    entropy: float | None = 0.25,
) -> Step:
    return Step(
        index=index,
        position=3 + index,
        token=5,
        label=text or "x",
        text=text,
        regime=regime,
        action=action,
        entropy=entropy,
        varentropy=0.5,
        attention=(0.5, 0.25, 0.75, 2.0),
        temperature=0.7,
        top_k=27,
        top_p=0.9,
        min_p=0.03,
        logprob=-0.5,
        rank=1,
        leading=(Candidate(5, text, 0.6, 0.8), Candidate(6, " b", 0.4, 0.2)),
    )


TERMINALS = ({"COLORTERM": "truecolor"}, TERMINAL, {"TERM": "linux"})


def rendered(text: str, environ: Mapping[str, str] = TERMINAL, tint: Tint = "entropy", **said: Any) -> str:
    stream = Terminal()
    write_step(make_console(stream, environ=environ), step(text, **said), tint)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("choice", "terminal", "environ", "colored"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", True, {"FORCE_COLOR": "0"}, False),
        ("auto", True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_follows_option_then_environment_then_terminal(
    choice: str, terminal: bool, environ: dict[str, str], colored: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert wants_color(choice, stream, environ) is colored  # type: ignore[arg-type]
    assert is_colored(make_console(stream, color=choice, environ=environ)) is colored  # type: ignore[arg-type]


def test_regimes_differ_in_colour_on_terminals_of_any_kind() -> None:
    for environ in TERMINALS:
        looks = {rendered("x", environ, "regime", regime=regime) for regime in Regime}
        assert len(looks) == len(Regime)
        assert rendered("x", environ, "regime", regime=Regime.FLOW) == "x"


def test_a_token_is_tinted_by_its_entropy_first_and_in_steps_that_differ_on_terminals_of_any_kind() -> None:
    for environ in TERMINALS:
        looks = [rendered("x", environ, regime=Regime.ADAPT, entropy=entropy) for entropy in (0, 0.7, 1.5, 2.5, 9)]
        assert len(set(looks)) == 5
        assert looks[0] == rendered("x", environ, entropy=None) == rendered("x", environ, entropy=math.nan) == "x"
        same = rendered("x", environ, regime=Regime.RESAMPLE, entropy=ENTROPY_ENDS[1])
        assert looks[1] == same, "whatever the regime"


def test_tints_of_entropy_are_legible_on_black_and_white_and_can_be_ordered_by_darkness() -> None:
    def luminance(name: str) -> float:
        parts = [int(name[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    found = [luminance(style.color.name) for style in ENTROPY_STYLES if style.color is not None]
    assert len(found) == len(ENTROPY_ENDS)
    assert found == sorted(found, reverse=True)
    assert all((light + 0.05) / 0.05 >= 3 <= 1.05 / (light + 0.05) for light in found)


def test_injected_text_shows_without_colours_too() -> None:
    stream = Terminal()
    console = make_console(stream, environ={"NO_COLOR": "1", **TERMINAL})
    write_step(console, step("said", Regime.BRANCH, entropy=3.5))
    write_step(console, step("put in", Regime.CLARIFY, Action.INJECT))
    assert stream.getvalue() == "said\x1b[3;4mput in\x1b[0m"
    assert style_of(Regime.CLARIFY, Action.INJECT).italic


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_character_of_a_text_reaches_the_terminal(text: str) -> None:
    shown = rendered(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", shown)


def test_control_characters_are_shown_escaped() -> None:
    assert rendered("\x1b]0;title\x07\x9b31m\r\n\ttab") == "\\x1b]0;title\\x07\\x9b31m\\r\n\ttab"
    assert visible("a\nb", keep="") == "a\\nb"


def test_a_pipe_gets_the_text_exactly() -> None:
    stream = io.StringIO()
    text = "\x1b[31m [red]x[/red] :smile: \t\r\n" + "long " * 100
    write_text(make_console(stream, environ={}), text)
    assert stream.getvalue() == text


def test_markup_emoji_codes_and_long_lines_are_printed_literally() -> None:
    text = "[bold red]x[/] :smile: https://example.org 😀 " + "wide " * 60
    assert rendered(text) == text


def test_a_step_is_written_at_once() -> None:
    class Flushing(Terminal):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    stream = Flushing()
    write_step(make_console(stream, environ=TERMINAL), step("now"))
    assert stream.flushed == "now"


def answer(*steps: Step) -> Result:
    return Result(
        text="".join(s.text for s in steps),
        finish_reason="length",
        tokens=(5,) * len(steps),
        prompt_tokens=3,
        steps=steps,
        ledger=Ledger(prompt=3, shared=20, sampled=len(steps)),
        seed=11,
        policy="entropix",
        profile="generic",
        model="tiny",
        seconds=2.0,
    )


def console(width: int = 80) -> Console:
    return make_console(io.StringIO(), environ={}, width=width)


def test_the_summary_says_shares_entropy_speed_ending_and_cost() -> None:
    line = summary(console(), answer(step("a"), step("b", Regime.BRANCH), step("c"), step("d"))).plain
    assert line.startswith(
        "flow 75% branch 25% | entropy 0.25 nats | uncertainty 2.0 nats (−Σ ln p) | 4 tokens, 2.0 tokens/s"
    )
    assert "token limit | forwarded 7 (3 prompt, 4 sampled), reused 20 prompt tokens | seed 11" in line


def test_the_summary_of_an_empty_answer_is_a_line_too() -> None:
    assert "0 tokens, 0.0 tokens/s" in summary(console(), answer()).plain


def test_what_else_was_likely_in_a_span_is_told_apart_from_the_sentence_that_says_it() -> None:
    unsure = step("14")
    unsure.logprob, unsure.leading = (
        math.log(0.1),
        tuple(Candidate(n, *c, 0) for n, c in enumerate([(":", 0.3), (" 2", 0.2)])),
    )
    said = replace(answer(unsure), spans=Spans(lambda: spans_of("14", (unsure,))))
    assert span_lines(said) == [
        "spans: 1 of 1 are less than 90% sure",
        "   10%  14 (number; 14 10%; else “:” 30%, 2 20%)",
    ]


@pytest.mark.parametrize(
    ("environ", "color", "shown"),
    [
        (TERMINAL, "auto", "🙂 東京 \x1b[4m1887\x1b[0m [b] \x1b[1;4mÉva\\x1b\x1b[0m"),
        ({"NO_COLOR": "1", **TERMINAL}, "auto", "🙂 東京 \x1b[4m1887\x1b[0m [b] \x1b[1;4mÉva\\x1b\x1b[0m"),
        ({"TERM": "dumb"}, "auto", "🙂 東京 1887 [b] Éva\\x1b"),
        (TERMINAL, "never", "🙂 東京 1887 [b] Éva\\x1b"),
    ],
)
def test_what_is_doubtful_is_underlined_by_attributes_where_the_terminal_has_them(
    environ: dict[str, str], color: Any, shown: str
) -> None:
    steps = [step(text) for text in ("🙂 ", "東京 ", "1887", " [b] ", "Éva\x1b")]
    for each, p in zip(steps, (1, 1, 0.6, 1, 0.4), strict=True):
        each.logprob = math.log(p)
    text = "".join(each.text for each in steps)
    places = [SpanPlace("number", 5, 9), SpanPlace("name", 14, 18)]
    stream = Terminal()
    said = replace(answer(*steps), spans=Spans(lambda: spans_of(text, steps, places)))
    write_spans(make_console(stream, color=color, environ=environ), said)
    assert stream.getvalue() == shown
    pipe = io.StringIO()
    write_spans(make_console(pipe, color="auto", environ=environ), said)
    assert pipe.getvalue() == text


def test_the_legend_names_every_regime_and_injection() -> None:
    text = legend(console(), "regime").plain
    assert all(regime.label in text for regime in Regime)
    assert "injected" in text


def test_the_legend_of_entropies_names_every_end_in_its_own_tint() -> None:
    shown = make_console(Terminal(), environ=TERMINAL)
    text = legend(shown)
    assert text.plain == "entropy in nats: up to 0.5 · to 1 · to 2 · to 3 · above · injected text"
    assert [span.style for span in text.spans if span.style in ENTROPY_STYLES] == list(ENTROPY_STYLES[1:])


def test_the_regimes_of_a_summary_have_colours_only_where_the_text_has_theirs() -> None:
    shown = make_console(Terminal(), environ=TERMINAL)
    said = answer(step("a"), step("b", Regime.BRANCH))
    styles = {tint: {str(span.style) for span in summary(shown, said, tint).spans} for tint in ("entropy", "regime")}  # type: ignore[arg-type]
    assert styles["regime"] > styles["entropy"]


def test_the_ledger_leaves_out_what_did_not_happen() -> None:
    assert cost(Ledger()) == "forwarded 0"
    assert cost(Ledger(prompt=1, looked_ahead=2, shared=1)) == (
        "forwarded 3 (1 prompt, 2 looked ahead), reused 1 prompt token"
    )


def table(width: int | None, *steps: Step) -> list[str]:
    stream = io.StringIO()
    wide = make_console(stream, environ={}, width=width or 10_000)
    wide.print(step_table(wide, steps, width, explain=False))
    return stream.getvalue().splitlines()


def test_a_table_without_limit_has_every_column_and_candidate() -> None:
    lines = table(None, step(" a"), step("[red]", Regime.CLARIFY, Action.INJECT, 1))
    assert " ".join(lines[0].split()) == (
        "step token regime H V att H att V agree inter T top-k top-p min-p p % rank leading: before→after %"
    )
    assert "␣a 60→80  ␣b 40→20" in lines[2]
    assert "[red]" in lines[3]
    assert "clarify*" in lines[3]


@pytest.mark.parametrize("width", [24, 30, 40, 60, 80, 100, 120, 200])
def test_a_table_fits_its_width_and_cuts_no_number(width: int) -> None:
    lines = table(width, *(step(" word", index=n) for n in range(3)), step("😀" * 40, index=3))
    assert all(cell_len(line) <= width for line in lines)
    assert "step" in lines[0]
    assert "token" in lines[0]
    numbers = [line.partition("␣word 60")[0] for line in lines[2:5]]
    assert not any("…" in line for line in numbers)


def test_columns_that_are_empty_everywhere_are_left_out() -> None:
    bare = Step(0, 3, 5, "a", "a", Regime.FLOW, Action.SAMPLE)
    assert table(None, bare)[0].split() == ["step", "token", "regime"]


@pytest.mark.parametrize(
    ("label", "shown"), [(" a", "␣a"), ("\n", "\\n"), ("  ", "␣␣"), ("a b", "a b"), ("\x1b", "\\x1b"), ("a ", "a␣")]
)
def test_spaces_at_the_ends_of_a_token_can_be_seen(label: str, shown: str) -> None:
    assert token_text(label) == shown


def test_one_line_is_short_and_has_no_breaks() -> None:
    assert one_line("a\n b\x1b", 20) == "a b\\x1b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
