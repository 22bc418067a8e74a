"""A grammar that begins at a trigger: where it begins, what it then allows, and that it goes back and forks."""

from __future__ import annotations

import pytest

from entropix import Model
from entropix.constraints import lark
from entropix.constraints.lazy import Lazy, Trigger, Triggers
from entropix.engines.scripted import ScriptedEngine, saying

pytest.importorskip("llguidance")


def lazy(model: Model, *triggers: Trigger) -> Lazy:
    compiled = model.constraint(lark('start: "<n>" /[0-9]{2}/ "</n>"'))
    spell = model.tokenizer.piece
    return Lazy(compiled, Triggers(triggers or (Trigger(("<n>",)),)), spell)


def say(text: str, **options: object) -> str:
    model = Model(ScriptedEngine(saying(text)))
    found = model.generate("x", constraint=lazy(model), policy="greedy", max_tokens=40, **options)  # type: ignore[call-overload]
    return str(found.text)


def test_text_is_free_until_the_trigger_and_kept_to_afterwards() -> None:
    assert say("no number") == "no number"
    assert say("so <n>42</n>") == "so <n>42</n>"
    kept = say("so <n>4x and more")
    assert kept.startswith("so <n>4")
    assert kept.endswith("</n>")
    assert kept[7].isdigit()


def test_what_is_no_text_of_the_grammar_begins_nothing() -> None:
    model = Model(ScriptedEngine(saying("x")))
    matcher = lazy(model, Trigger(("n>",))).begin()
    for token in b"<n>":
        matcher.accept(token)
    assert matcher.free


def test_a_matcher_goes_back_behind_its_trigger_and_forks() -> None:
    model = Model(ScriptedEngine(saying("x")))
    matcher = lazy(model).begin()
    for token in b"a<n>4":
        matcher.accept(token)
    twin = matcher.copy()
    twin.accept(ord("2"))
    assert not matcher.free
    allowed = matcher.allowed()
    assert allowed is not None
    assert {chr(t) for t in allowed.nonzero()[0]} == set("0123456789")
    matcher.rewind(4)
    assert matcher.allowed() is not None
    matcher.rewind(2)
    assert matcher.free
    for token in b"n>":
        matcher.accept(token)
    assert not matcher.free
    for token in b"</n>":
        twin.accept(token)
    assert twin.complete


def test_a_searched_answer_keeps_to_it_too() -> None:
    assert say("so <n>42</n>", search="tree:max_sequences=3") == "so <n>42</n>"


@pytest.mark.parametrize(
    ("text", "fresh", "certain"),
    [
        ("abc", True, 3),
        ("abc <", True, 4),
        ("abc <n", False, 4),
        ("abc <x", False, 6),
        (" { \n", True, 0),
        ("{", False, 1),
    ],
)
def test_what_may_still_become_a_trigger_is_not_certain(text: str, fresh: bool, certain: int) -> None:
    triggers = Triggers([Trigger(("<n>",)), Trigger(("{", '"a"'), first=True)])
    assert triggers.find(text) is None
    assert triggers.certain(text, fresh=fresh) == certain
