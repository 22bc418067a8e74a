"""Votes in waves: the same ballots as a vote that draws all at once, and no more of them than the rule asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

import entropix
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.search import Tree, Vote
from entropix.search.stopping import parse_stop, standing
from entropix.trace.records import result_from, result_record, to_json
from helpers.scripts import seven_or_eight

HOT = {"policy": "sample:temperature=1.0", "max_tokens": 12, "seed": 5, "stop": list("aeiou \x00\x10 @P`p")}
"""Most texts stop by themselves; those that are cut off abstain, as ever."""


def kind(text: str) -> str:
    """Two answers, so that texts agree now and then."""
    return "even" if len(text) % 2 == 0 else "odd"


def ballots(result: entropix.Result) -> list[tuple[str, str | None, str]]:
    assert result.search is not None
    return [(branch.text, branch.answer, branch.ended) for branch in result.search.branches]


@pytest.mark.parametrize(("stop", "wave"), [("lead:2", 0), ("lead:2", 1), ("lead:3", 2), ("beta:0.9", 0), ("none", 3)])
def test_a_vote_in_waves_casts_the_first_ballots_of_the_whole_vote_until_its_rule_stops(
    engine: Engine, stop: str, wave: int
) -> None:
    model = entropix.Model(engine)
    whole = ballots(model.generate("Say something.", search=Vote(n=8, answer=kind, stop="none"), **HOT))
    found = model.generate("Say something.", search=Vote(n=8, answer=kind, stop=stop, wave=wave), **HOT)
    cast = ballots(found)
    assert cast == whole[: len(cast)]
    answers, ends = [answer for _, answer, _ in whole], [end for *_, end in whole]
    rule = parse_stop(stop)
    stops = [n for n in range(1, 9) if rule.stops(standing(answers[:n], ends[:n], 8 - n))]
    if wave == 1:
        assert len(cast) == stops[0]
    else:
        assert stops[0] <= len(cast) <= 8


@pytest.mark.parametrize("stop", ["lead:2", "lead:3", "beta:0.9"])
@pytest.mark.parametrize("weight", ["confidence", "path"])
def test_weighted_ballots_stop_where_their_weights_decide(stop: str, weight: str) -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), sequences=16, context=256))
    options: dict[str, Any] = {"n": 8, "answer": kind, "weight": weight}
    whole = model.generate("a", search=Vote(stop="none", **options), **HOT).search
    found = model.generate("a", search=Vote(stop=stop, wave=1, **options), **HOT)
    assert whole is not None
    weights, answers = [b.weight or 0.0 for b in whole.branches], [b.answer for b in whole.branches]
    ends, rule = [b.ended for b in whole.branches], parse_stop(stop)
    stops = [n for n in range(1, 9) if rule.stops(standing(answers[:n], ends[:n], 8 - n, weights[:n]))]
    assert len(ballots(found)) == stops[0]


@pytest.mark.parametrize(("stop", "cast"), [("none", 9), ("lead:2", 4), ("lead:3", 5), ("beta:0.9", 6)])
def test_the_ballots_of_a_tree_stop_by_the_rules_too(stop: str, cast: int) -> None:
    """Of 8 and then 7 seven times; the tree's fork at the first token is the second ballot."""
    model = entropix.Model(ScriptedEngine(seven_or_eight, sequences=24))
    tree = Tree(trigger="entropy", threshold=0.3, ratio=0.0, max_sequences=24)
    vote = Vote(n=8, answer="number", stop=stop, wave=1)
    found = ballots(model.generate("How many?", search=[tree, vote], seed=3, policy="sample"))
    assert [answer for _, answer, _ in found] == [*"877777778"][:cast]
    assert {ended for *_, ended in found} == {"end"}


def test_waves_hold_no_more_sequences_than_they_say() -> None:
    engine = ScriptedEngine(hashed(3), sequences=3, context=256)
    model = entropix.Model(engine)
    most = 0
    forward = engine.forward

    def watched(work: Any, **options: Any) -> Any:
        nonlocal most
        most = max(most, len(engine.live))
        return forward(work, **options)

    engine.forward = watched  # type: ignore[method-assign]
    found = model.generate("a", search=Vote(n=9, answer=kind, stop="none", wave=2), **HOT)
    assert len(ballots(found)) == 9
    assert most == 3
    assert engine.cells_used() == 0


def test_it_is_kept_how_many_texts_had_ended_before_each() -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), sequences=8))
    found = model.generate("a", search=Vote(n=6, answer=kind, stop="none", wave=3), **HOT)
    assert found.search is not None
    before = [branch.before for branch in found.search.branches]
    lengths = [len(branch.steps) for branch in found.search.branches]
    first, second = lengths[:3], lengths[3:]
    assert before[:3] == [sum(other < n for other in first) for n in first]
    assert before[3:] == [3 + sum(other < n for other in second) for n in second]
    again = result_from(json.loads(to_json(result_record(found))), {}, found.steps)
    assert again.search is not None
    assert [branch.before for branch in again.search.branches] == before


def test_a_text_that_never_ended_has_no_place_in_the_order() -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), sequences=8))
    found = model.generate("a", search=Vote(n=8, answer=lambda text: "one", stop="overtake"), **HOT)
    assert found.search is not None
    branches = found.search.branches
    assert [b.before is None for b in branches] == [b.weight is None for b in branches]
    assert any(b.before is None for b in branches)


def test_the_first_ballot_can_be_the_greedy_text(engine: Engine) -> None:
    model = entropix.Model(engine)
    greedy = model.generate("Say something.", **{**HOT, "policy": "greedy"})
    plain = ballots(model.generate("Say something.", search=Vote(n=4, answer=kind, stop="none"), **HOT))
    found = ballots(model.generate("Say something.", search=Vote(n=4, answer=kind, stop="none", first="greedy"), **HOT))
    assert found[0][0] == greedy.text
    assert found[1:] == plain[1:]


def test_a_budget_of_tokens_ends_the_waves_and_what_was_cast_decides() -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), context=256))
    found = model.generate("a", search=Vote(n=9, answer=kind, stop="none", wave=1, max_tokens=20), **HOT)
    assert found.search is not None
    assert 0 < len(ballots(found)) < 9
    assert found.search.answer in ("even", "odd")


def test_a_seed_gives_the_same_waves_alone_and_beside_other_questions() -> None:
    model = entropix.Model(ScriptedEngine(hashed(3), context=256, sequences=12))
    search = Vote(n=8, answer=kind, stop="lead:2")
    alone = [ballots(model.generate(prompt, search=search, **HOT)) for prompt in ("a", "b", "c")]
    together = [ballots(result) for result in model.generate(["a", "b", "c"], search=search, **HOT)]
    assert together == alone


def test_an_engine_that_cannot_go_back_is_named_where_waves_need_it() -> None:
    from dataclasses import replace

    engine = ScriptedEngine(context=256)
    engine.capabilities = replace(engine.capabilities, rewind=False)
    model = entropix.Model(engine)
    with pytest.raises(entropix.EntropixError, match="further texts of a prompt when others have ended"):
        model.generate("a", search=Vote(n=4, answer=kind, stop="lead:2"), **HOT)
    assert len(ballots(model.generate("a", search=Vote(n=4, answer=kind, stop="lead:2", wave=4), **HOT))) == 4
