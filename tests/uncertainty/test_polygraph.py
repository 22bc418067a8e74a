"""Estimators equal lm-polygraph's: to values that it gave (polygraph.json, which `python -m benchmarks.polygraph equal`
with --out has made with lm-polygraph 0.7.0), and to lm-polygraph itself where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import polygraph

from entropix.errors import TaskError
from entropix.evaluate import statistics as st
from entropix.evaluate.polygraph import exported, peers
from entropix.uncertainty import ESTIMATORS

KEPT = json.loads(Path(__file__).with_name("polygraph.json").read_text())
PEERS = {kind.peer for kind in ESTIMATORS.usable()[0].values() if kind.peer}


def test_the_kept_values_are_of_every_estimator_that_has_a_peer() -> None:
    assert KEPT["version"] == "0.7.0"
    assert set(KEPT["values"]) == PEERS


@pytest.mark.parametrize("name", sorted(PEERS))
def test_the_same_logits_and_texts_give_lm_polygraphs_value(name: str) -> None:
    ours = [peers(polygraph.observed_of(answer))[name] for answer in KEPT["answers"]]
    assert ours == pytest.approx(KEPT["values"][name], abs=1e-5)
    assert np.ptp(ours) > 0  # not one number for all


def test_prr_is_lm_polygraphs_but_for_its_random_order() -> None:
    scored = KEPT["scored"]
    ours = st.prr(-np.asarray(scored["uncertainty"]), scored["quality"])
    assert ours == pytest.approx(scored["prr"], abs=5e-3)


def test_lm_polygraph_itself_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lm_polygraph")
    assert polygraph.equal(None) < 1e-5


def outcome(item: str, spec: str, answers: list[str | None], right: bool) -> dict[str, Any]:
    texts = [
        {"length": n + 2, "whole": [-1.5 * (n + 1), -0.75, -1.0, 2 * (n + 1)], "span": None, "entropy": 0.25 * n}
        for n in range(len(answers))
    ]
    return {
        **{"task": "t", "item": item, "seed": 1, "spec": spec, "answer": answers[0], "right": right, "gold": "7"},
        **{"ballots": answers, "ballot_right": [right] * len(answers), "ballot_tokens": [1] * len(answers)},
        **{"ballot_ends": ["end"] * len(answers), "texts": texts, "signals": {}, "independent": len(answers) > 1},
        **{"forwarded": 9, "ledger": {"prompt": 3, "shared": 0}},
    }


RUN = [
    outcome("a", "greedy", ["7"], True),
    outcome("b", "greedy", [None], False),
    outcome("a", "vote 3", ["7", "8", "7"], True),
    outcome("b", "vote 3", ["9", "8", None], False),
]


def test_stored_ballots_are_written_as_the_statistics_that_lm_polygraph_starts_from() -> None:
    made = json.loads(json.dumps(exported(RUN, "vote 3", "greedy", "m")))
    stats = made["stats"]
    assert made["quality"] == [1.0, 0.0]
    assert stats["greedy_texts"] == ["7", ""]
    assert [sum(line) for line in stats["greedy_log_likelihoods"]] == pytest.approx([-1.5, -1.5])
    assert stats["sample_texts"] == [["7", "7", "8", "7"], ["", "9", "8", ""]]
    assert stats["greedy_sentence_similarity"] == [[1, 0, 1], [0, 0, 0]]
    assert stats["semantic_classes_entail"]["sample_to_class"] == [[0, 0, 1, 0], [0, 1, 2, 3]]
    assert stats["semantic_classes_entail"]["class_to_sample"][0] == [[0, 1, 3], [2]]
    assert made["uncertainties"]["LabelProb"] == [0.25, 0.75]
    assert made["uncertainties"]["CocoaMSP"] == pytest.approx([0.5, 1.5])
    assert exported(RUN, "vote 3", "", "m")["stats"]["sample_texts"][0] == ["7", "8", "7"]


def test_ballots_without_likelihoods_or_without_the_text_that_is_judged_are_refused() -> None:
    with pytest.raises(TaskError, match="no answer of 'greedy' to item 'b'"):
        exported(RUN[:1] + RUN[2:], "vote 3", "greedy", "m")
    bare = [{k: v for k, v in o.items() if k != "texts"} for o in RUN]
    with pytest.raises(TaskError, match="without their likelihoods"):
        exported(bare, "vote 3", "", "m")
