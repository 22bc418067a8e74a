"""Entropix beside lm-polygraph 0.7: the same values of the same answers, and its scores of our ballots.

    python -m venv polygraph && polygraph/bin/pip install lm-polygraph==0.7.0 torch rich array-api-compat statsmodels
    PYTHONPATH=src polygraph/bin/python -m benchmarks.polygraph equal
    entropix replay RUN --first greedy --polygraph stats.json
    PYTHONPATH=src polygraph/bin/python -m benchmarks.polygraph score stats.json

`equal` runs the estimators of both on the same logits and texts and says how far apart they are; with --out it keeps
inputs and lm-polygraph's values, which are what tests/uncertainty/test_polygraph.py compares with where lm-polygraph is
not installed. `score` lets lm-polygraph estimate and score ballots that `replay` has written: ours beside it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from entropix.evaluate import statistics as st
from entropix.evaluate.polygraph import peers, stats_of_answers
from entropix.signals import measure
from entropix.types import Action, Candidate, Regime, Step
from entropix.uncertainty import Observed, StepsReading
from entropix.uncertainty.claims import OTHER, SAME, claim_of, relation

Stats = dict[str, Any]

LABELS = (" Paris", "paris", " Rome", " the", "!", "7", " 7", "8", "A", "B", " of", " town")
"""The vocabulary of `drawn`: tokens that say the same, something else and nothing."""

NLI = {SAME: "entail", OTHER: "contra"}


def drawn(answers: int = 8, seed: int = 7) -> list[dict[str, Any]]:
    """Answers of a model that says anything: of each the greedy text's logits `(tokens, vocabulary)`, what it answers,
    and the answers and tokens' log-probabilities of six further texts."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(answers):
        logits = np.round(rng.normal(0, 2.5, (int(rng.integers(1, 9)), len(LABELS))), 3)
        others = []
        for _ in range(6):
            logprobs = np.round(-rng.exponential(1, int(rng.integers(1, 6))), 4).tolist()
            others.append({"answer": str(rng.integers(0, 3)), "logprobs": logprobs})
        made.append({"logits": logits.tolist(), "answer": str(rng.integers(0, 3)), "others": others})
    return made


def observed_of(answer: Mapping[str, Any]) -> Observed:
    """An answer of `drawn` as the estimators read it."""
    logits = np.asarray(answer["logits"])
    signals = measure(logits)
    logprobs = logits - np.asarray(signals.normaliser)[:, None]
    steps = []
    for n, line in enumerate(logprobs):
        order = np.argsort(-line).tolist()
        leading = tuple(Candidate(t, LABELS[t], float(np.exp(line[t])), 0.0) for t in order)
        steps.append(
            Step(n, n, order[0], LABELS[order[0]], LABELS[order[0]], Regime.FLOW, Action.SAMPLE,
                 entropy=float(signals.entropy[n]), logprob=float(line[order[0]]), leading=leading)
        )  # fmt: skip
    others = [
        StepsReading(
            [Step(n, n, 0, "", "", Regime.FLOW, Action.SAMPLE, logprob=p) for n, p in enumerate(other["logprobs"])],
            other["answer"],
        )
        for other in answer["others"]
    ]
    return Observed(StepsReading(steps, answer["answer"]), tuple(others))


def stats_of(answers: list[dict[str, Any]]) -> Stats:
    """The statistics from which lm-polygraph's estimators start, made of logits as its own calculators make them."""
    tables = [np.asarray(a["logits"]) for a in answers]
    log_probs = [z - np.logaddexp.reduce(z, axis=1)[:, None] for z in tables]
    greedy = [lp.argmax(axis=1) for lp in log_probs]
    texts = [[a["answer"], *(other["answer"] for other in a["others"])] for a in answers]
    likelihoods = [
        [float(lp.max(axis=1).sum()), *(sum(other["logprobs"]) for other in a["others"])]
        for a, lp in zip(answers, log_probs, strict=True)
    ]
    alternatives = [[[(LABELS[t], float(line[t])) for t in np.argsort(-line)] for line in lp] for lp in log_probs]
    return {
        "greedy_log_probs": log_probs,
        "greedy_log_likelihoods": [lp.max(axis=1).tolist() for lp in log_probs],
        "greedy_tokens": [g.tolist() for g in greedy],
        "greedy_tokens_alternatives": alternatives,
        "greedy_tokens_alternatives_nli": [[_nli(words) for words in text] for text in alternatives],
        **loaded(stats_of_answers(texts, likelihoods)),
    }


def loaded(written: Stats) -> Stats:
    """Statistics as lm-polygraph's calculators hand them over, of their JSON form."""
    classed = written["semantic_classes_entail"]
    return {
        **written,
        "greedy_sentence_similarity": [np.asarray(line) for line in written["greedy_sentence_similarity"]],
        "semantic_classes_entail": {
            "sample_to_class": {n: dict(enumerate(line)) for n, line in enumerate(classed["sample_to_class"])},
            "class_to_sample": dict(enumerate(classed["class_to_sample"])),
        },
    }


