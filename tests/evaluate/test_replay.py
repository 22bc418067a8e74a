"""Replayed rules against votes that were decoded, and against counts by hand."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scipy")
from entropix import Model
from entropix.cli import main
from entropix.engines.scripted import END, ScriptedEngine, hashed
from entropix.errors import ParameterError, TaskError
from entropix.evaluate import Spec, Store, evaluate, load_task, units
from entropix.evaluate.alternatives import replay
from entropix.evaluate.budget import STOPS, rule_points
from entropix.evaluate.replay import Rule, ballots_of, count, evidence_of, heard, moved, replayed
from entropix.evaluate.store import cost, read_outcomes
from entropix.evaluate.texts import Likelihood, StoredText, texts_of
from entropix.search.stopping import parse_stop

SAMPLE = "sample:temperature=0.9"
SPECS = [
    Spec("greedy", "greedy"),
    Spec("vote 5", SAMPLE, "vote:n=5,answer=number,stop=none"),
    Spec("vote 3", SAMPLE, "vote:n=3,answer=number,stop=none"),
    Spec("tree", SAMPLE, "tree:trigger=entropy,threshold=0.1,max_sequences=3+vote:answer=number"),
]


def digits(tokens: tuple[int, ...]) -> Any:
    """Says "1", "2" or "3" most of the time and ends soon, but not always before it is cut off."""
    logits = hashed(sharpness=1.0)(tokens)
    logits[[ord(c) for c in "123 "]] += 5.0
    logits[END] = 5.0
    return logits


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("run")
    model = Model(ScriptedEngine(digits, context=512, sequences=16))
    specs = {s.name: {"policy": s.policy, "search": s.search, "max_tokens": 0} for s in SPECS}
    with Store(found, {"model": "scripted", "tasks": {"arithmetic": {}}, "specs": specs}) as store:
        evaluate(model, units([load_task("arithmetic", limit=6)], SPECS, [1]), store, max_tokens=8, together=5)
    return found


@pytest.fixture(scope="module")
def run(directory: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {spec.name: [] for spec in SPECS}
    for o in sorted(read_outcomes(directory), key=lambda o: o["item"]):
        found[o["spec"]].append(o)
    return found


def text(
    answer: str | None, mean: float = -1.0, length: int = 5, ended: str = "end", right: bool = False
) -> StoredText:
    likelihood = Likelihood(mean * length, mean, mean, length)
    return StoredText(answer, right, length, length, ended, likelihood, likelihood if answer else None)


def test_every_text_of_an_outcome_is_kept_with_its_likelihood(run: dict[str, list[dict[str, Any]]]) -> None:
    for o in itertools.chain(*run.values()):
        texts = texts_of(o)
        assert len(texts) == max(len(o["ballots"]), 1)
        for t in texts:
            assert t.whole is not None
            assert t.whole.least <= t.whole.mean <= 0
            assert t.whole.sum == pytest.approx(t.whole.mean * t.whole.tokens, abs=1e-4)
            assert (t.span is None) == (t.answer is None)
            if t.span is not None:
                assert 1 <= t.span.tokens <= t.whole.tokens
                assert t.span.least >= t.whole.least
    for o in run["greedy"]:
        (only,) = texts_of(o)
        assert (only.answer, only.ended, only.length) == (o["answer"], o["finish_reason"], o["tokens"])
        assert only.whole is not None
        assert only.whole.sum == pytest.approx(o["signals"]["sum of log-probabilities"], abs=1e-4)


def test_a_branchs_likelihood_includes_what_it_shares_with_its_parent(run: dict[str, list[dict[str, Any]]]) -> None:
    forked = [o for o in run["tree"] if len(o["ballots"]) > 1]
    assert forked
    assert any(t["length"] > cost + 1 for o in forked for t, cost in zip(o["texts"], o["ballot_tokens"], strict=True))


def test_a_replayed_vote_is_the_vote_that_was_decoded(run: dict[str, list[dict[str, Any]]]) -> None:
    for whole, small in zip(run["vote 5"], run["vote 3"], strict=True):
        found = replayed(whole, Rule(most=3), "vote 3")
        for key in ("answer", "right", "any_right", "ballots", "ballot_tokens", "texts", "independent"):
            assert json.loads(json.dumps(found[key])) == small[key], key
        assert cost(found) == cost(small)
        # prompts that the batch shares are counted once per answer in either
        assert found["unshared"] - cost(found) == small["unshared"] - cost(small)
        assert found["signals"]["confidence"] == pytest.approx(small["signals"]["confidence"])


def test_overtake_gives_the_answer_of_the_whole_vote_and_no_rule_costs_more(
    run: dict[str, list[dict[str, Any]]],
) -> None:
    found = [replayed(o, Rule(parse_stop("overtake")), "x") for o in run["vote 5"]]
    assert [o["answer"] for o in found] == [o["answer"] for o in run["vote 5"]]
    assert sum(map(cost, found)) <= sum(map(cost, run["vote 5"]))
    early = [replayed(o, Rule(parse_stop("lead:1")), "x") for o in run["vote 5"]]
    assert sum(map(cost, early)) < sum(map(cost, run["vote 5"]))


@given(
    answers=st.lists(st.sampled_from(["1", "2", None]), min_size=1, max_size=9),
    lead=st.integers(1, 3),
    wave=st.integers(1, 4),
)
def test_a_rule_is_asked_where_waves_end(answers: list[str | None], lead: int, wave: int) -> None:
    texts = [text(a) for a in answers]
    n = heard(texts, Rule(parse_stop(f"lead:{lead}"), wave=wave))
    assert n == len(texts) or n % wave == 0

    def ahead(k: int) -> int:
        return abs(answers[:k].count("1") - answers[:k].count("2"))

    assert all(ahead(k) < lead for k in range(wave, n, wave))
    assert n == len(texts) or ahead(n) >= lead


def test_the_first_ballot_can_be_another_specs_text(run: dict[str, list[dict[str, Any]]]) -> None:
    o, greedy = run["vote 5"][0], run["greedy"][0]
    rule = Rule(first="greedy")
    texts = ballots_of(o, rule, {"greedy": greedy})
    assert len(texts) == 6
    assert texts[0].answer == greedy["answer"]
    found = replayed(o, rule, "x", {"greedy": greedy})
    assert cost(found) == cost(o) + cost(greedy) - greedy["ledger"]["prompt"] - greedy["ledger"]["shared"]
    assert not found["independent"]
    with pytest.raises(TaskError, match="no answer of 'other'"):
        ballots_of(o, Rule(first="other"), {"greedy": greedy})


def test_weights_and_selectors_choose_as_they_are_told() -> None:
    texts = [text("1", -2.0), text("1", -2.0), text("2", -0.1, 9), text("3", -3.0, 2), text("4", 0.0, 1, "length")]
    assert count(texts, Rule()).answer == "1"
    assert count(texts, Rule()).share == 2 / 5
    assert count(texts, Rule(weight="text")).answer == "2"
    weights = [math.exp(m) for m in (-2, -2, -0.1, -3, 0)]
    assert count(texts, Rule(weight="span")).share == pytest.approx(weights[2] / sum(weights))
    assert count(texts, Rule(select="likeliest")).answer == "2"
    assert count(texts, Rule(select="shortest")).answer == "3"  # one that was cut off abstains
    assert count(texts, Rule(select="shortest")).share == 1 / 5
    assert count([text(None), text(None)], Rule()).answer is None


def test_ballots_as_they_ended_are_the_shortest_first(run: dict[str, list[dict[str, Any]]]) -> None:
    lengths = [t.length for t in ballots_of(run["vote 5"][0], Rule(order="ended"))]
    assert lengths == sorted(lengths)


def test_outcomes_keep_in_which_order_their_ballots_finished(run: dict[str, list[dict[str, Any]]]) -> None:
    """All begin together and each forward is one token, so the shorter one is the earlier one."""
    orders = set()
    for o in run["vote 5"]:
        lengths = [t.length for t in texts_of(o)]
        assert o["ballot_before"] == [sum(other < length for other in lengths) for length in lengths]
        orders.add(tuple(o["ballot_before"]))
        ended, finished = (ballots_of(o, Rule(order=order)) for order in ("ended", "finished"))
        assert [t.length for t in finished] == [t.length for t in ended]
    assert len(orders) > 2
    assert run["greedy"][0]["ballot_before"] == []


def test_a_run_keeps_what_the_model_says_of_the_answers_where_that_is_asked_for(tmp_path: Path) -> None:
    asked = Model(ScriptedEngine(digits, context=1024, cells=8192, sequences=8))
    work = units([load_task("arithmetic", limit=3)], SPECS[:2], [1])
    with Store(tmp_path, {"model": "scripted", "tasks": {"arithmetic": {}}, "specs": {}}) as store:
        evaluate(asked, work, store, max_tokens=8, uncertainty=["self-assessment"])
        kept = list(store.outcomes.values())
    votes = [o for o in kept if o["spec"] == "vote 5"]
    assert [o["answer"] is not None for o in votes] == ["assessed" in o for o in votes]
    asked_about = [o for o in votes if "assessed" in o]
    assert asked_about
    for o in asked_about:
        assert o["answer"] in o["assessed"]
        assert set(o["assessed"]) <= set(o["ballots"])
        assert o["uncertainties"]["self-assessment"] == pytest.approx(1 - o["assessed"][o["answer"]])
        whole, chosen = replayed(o, Rule(), "x"), replayed(o, Rule(select="assessed"), "x")
        assert cost(whole) == cost(o) - o["ledger"]["asked"]
        assert cost(chosen) == cost(o)
    assert [("assessed" in o, o["ledger"]["asked"]) for o in kept if o["spec"] == "greedy"] == [(False, 0)] * 3


def test_an_estimator_that_there_is_not_is_refused_before_a_model_is_loaded(capsys: Any) -> None:
    assert main(["eval", "arithmetic", "--model", "/no/such.gguf", "--uncertainty", "selfassessment"]) == 2
    assert "self-assessment" in capsys.readouterr().err


def finishing(answers: str, before: list[int]) -> dict[str, Any]:
    return {**outcome("1", answers), "ballot_before": before}


def test_a_rule_sees_ballots_as_they_finished_and_those_that_ended_at_once_together() -> None:
    stop = parse_stop("lead:2")
    late = finishing("AAABBB", [3, 4, 5, 0, 1, 2])
    assert replayed(late, Rule(stop), "x")["ballots"] == ["A", "A"]
    assert replayed(late, Rule(stop, order="finished"), "x")["ballots"] == ["B", "B"]
    at_once = finishing("AAABBB", [0, 0, 0, 3, 3, 3])
    found = replayed(at_once, Rule(stop, order="finished"), "x")
    assert (found["ballots"], found["ballot_before"]) == (["A", "A", "A"], [0, 0, 0])
    assert Rule(order="finished").family == "vote, as finished"


def test_shuffled_ballots_keep_when_they_finished() -> None:
    votes = [finishing("AABBBCCD", [7, 6, 5, 4, 3, 2, 1, 0])]
    found = replay(votes, [Rule(parse_stop("lead:2"), order="finished")], shuffles=4)
    stopped = [o["ballots"] for o in found.outcomes if o["spec"] == "lead:2, as finished 8"]
    assert stopped == [list("DCCBBBAA")] * 4


def test_the_first_ballot_of_another_spec_stands_before_those_that_finished() -> None:
    greedy = {**outcome("1", "C"), "spec": "greedy", "ballot_before": [0]}
    rule = Rule(order="finished", first="greedy")
    texts = ballots_of(finishing("ABB", [2, 0, 1]), rule, {"greedy": greedy})
    assert [t.answer for t in texts] == ["C", "B", "B", "A"]
    assert texts[0].before is None


def test_a_run_that_has_not_kept_the_finishing_order_says_so() -> None:
    with pytest.raises(TaskError, match=r"not kept in which order .* item '1' finished; order ended"):
        replayed(outcome("1", "AAB"), Rule(order="finished"), "x")


def outcome(item: str, answers: str) -> dict[str, Any]:
    n = len(answers)
    return {
        **{"task": "t", "item": item, "seed": 1, "spec": "vote", "answer": answers[0], "right": True, "tokens": 3},
        **{"ballots": list(answers), "ballot_right": [a == "A" for a in answers], "ballot_tokens": [3] * n},
        **{"ballot_ends": ["end"] * n, "independent": True, "forwarded": 10 + 3 * n, "unshared": 13 * n},
        **{"ledger": {"shared": 0, "prompt": 10}, "finish_reason": "end", "signals": {"confidence": 1.0}},
    }


def test_moved_ballots_go_where_the_answer_is_open_and_keep_the_mean() -> None:
    votes = [outcome("1", "AAAAAAAA"), outcome("2", "ABABABAB"), outcome("3", "AAABBBBB")]
    found = moved(votes, 4, Rule(), "moved 4")
    assert [len(o["ballots"]) for o in found] == [2, 8, 2]
    assert [cost(o) for o in found] == [16, 34, 16]
    for mean in (0.5, 9, math.nan):
        with pytest.raises(ParameterError, match="allowed is 1 to 8"):
            moved(votes, mean, Rule(), "x")


def test_shuffled_ballots_are_the_same_ballots_and_seeds_of_their_own() -> None:
    votes = [outcome("1", "AABBBCCD"), outcome("2", "ABABABAB")]
    found = replay(votes, [Rule(parse_stop("lead:2"))], [4], shuffles=5)
    whole = [o for o in found.outcomes if o["spec"] == "vote"]
    assert len({o["seed"] for o in whole}) == 5
    assert {"".join(sorted(o["ballots"])) for o in whole} == {"AABBBCCD", "AAAABBBB"}
    assert len({"".join(o["ballots"]) for o in whole}) > 2
    first = [o["ballots"] for o in whole if o["seed"] == 10_000]
    assert first == [o["ballots"] for o in votes]
    assert [o["seed"] for o in found.outcomes if o["spec"] == "lead:2 8"] == [o["seed"] for o in whole]
    again = replay(votes, [Rule(parse_stop("lead:2"))], [4], shuffles=5)
    assert json.dumps(again.outcomes) == json.dumps(found.outcomes)


def test_a_vote_of_eight_has_a_curve_of_every_rule_and_of_moved_ballots_in_evals_report() -> None:
    votes = [outcome("1", "AAAAAAAA"), outcome("2", "ABABABAB"), outcome("3", "BBBAAAAA")]
    points = {point.name: point for point in rule_points({"vote 8": votes})}
    assert {point.family for point in points.values()} == {*STOPS, "moved"}
    assert all(point.derived for point in points.values())
    tokens = {name: point.tokens for name, point in points.items()}
    # 10 of each prompt and 3 of each ballot: lead:2 stops at AA and BB and hears all of ABABABAB
    assert tokens["lead:2, at most 8"] == pytest.approx((16 + 34 + 16) / 3)
    assert points["lead:2, at most 8"].accuracy.value == pytest.approx(2 / 3)
    assert tokens["moved, 4 per item"] == pytest.approx((16 + 34 + 16) / 3)
    assert tokens["lead:2, at most 4"] == pytest.approx((16 + 22 + 16) / 3)
    assert rule_points({"vote 7": [outcome("1", "AAAAAAA")]}) == []


def test_a_rule_that_is_named_twice_stands_once() -> None:
    votes = [outcome("1", "AABBBCCD"), outcome("2", "ABABABAB")]
    lead = parse_stop("lead:2")
    found = replay(votes, [Rule(lead), Rule(lead), Rule(lead, most=8), Rule(lead, most=99), Rule(lead, most=4)], [3, 3])
    assert [o["spec"] for o in found.outcomes] == ["vote"] * 2 + ["lead:2 8"] * 2 + ["lead:2 4"] * 2 + ["moved 3"] * 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weight": "span"}, "weight span"),
        ({"weight": "text", "select": "span"}, "weight text"),
        ({"select": "likeliest"}, "select likeliest"),
    ],
)
def test_ballots_without_likelihoods_are_not_weighed_by_them(values: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=rf"stored without their likelihoods, which {said} needs; draw them again"):
        replay([outcome("1", "AAB")], [Rule(), Rule(**values)])
    assert replay([outcome("1", "AAB")], [Rule(select="shortest")]).outcomes


def test_evidence_is_of_the_winning_answers_texts() -> None:
    votes = replace(Rule())
    made = replayed(outcome("1", "AAB"), votes, "x")
    made["texts"] = [
        {"length": n, "whole": Likelihood(-n, -1, -1, n), "span": Likelihood(-m, -m, -m, 1)}
        for n, m in ((4, 0.1), (6, 0.3), (20, 9))
    ]
    found = evidence_of(made, votes)
    assert (found.first, found.second, found.cast, found.length) == (2, 1, 3, 5)
    assert found.span == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weight": "confidence"}, "known are count, text, span"),
        ({"select": "best"}, "known are vote, likeliest"),
        ({"order": "random"}, "known are cast, ended, finished"),
        ({"most": -1}, "at least 0"),
        ({"wave": 0}, "at least 1"),
    ],
)
def test_a_rule_says_what_is_allowed(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Rule(**values)


def test_the_command_writes_ballots_as_lm_polygraph_takes_them(directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "stats.json"
    assert main(["replay", str(directory), "--first", "greedy", "--polygraph", str(out)]) == 0
    made = json.loads(out.read_text())
    assert (made["judged"], len(made["quality"])) == ("greedy", len(made["stats"]["greedy_texts"]))
    assert {len(texts) for texts in made["stats"]["sample_texts"]} == {6}  # the greedy text and five ballots
    assert {"LabelProb", "CocoaMSP", "MaximumSequenceProbability"} <= set(made["uncertainties"])


def test_the_command_reports_every_rule_beside_the_whole_vote(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (directory / "outcomes.jsonl").read_bytes()
    assert main(["replay", str(directory), "--first", "greedy", "--most", "2", "4", "--move", "3"]) == 0
    out = capsys.readouterr().out
    for name in ("vote 5", "greedy", "overtake, greedy first 2", "lead:3, greedy first 4", "moved, greedy first 3"):
        assert name in out
    assert (directory / "outcomes.jsonl").read_bytes() == before
    page = (directory / "replay.md").read_text()
    assert "| lead:2, greedy first | lead:2, greedy first 4 | measured |" in page
    assert not (directory / "report.md").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stop", "lead"], "lead takes an integer"),
        (["--spec", "tree"], "the votes of 'tree' cannot be replayed: it takes independent samples"),
        (["--spec", "none"], "the run's specs are greedy, vote 5"),
        (["--first", "none"], "no answer of 'none'"),
        (["--move", "9"], "allowed is 1 to 5"),
        (["--risk", "lots"], "as 10% or 0.1"),
        (["--weight", "much"], "known are count, text, span"),
        (["--features", "mood"], "known are agreement, margin, span, length"),
        (["--baseline", "none"], "not one of the specs"),
        (["--calibrate"], "6 items are too few"),
    ],
)
def test_a_mistake_gets_one_message(
    directory: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(directory), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_such_a_vote_says_what_it_takes(
    run: dict[str, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(o) + "\n" for o in run["tree"]))
    assert main(["replay", str(tmp_path)]) == 2
    assert "no vote that can be replayed" in capsys.readouterr().err
