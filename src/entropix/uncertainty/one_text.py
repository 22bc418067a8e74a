"""Estimators that are read off one text."""

from __future__ import annotations

from typing import ClassVar

from entropix.answers.spans import Likelihood
from entropix.uncertainty.base import Estimator, Needs
from entropix.uncertainty.readings import Observed


class TextLength(Estimator):
    """The baseline that any estimator has to beat: a longer text is more often wrong."""

    name: ClassVar[str] = "length"
    summary: ClassVar[str] = "how many tokens the text has: what every other number has to beat"
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "tokens"

    def estimate(self, seen: Observed) -> float | None:
        return float(seen.text.length)


class SequenceProbability(Estimator):
    """Maximum sequence probability, G-NLL of a greedy text (arXiv 2412.15176)."""

    name: ClassVar[str] = "msp"
    summary: ClassVar[str] = "−Σ ln p of the text's tokens, not divided by their number"
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "nats"
    peer: ClassVar[str] = "MaximumSequenceProbability"

    def estimate(self, seen: Observed) -> float | None:
        return None if seen.text.whole is None else -seen.text.whole.sum


class Perplexity(Estimator):
    """Under lm-polygraph's name, which takes no exponential."""

    name: ClassVar[str] = "perplexity"
    summary: ClassVar[str] = "mean −ln p of the text's tokens"
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "nats"
    peer: ClassVar[str] = "Perplexity"

    def estimate(self, seen: Observed) -> float | None:
        return None if seen.text.whole is None else -seen.text.whole.mean


class MeanTokenEntropy(Estimator):
    name: ClassVar[str] = "mean-token-entropy"
    summary: ClassVar[str] = "mean entropy of the next token over the text"
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "nats"
    peer: ClassVar[str] = "MeanTokenEntropy"

    def estimate(self, seen: Observed) -> float | None:
        return seen.text.entropy


class _Span(Estimator):
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "nats"

    def estimate(self, seen: Observed) -> float | None:
        span = seen.text.span
        return None if span is None else self.of(span)

    def of(self, span: Likelihood) -> float:
        raise NotImplementedError


class AnswerSpan(_Span):
    name: ClassVar[str] = "answer-span"
    summary: ClassVar[str] = "−Σ ln p of the tokens that give the answer"

    def of(self, span: Likelihood) -> float:
        return -span.sum


class AnswerSpanMean(_Span):
    name: ClassVar[str] = "answer-span-mean"
    summary: ClassVar[str] = "mean −ln p of the tokens that give the answer"

    def of(self, span: Likelihood) -> float:
        return -span.mean


class AnswerSpanLeast(_Span):
    name: ClassVar[str] = "answer-span-least"
    summary: ClassVar[str] = "−ln p of the least likely token of those that give the answer"

    def of(self, span: Likelihood) -> float:
        return -span.least


class BottomWindow(Estimator):
    """DeepConf (arXiv 2508.15260), with its sign turned: lowest confidence, highest uncertainty."""

    name: ClassVar[str] = "bottom-window"
    summary: ClassVar[str] = "− the mean of the lowest tenth of sliding-window means of the top-20 confidence"
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "nats"

    def estimate(self, seen: Observed) -> float | None:
        return None if seen.text.bottom is None else -seen.text.bottom


class ClaimConditioned(Estimator):
    """−ln of lm-polygraph's CCP, which keeps its digits where that product underflows."""

    name: ClassVar[str] = "ccp"
    summary: ClassVar[str] = "−Σ ln (p of what a token says / p of all that is said in its place), by class of claim"
    needs: ClassVar[Needs] = Needs.TEXT
    unit: ClassVar[str] = "nats"
    peer: ClassVar[str] = "CCP"

    def estimate(self, seen: Observed) -> float | None:
        return seen.text.claimed