def _nli(words: list[tuple[str, float]]) -> list[list[str]]:
    """What an NLI model would say of the chosen word, the first, and each other."""
    said = [NLI.get(relation(claim_of(words[0][0]), claim_of(w)), "neutral") for w, _ in words]
    return [said if n == 0 else [said[n]] for n in range(len(words))]


def theirs(stats: Stats) -> dict[str, list[float]]:
    """lm-polygraph's values by its own names; of those that these statistics are enough for."""
    from lm_polygraph import estimators as known
    from lm_polygraph.stat_calculators.entropy import EntropyCalculator

    if "greedy_log_probs" in stats:
        stats = {**stats, **EntropyCalculator()(stats, [], None)}
    made = [
        known.MaximumSequenceProbability(), known.Perplexity(), known.MeanTokenEntropy(), known.LabelProb(),
        known.CocoaMSP(), known.CocoaPPL(), known.CocoaMTE(), known.SemanticEntropy(),
        known.SemanticEntropy(class_probability_estimation="frequency"), known.ClaimConditionedProbability(),
    ]  # fmt: skip
    return {
        str(one): np.asarray(one(stats), float).tolist()
        for one in made
        if all(s in stats for s in one.stats_dependencies)
    }


def their_prr(uncertainty: list[float], quality: list[float]) -> float:
    """lm-polygraph's normalised prediction–rejection ratio, as its manager computes it."""
    from lm_polygraph.ue_metrics.pred_rej_area import PredictionRejectionArea
    from lm_polygraph.ue_metrics.ue_metric import get_random_scores, normalize_metric

    area = PredictionRejectionArea()
    best, chance = area([-q for q in quality], quality), get_random_scores(area, np.asarray(quality))
    return float(normalize_metric(area(uncertainty, quality), best, chance))


def their_auroc(uncertainty: list[float], quality: list[float]) -> float:
    """lm-polygraph's area under the ROC curve, of finding the wrong ones."""
    from lm_polygraph.ue_metrics.roc_auc import ROCAUC

    return float(ROCAUC()(np.asarray(uncertainty), [1 - q for q in quality]))


def equal(out: Path | None) -> float:
    """Both on the same logits and texts. Returns the largest difference."""
    answers = drawn()
    reference = theirs(stats_of(answers))
    values = [peers(observed_of(a)) for a in answers]
    worst = 0.0
    for name, their in reference.items():
        apart = max(abs(v[name] - t) for v, t in zip(values, their, strict=True))
        worst = max(worst, apart)
        print(f"{name:28} largest difference {apart:.1e} over {len(their)} answers")
    rng = np.random.default_rng(11)
    quality = (rng.random(400) < 0.6).astype(float)
    unsure = rng.standard_normal(400) - quality
    prr, found = st.prr(-unsure, quality), their_prr(unsure.tolist(), quality.tolist())
    print(f"{'PRR':28} {prr:.5f} here, {found:.5f} there, whose random order is drawn 1000 times")
    if out is not None:
        kept: dict[str, Any] = {"version": _version(), "command": "python -m benchmarks.polygraph equal --out FILE"}
        scored: dict[str, Any] = {"uncertainty": np.round(unsure, 4).tolist(), "quality": quality.tolist()}
        scored["prr"] = their_prr(scored["uncertainty"], scored["quality"])
        kept |= {"answers": answers, "values": reference, "scored": scored}
        out.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    return worst


def score(file: Path) -> None:
    """lm-polygraph on ballots that `entropix replay --polygraph` has written."""
    written = json.loads(file.read_text(encoding="utf-8"))
    quality = written["quality"]
    stats = loaded(written["stats"])
    print(f"lm-polygraph {_version()} on {len(quality)} answers of {written['model']}, {sum(quality):.0f} right")
    print(f"{'estimator':28} {'PRR there':>9} {'here':>7} {'AUROC there':>11} {'here':>7} {'values apart':>12}")
    for name, values in theirs(stats).items():
        mine = written["uncertainties"].get(name)
        apart = max(abs(a - b) for a, b in zip(values, mine, strict=True)) if mine else float("nan")
        prr, auroc = st.prr([-v for v in values], quality), st.auroc([-v for v in values], [q > 0 for q in quality])
        there = f"{their_prr(values, quality):9.4f} {prr:7.4f} {their_auroc(values, quality):11.4f} {auroc:7.4f}"
        print(f"{name:28} {there} {apart:12.1e}")


def _version() -> str:
    from importlib.metadata import version

    return version("lm-polygraph")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("equal")
    one.add_argument("--out", type=Path, help="keep inputs and lm-polygraph's values here")
    two = commands.add_parser("score")
    two.add_argument("file", type=Path)
    args = parser.parse_args()
    if hasattr(args, "file"):
        score(args.file)
    elif equal(args.out) > 1e-5:
        raise SystemExit("more than 1e-5 apart")


if __name__ == "__main__":
    main()
