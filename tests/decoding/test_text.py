"""Text that is shown is certain: whole characters, and nothing of a stop string."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.decoding import TextStream
from entropix.types import Action, Regime, Step


def step(n: int = 0) -> Step:
    return Step(n, n, 0, "", "", Regime.FLOW, Action.SAMPLE)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(borders)]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.lists(st.integers(0, 200), max_size=20))
def test_any_split_into_tokens_gives_the_same_text(text: str, cuts: list[int]) -> None:
    stream = TextStream()
    shown = ""
    steps = [step(n) for n in range(len(chunks(text.encode(), cuts)))]
    for one, piece in zip(steps, chunks(text.encode(), cuts), strict=True):
        shown += "".join(s.text for s in stream.push(one, piece))
        assert text.startswith(shown), "half a character was shown"
    shown += "".join(s.text for s in stream.finish())
    assert shown == text == stream.text == "".join(s.text for s in steps)


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab🙂\n", max_size=25),
    st.lists(st.text("ab🙂", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 200), max_size=20),
)
def test_the_text_ends_before_the_first_stop_string(text: str, stops: list[str], cuts: list[int]) -> None:
    found = [at for s in stops if (at := text.find(s)) >= 0]
    stream = TextStream(tuple(stops))
    shown = ""
    steps = []
    for piece in chunks(text.encode(), cuts):
        steps.append(step(len(steps)))
        shown += "".join(s.text for s in stream.push(steps[-1], piece))
        assert all(s not in shown for s in stops)
        if stream.stopped:
            break
    shown += "".join(s.text for s in stream.finish())
    assert shown == stream.text == "".join(s.text for s in steps)
    if stream.stopped:
        # the earliest that was complete when it was noticed: nothing of any stop string has been shown
        assert found
        assert text.startswith(shown)
        assert any(text[len(shown) :].startswith(s) for s in stops)
    else:
        assert not found
        assert shown == text


def test_a_stop_string_across_tokens_holds_back_only_what_could_be_its_start() -> None:
    stream = TextStream(("</done>",))
    assert [s.text for s in stream.push(step(0), b"Hi ")] == ["Hi "]
    assert stream.push(step(1), b"</") == []
    assert [s.text for s in stream.push(step(2), b"b>")] == ["</", "b>"]
    assert stream.push(step(3), b" <") == []
    assert [s.text for s in stream.push(step(4), b"/done> more")] == [" ", ""]
    assert stream.stopped
    assert stream.text == "Hi </b> "


def test_bytes_that_are_no_character_are_replaced_at_the_end() -> None:
    stream = TextStream()
    assert stream.push(step(), "🙂".encode()[:2]) == []
    assert [s.text for s in stream.finish()] == ["\ufffd"]
    assert stream.text == "\ufffd"
    assert stream.finish() == []


MARK = "<|im_start|>"


def control(n: int, label: str = MARK) -> Step:
    return replace(step(n), label=label)


def run(stops: tuple[str, ...], *tokens: bytes | str) -> TextStream:
    """The stream after tokens: bytes of text, or the name of a control token."""
    stream = TextStream(stops)
    for n, token in enumerate(tokens):
        if isinstance(token, str):
            stream.push(control(n, token), b"")
        else:
            stream.push(step(n), token)
        if stream.stopped:
            break
    stream.finish()
    return stream


@pytest.mark.parametrize(
    ("stop", "tokens", "text"),
    [
        (MARK, (b"Hi", MARK, b"user"), "Hi"),
        ("im_start", (b"Hi", MARK), "Hi"),
        (f"{MARK}user", (b"Hi", MARK, b"us", b"er"), "Hi"),
        (f"\n{MARK}", (b"Hi", b"\n", MARK), "Hi"),
        (f"{MARK}{MARK}", (b"Hi", MARK, b"!", MARK, MARK), "Hi!"),
        (MARK, (b"say <|im", b"_start|> now"), "say "),
        ("ab", (b"xa", MARK, b"bc"), "x"),
        ("user", (b"Hi", MARK, b" a us", b"er"), "Hi a "),
    ],
)
def test_b10_a_stop_string_that_names_a_control_token_ends_the_text(
    stop: str, tokens: tuple[bytes | str, ...], text: str
) -> None:
    stream = run((stop,), *tokens)
    assert (stream.stopped, stream.text) == (True, text)


def test_b10_control_tokens_that_no_stop_string_names_add_nothing_and_stop_nothing() -> None:
    stream = run((f"{MARK}user", "<|im_end|>"), b"a", MARK, b"us", b"a", "<|im_sep|>", b"z")
    assert (stream.stopped, stream.text) == (False, "ausaz")


def test_b10_what_may_be_part_of_a_stop_string_with_a_control_token_is_held_back() -> None:
    stream = TextStream((f"{MARK}user",))
    assert [s.text for s in stream.push(step(0), b"a")] == ["a"]
    assert stream.push(control(1), b"") == []
    assert stream.push(step(2), b"us") == []
    twin, waiting = stream.copy()
    assert len(waiting) == 2
    assert [s.text for s in stream.push(step(3), b"a")] == ["", "us", "a"]
    assert [s.text for s in twin.push(step(3), b"er")] == ["", "", ""]
    assert (twin.stopped, twin.text, stream.stopped, stream.text) == (True, "a", False, "ausa")


def test_after_a_stop_string_nothing_is_added() -> None:
    stream = TextStream(("stop",))
    stream.push(step(0), b"a stop b")
    stream.push(step(1), b" c")
    stream.finish()
    assert (stream.stopped, stream.text) == (True, "a ")
