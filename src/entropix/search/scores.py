"""How good a continuation looks, without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from entropix.search.record import Ballot

SCORES = ("logprob", "confidence", "entropy")
TRACES = ("lowest", "bottom", "tail", "mean")


def score(branch: Ballot, start: int, kind: str) -> float:
    """Mean over the tokens from answer position `start` on; higher is better. Injected tokens do not count.
    A text that its constraint lets not go on is worse than any other."""
    if branch.finish_reason == "constraint":
        return -math.inf
    steps = branch.steps[start:]
    if kind == "confidence":
        values = [c for c in branch.confidence[start:] if not math.isnan(c)]
    elif kind == "entropy":
        values = [-s.entropy for s in steps if s.entropy is not None]
    else:
        values = [s.logprob for s in steps if s.logprob is not None]
    return sum(values) / len(values) if values else -math.inf


def trace_confidence(values: Sequence[float], kind: str) -> float:
    """Confidence of a trace from its token confidences (DeepConf, arXiv 2508.15260): the lowest window, the mean of
    the lowest 10 % of windows, the last window, or the mean. A window is an eighth of the trace, 8 to 2048 tokens.
    Tokens without a confidence, because a constraint left few to choose from, do not count."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return 0.0
    if kind == "mean":
        return sum(values) / len(values)
    size = min(max(len(values) // 8, 8), 2048, len(values))
    windows = [sum(values[:size])]
    for n in range(size, len(values)):
        windows.append(windows[-1] + values[n] - values[n - size])
    if kind == "tail":
        return windows[-1] / size
    lowest = sorted(windows)[: max(len(windows) // 10, 1) if kind == "bottom" else 1]
    return sum(lowest) / len(lowest) / size


def path_probability(branch: Ballot) -> float:
    """Probability of the path to this leaf in the tree of branches: the product of the probabilities of its tokens
    wherever it or a branch it came from was forked, up to where its path left that branch."""
    places: set[int] = set()
    at: Ballot | None = branch
    end = len(branch.steps) - 1
    while at is not None:
        places.update(other.origin for other in branch.siblings if other.parent is at and other.origin <= end)
        if at.parent is not None:
            end = min(end, at.origin)
        at = at.parent
    return math.exp(sum(branch.steps[place].logprob or 0.0 for place in places))
