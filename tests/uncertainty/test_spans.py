"""Spans: what in a text can be wrong, where it stands, how likely it was; in time linear in the text."""

from __future__ import annotations

import io
import json
import math
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from entropix import Model, Result
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.trace.records import result_from, result_record, step_from, step_record, to_json
from entropix.trace.terminal import span_lines, write_spans
from entropix.types import Action, Candidate, Regime, Step
from entropix.uncertainty import doubtful, spans_of
from entropix.uncertainty.spans import KINDS, places
from entropix.uncertainty.values import scan


def step(index: int, text: str, p: float | None = 0.5, leading: Any = ()) -> Step:
    logprob = None if p is None else math.log(p)
    return Step(
        index, index, index, text or "x", text, Regime.FLOW, Action.SAMPLE, 0.1, logprob=logprob, leading=leading
    )


def found(text: str) -> list[tuple[str, str]]:
    return [(place.kind, text[place.start : place.end]) for place in places(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is 42.", [("number", "42")]),
        ("It costs 1,234.50 in all, or 3/4 of it.", [("number", "1,234.50"), ("number", "3/4")]),
        ("Paris", [("name", "Paris")]),
        ("It was written by J. S. Bach.", [("name", "J. S. Bach")]),
        ("He met Ludwig van Beethoven there.", [("name", "Ludwig van Beethoven")]),
        ("On July 4, 1776, and again on 2021-03-04.", [("date", "July 4, 1776"), ("date", "2021-03-04")]),
        ("since 3 May 1887", [("date", "3 May 1887")]),
        ('He said "to be" and “or not”.', [("quote", '"to be"'), ("quote", "“or not”")]),
        ("call `foo` or read_file(x)", [("identifier", "`foo`"), ("identifier", "read_file(")]),
        ("set maxTokens and top_p", [("identifier", "maxTokens"), ("identifier", "top_p")]),
        ('{"a": "x y", "b": [1, null, {"c": true}]}', [("value", v) for v in ("x y", "1", "null", "true")]),
        ('```json\n{"a": -1.5e3}\n```', [("value", "-1.5e3")]),
        ("Ответ: Москва, 1147 год 🙂", [("name", "Москва"), ("number", "1147")]),
        (
            "use os.path.join, torch.nn.Linear or main.py, e.g. so",
            [("identifier", w) for w in ("os.path.join", "torch.nn.Linear", "main.py")],
        ),
        (
            "at https://a.org/b_c?d=1&e=2. Or www.a.org, or (a.b+c@d.co.uk)!",
            [("identifier", w) for w in ("https://a.org/b_c?d=1&e=2", "www.a.org", "a.b+c@d.co.uk")],
        ),
        (
            "ping 192.168.0.1, v1.2.3, /usr/bin/env, and/or 0x1F",
            [("identifier", w) for w in ("192.168.0.1", "v1.2.3", "/usr/bin/env", "0x1F")],
        ),
        ("−7 °C, -5 V, +3.5 kg and 5 GB for $4.50", [("number", w) for w in ("−7", "-5", "+3.5", "5", "$4.50")]),
        (
            "call 978-3-16-148410-0 at 14:30, the 2nd, for 1.000,00 in all",
            [("number", w) for w in ("978-3-16-148410-0", "14:30", "2", "1.000,00")],
        ),
        (
            "on 05/01/2024, 5.1.2024, Jan 5, 2024, 5th of May, 2024 or 2024年1月5日",
            [("date", w) for w in ("05/01/2024", "5.1.2024", "Jan 5, 2024", "5th of May, 2024", "2024年1月5日")],
        ),
        (
            "she said \"so 'never' again\" and “a ‘b’ c” and 『源氏』 and 《红楼》",
            [("quote", w) for w in ("\"so 'never' again\"", "“a ‘b’ c”", "『源氏』", "《红楼》")],
        ),
        (
            'So:\n```json\n{"a": "x\\n\\"y\\"", "b": [], "c": -1.5e3}\n```\nand 7',
            [("value", 'x\\n\\"y\\"'), ("value", "-1.5e3"), ("number", "7")],
        ),
        ("```python\nf(3)\n```\nthen\n```\n[1]\n```", [("identifier", "f("), ("number", "3"), ("value", "1")]),
        ("It is not certain, yes. The rest follows.", []),
        (" The rest 🎉 The end", []),
        ("🙂 In Paris", [("name", "Paris")]),
        ("42 Apples", [("number", "42"), ("name", "Apples")]),
        ("don't, it's John's", [("name", "John's")]),
        ("", []),
    ],
)
def test_what_can_be_wrong_in_a_text_is_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert [f for f in found(text) if f != ("name", "Ответ")] == expected


@given(st.text())
def test_places_stand_in_order_without_overlap_in_any_text(text: str) -> None:
    made = places(text)
    assert all(0 <= p.start < p.end <= len(text) or (p.kind == "value" and p.start == p.end) for p in made)
    assert all(a.end <= b.start for a, b in pairwise(made))
    assert {p.kind for p in made} <= set(KINDS)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**9), 10**9),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=12,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))] or [(path, {})]
    if isinstance(value, list):
        return [leaf for n, inner in enumerate(value) for leaf in leaves(inner, (*path, n))] or [(path, [])]
    return [(path, value)]


