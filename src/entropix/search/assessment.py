"""Clustered self-assessment: what the model itself says of its distinct answers, in one forward each. docs/effort.md.

The answers stand as lettered options, the leading one first and "none of these" last, and what is read is the
probability of each bare letter, over the whole vocabulary, after the stem "Answer: (". Small models prefer letters by
their place, so it is averaged over all rotations of the options. No token is decoded. After "Clustered Self-Assessment"
(Findings of ACL 2026): its clusters are here those of the extractor, which needs no second model."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from entropix.engines.scoring import finished, scoring
from entropix.errors import ParameterError

if TYPE_CHECKING:
    from entropix.engines import Engine, Message, Tokenizer

Encode: TypeAlias = "Callable[[str | Sequence[Message]], list[int]]"
NONE = "none of these"
STEM = "Answer: ("
MOST = 8
"""Answers that are shown at most, those with most votes; the others count as none of these."""


@dataclass(frozen=True)
class Assessment:
    """What the model gives each answer: `probabilities` in the order of `answers`, and `none` to none of them; means
    over the rotations, of the whole vocabulary, so that they sum to at most 1. tokens: those forwarded if nothing of
    the prompts is shared."""

    answers: tuple[str, ...]
    probabilities: tuple[float, ...]
    none: float
    tokens: int

    @property
    def by_answer(self) -> dict[str, float]:
        """The probabilities by their answers."""
        return dict(zip(self.answers, self.probabilities, strict=True))

    @property
    def shares(self) -> dict[str, float]:
        """By answer, of what fell on a letter: sums, with none of these, to 1."""
        total = math.fsum((*self.probabilities, self.none))
        return {a: p / total if total else 0.0 for a, p in zip(self.answers, self.probabilities, strict=True)}

    def select(self, counts: dict[str, float], strength: float = 1.0) -> str:
        """The answer with the largest count · p(letter)^strength; of equals the one that leads. 0: the plain count.

        Raises ParameterError for counts of none of the answers, and for a strength below 0."""
        if not 0 <= strength < math.inf:
            raise ParameterError(f"strength={strength!r} is out of range; allowed is a number from 0 up")
        known = [a for a in self.answers if counts.get(a, 0) > 0]
        if not known:
            raise ParameterError(f"none of the answers {', '.join(map(repr, self.answers))} has been counted")
        said = self.by_answer
        return max(known, key=lambda a: counts[a] * said[a] ** strength)


def rotations(answers: int) -> Iterator[tuple[int, ...]]:
    """The options of each prompt by their numbers, "none of these" the last, turned by one place each time, so that
    each stands at each place once."""
    for first in range(answers + 1):
        yield (*range(first, answers + 1), *range(first))


def prompt_of(question: str, options: Sequence[str]) -> str:
    """What the model is asked."""
    shown = "\n".join(f"({letter}) {option}" for letter, option in zip(string.ascii_uppercase, options, strict=False))
    asked = "Which of these answers is right?"
    return f"{question.strip()}\n\n{asked}\n{shown}\n\nReply with the letter of the right answer."


def letters(tokenizer: Tokenizer, wanted: int) -> list[int]:
    """The tokens of the bare letters, as they stand behind the stem. Raises ParameterError where the model's vocabulary
    has none of one."""
    found = []
    stem = tokenizer.encode(STEM, begin=False)
    for letter in string.ascii_uppercase[:wanted]:
        # behind the stem: alone some vocabularies put a space before it, and others have a token of "(A"
        tokens = tokenizer.encode(STEM + letter, begin=False)
        if tokens[:-1] != stem or tokenizer.piece(tokens[-1]) != letter.encode():
            raise ParameterError(f"this model has no token of the letter {letter!r}, so it cannot choose by letter")
        found.append(tokens[-1])
    return found


def assess(engine: Engine, encode: Encode, question: str, answers: Sequence[str]) -> Assessment:
    """Ask a model which of `answers` is right, the leading one first. encode: the tokens of a prompt, with the chat
    template where there is one. All rotations are one batch where the engine has room.

    Raises ParameterError for no answer, for more than there are places, for one that stands twice and for a model that
    has no tokens of letters; CapacityError for a question that does not fit."""
    return finished(assessing(engine, encode, question, answers))


def assessing(
    engine: Engine,
    encode: Encode,
    question: str,
    answers: Sequence[str],
    *,
    sequences: int | None = None,
    chunk: int | None = None,
) -> Generator[int, None, Assessment]:
    """`assess` beside others that use the engine, as `engines.scoring.scoring`."""
    if not 1 <= len(answers) <= MOST:
        raise ParameterError(f"{len(answers)} answers cannot be assessed; allowed are 1 to {MOST}")
    if len(set(answers)) < len(answers):
        raise ParameterError("an answer stands twice among those to assess; give each once")
    texts, turned = (*answers, NONE), list(rotations(len(answers)))
    tokens = letters(engine.tokenizer, len(texts))
    stem = engine.tokenizer.encode(STEM, begin=False)
    contexts = []
    for options in turned:
        asked = prompt_of(question, [texts[n] for n in options])
        chats = engine.tokenizer.has_chat_template
        contexts.append(encode(asked) + stem if chats else encode(f"{asked}\n{STEM}"))
    sums = [0.0] * len(texts)
    pairs = [(context, (token,)) for context in contexts for token in tokens]
    scored = yield from scoring(engine, pairs, sequences=sequences, chunk=chunk)
    for n, score in enumerate(scored):
        options = turned[n // len(tokens)]
        sums[options[n % len(tokens)]] += math.exp(score.logprob) / len(turned)
    return Assessment(tuple(answers), tuple(sums[:-1]), sums[-1], sum(map(len, contexts)))
