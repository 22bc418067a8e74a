"""Estimators that compare the answers of several texts, and the one that asks the model about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from entropix.search.tally import voting
from entropix.uncertainty.base import Estimator, Needs
from entropix.uncertainty.readings import Observed


def disagreement(seen: Observed) -> float | None:
    """The share of the other texts whose answer is not that of the given one; None without other texts. No answer
    agrees with nothing, another without an answer included."""
    if not seen.others:
        return None
    mine = seen.text.answer
    return sum(mine is None or other.answer != mine for other in seen.others) / len(seen.others)


def classes(answers: Sequence[str | None]) -> list[int]:
    """The class of each answer, 0 for the first: texts of one answer are one class, each without one its own."""
    found: dict[object, int] = {}
    return [found.setdefault(n if a is None else a, len(found)) for n, a in enumerate(answers)]


class LabelShare(Estimator):
    """1 − the winner's share of all texts, as `Result.share` has it; whether the text given says the same or not."""

    name: ClassVar[str] = "label-share"
    summary: ClassVar[str] = "1 − the share of the texts that give the most frequent answer"
    needs: ClassVar[Needs] = Needs.TEXTS
    unit: ClassVar[str] = "share"
    peer: ClassVar[str] = "LabelProb"

    def estimate(self, seen: Observed) -> float | None:
        if not seen.others or all(t.answer is None for t in seen.texts):
            return None
        votes = voting([t.ended for t in seen.texts])
        if sum(votes) == 1:  # the others were cut off, and a share of one means nothing
            return None
        cast = Counter(t.answer for t, votes_too in zip(seen.texts, votes, strict=True) if votes_too)
        del cast[None]
        return 1 - max(cast.values(), default=0) / len(seen.texts)


class _Cocoa(Estimator):
    """Vashurin et al., arXiv 2502.04964: an uncertainty of the text times how much others disagree with it. Similarity
    is equality of the extracted answers."""

    needs: ClassVar[Needs] = Needs.TEXTS
    unit: ClassVar[str] = "nats"

    def estimate(self, seen: Observed) -> float | None:
        apart, own = disagreement(seen), self.own(seen)
        return None if apart is None or own is None else own * apart

    def own(self, seen: Observed) -> float | None:
        raise NotImplementedError


class CocoaMsp(_Cocoa):
    name: ClassVar[str] = "cocoa-msp"
    summary: ClassVar[str] = "−Σ ln p of the text × the share of others that answer something else"
    peer: ClassVar[str] = "CocoaMSP"

    def own(self, seen: Observed) -> float | None:
        return None if seen.text.whole is None else -seen.text.whole.sum


class CocoaPpl(_Cocoa):
    name: ClassVar[str] = "cocoa-ppl"
    summary: ClassVar[str] = "mean −ln p of the text × the share of others that answer something else"
    peer: ClassVar[str] = "CocoaPPL"

    def own(self, seen: Observed) -> float | None:
        return None if seen.text.whole is None else -seen.text.whole.mean


class CocoaMte(_Cocoa):
    name: ClassVar[str] = "cocoa-mte"
    summary: ClassVar[str] = "mean token entropy of the text × the share of others that answer something else"
    peer: ClassVar[str] = "CocoaMTE"

    def own(self, seen: Observed) -> float | None:
        return seen.text.entropy


class SemanticEntropy(Estimator):
    """Kuhn et al., arXiv 2302.09664, over classes of equal answers, by frequency (discrete semantic entropy)."""

    name: ClassVar[str] = "semantic-entropy"
    summary: ClassVar[str] = "entropy of the answers over the texts, by how many texts give each"
    needs: ClassVar[Needs] = Needs.TEXTS
    unit: ClassVar[str] = "nats"
    peer: ClassVar[str] = "SemanticEntropyEmpirical"

    def estimate(self, seen: Observed) -> float | None:
        texts = seen.texts
        if len(texts) < 2 or all(t.answer is None for t in texts):
            return None
        sizes = Counter(classes([t.answer for t in texts])).values()
        return -math.fsum(n * math.log(n / len(texts)) for n in sizes) / len(texts)


class SemanticEntropySummed(Estimator):
    """The same with the probability of a class as the sum of its texts' probabilities, as lm-polygraph has it."""

    name: ClassVar[str] = "semantic-entropy-p"
    summary: ClassVar[str] = "−mean ln of the summed p of the texts that give the same answer"
    needs: ClassVar[Needs] = Needs.TEXTS
    unit: ClassVar[str] = "nats"
    peer: ClassVar[str] = "SemanticEntropy"

    def estimate(self, seen: Observed) -> float | None:
        texts = seen.texts
        likelihoods = [t.whole.sum for t in texts if t.whole is not None]
        if len(texts) < 2 or len(likelihoods) < len(texts) or all(t.answer is None for t in texts):
            return None
        place = classes([t.answer for t in texts])
        summed = np.full(max(place) + 1, -np.inf)
        np.logaddexp.at(summed, place, likelihoods)
        return -float(summed[place].mean())


class SelfAssessment(Estimator):
    """Clustered self-assessment: the distinct answers as lettered options, p of the leading one's letter."""

    name: ClassVar[str] = "self-assessment"
    summary: ClassVar[str] = "1 − p that the model gives the answer's letter when it is shown all answers"
    needs: ClassVar[Needs] = Needs.FORWARD
    unit: ClassVar[str] = "share"

    def estimate(self, seen: Observed) -> float | None:
        return None if seen.assessed is None else 1 - seen.assessed