@given(json_values, st.sampled_from([None, 2]), st.booleans())
def test_every_value_of_a_json_text_is_found_with_its_path(value: Any, indent: int | None, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    made = scan(text)
    assert made is not None
    assert [(v.path, v.value) for v in made] == leaves(value)
    for v in made:
        said = text[v.start : v.end]
        assert json.loads(f'"{said}"' if isinstance(v.value, str) else said) == v.value


@given(json_values, st.integers(0, 200))
def test_a_json_text_that_was_cut_off_has_the_values_before(value: Any, cut: int) -> None:
    text = json.dumps({"v": value})
    part = scan(text[:cut], partial=True)
    whole = scan(text)
    assert part is not None
    assert whole is not None
    assert scan(text[:cut]) is None or cut >= len(text)
    # the last number may have been cut in two
    assert [v.path for v in part] == [v.path for v in whole[: len(part)]]
    assert part[:-1] == whole[: max(len(part) - 1, 0)]


@pytest.mark.parametrize(
    "text", ["{", '{"a" 1}', "[1,]", "{'a': 1}", "nul", "[1] x", '"\x01"', "[" * 5000, "1" * 10000]
)
def test_what_is_no_json_has_no_values(text: str) -> None:
    assert scan(text) is None


def test_a_span_has_the_product_of_its_tokens_and_what_else_was_likely_at_the_least_likely() -> None:
    leading = (Candidate(2, "87", 0.4, 0.4), Candidate(9, "89", 0.3, 0.3), Candidate(8, "78", 0.2, 0.2))
    steps = [step(0, "in "), step(1, "18", 0.8), step(2, "87", 0.4, leading), step(3, " or")]
    (span,) = spans_of("in 1887 or", steps)
    assert (span.kind, span.text, span.start, span.end, span.first, span.last) == ("number", "1887", 3, 7, 1, 2)
    assert span.probability == pytest.approx(0.32)
    assert span.uncertainty == pytest.approx(0.68)
    assert (span.least, span.least_probability) == ("87", pytest.approx(0.4))
    assert span.alternatives == (("89", 0.3), ("78", 0.2))


def test_the_bytes_of_a_character_count_for_the_span_that_begins_with_it() -> None:
    steps = [step(0, "an "), step(1, "", 0.5), step(2, "Éva", 0.5), step(3, " or")]
    (span,) = spans_of("an Éva or", steps)
    assert (span.first, span.last, span.probability) == (1, 2, pytest.approx(0.25))


def test_injected_text_has_spans_without_a_probability() -> None:
    (span,) = spans_of("42", [step(0, "42", None)])
    assert (span.probability, span.least_probability, span.uncertainty, span.doubtful) == (None, None, 0.0, False)


@given(st.lists(st.tuples(st.text(max_size=4), st.floats(0.01, 1)), max_size=30))
def test_spans_of_any_tokens_lie_in_their_steps(tokens: list[tuple[str, float]]) -> None:
    steps = [step(n, text, p) for n, (text, p) in enumerate(tokens)]
    text = "".join(s.text for s in steps)
    for span in spans_of(text, steps):
        covered = "".join(s.text for s in steps[span.first : span.last + 1])
        assert span.text in covered
        assert span.probability == pytest.approx(math.prod(p for _, p in tokens[span.first : span.last + 1]))


@pytest.mark.parametrize(
    "unit",
    [
        'In 1887 Anna Smith said "no" to foo_bar(x) on 3 May 1990. ',
        '"',
        "(",
        "a@",
        "/a",
        "www.a",
        "https://",
        "```json\n",
        "```\n{",
        "1-",
        "0-0.",
        "a_",
        "A ",
        "1,",
        "'",
        "`",
        "aB",
        "a.",
        "1 ",
        "- ",
        '{"a":',
    ],
)
def test_a_long_text_of_any_sort_holds_nobody_up(unit: str) -> None:
    begun = time.process_time()
    places(unit * (100_000 // len(unit)))
    assert time.process_time() - begun < 10, "time is linear in the text: quadratic would take minutes"


def answered(text: str = "In 1887 Anna came.") -> Result:
    result = Model(ScriptedEngine(saying(text, certainty=5))).generate("when?", policy="greedy", seed=1)
    assert isinstance(result, Result)
    return result


def test_a_result_has_its_spans_and_a_trace_has_them_again() -> None:
    result = answered()
    assert [(s.kind, s.text) for s in result.spans] == [("number", "1887"), ("name", "Anna")]
    assert all(result.text[s.start : s.end] == s.text for s in result.spans)
    record = json.loads(to_json(result_record(result)))
    assert [s["text"] for s in record["spans"]] == ["1887", "Anna"]
    again = result_from(record, {}, tuple(step_from(json.loads(to_json(step_record(s)))) for s in result.steps))
    assert [(s.text, s.first, s.alternatives) for s in again.spans] == [
        (s.text, s.first, tuple((label, float(f"{p:.6g}")) for label, p in s.alternatives)) for s in result.spans
    ]


def test_the_terminal_underlines_what_is_doubtful_and_says_why_and_a_pipe_gets_the_text_alone() -> None:
    result = answered()
    assert doubtful(result.spans)
    colored = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=100)
    write_spans(colored, result)
    shown = colored.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[" in shown
    assert "4m1887" in shown
    plain = io.StringIO()
    write_spans(Console(file=plain, width=100), result)
    assert plain.getvalue() == result.text
    lines = span_lines(result)
    assert lines[0] == "spans: 2 of 2 are less than 90% sure"
    assert any("1887 (number;" in line for line in lines)


def test_an_answer_that_is_sure_is_said_to_be() -> None:
    assert span_lines(
        Model(ScriptedEngine(saying("It was 1887.", certainty=30))).generate("when?", policy="greedy")
    ) == [  # type: ignore[arg-type]
        "spans: none of 1 is less than 90% sure"
    ]
