"""How hard to try, in one word: how many texts an answer may take, and when they agree enough. docs/effort.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from entropix.answers import Extractor, Recogniser, extractor, is_open
from entropix.errors import ParameterError
from entropix.policies import Policy
from entropix.sampling import Filters
from entropix.search.pool import Pool, PooledVote
from entropix.search.spec import SearchPlan
from entropix.search.vote import Vote
from entropix.types import Capabilities

LEVELS: dict[str, tuple[int, int] | None] = {"none": None, "low": (2, 8), "medium": (3, 16), "high": (4, 32)}
"""By name: the lead at which a vote stops, and the most ballots. None: one text, as the policy decodes it."""

TEMPERATURE = 0.7
POLICY = f"sample:temperature={TEMPERATURE}"
"""Draws the ballots where no policy is given; the first is the greedy text whatever the policy."""

LONE = {"temperature": 0, "top_p": 0, "top_k": 1, "min_p": 1}
"""By parameter of `sample`, and of filters: where one token is left to draw."""

REPEATED = "effort: no vote was held, as greedy decoding draws the same text each time"
"""The note of an answer with effort whose policy, such as one of temperature 0, leaves nothing to draw."""

UNREAD = "answer: effort none writes one text, and no answer is read out of it"
"""The note of an answer that is to be read where no vote is held."""


class Capacity(NamedTuple):
    """How a host can write the texts of a prompt. texts: most at a time; waves: whether it can draw further ones
    later."""

    texts: int = 1024
    waves: bool = True

    @classmethod
    def of(cls, able: Capabilities, most: int | None = None) -> Capacity:
        """That of an engine. most: sequences that one answer may have of it, None for all."""
        texts = able.sequences if most is None else most
        return cls(texts if able.fork else 1, able.fork and able.rewind)


ANY = Capacity()
"""That of a host which asks for each text anew."""


def leaves_one(parameters: Mapping[str, object]) -> bool:
    """Whether these parameters of a draw leave one token, so that every text of a prompt is the same."""
    return any(parameters.get(name) == value for name, value in LONE.items())


def is_greedy(policy: Policy, filters: Filters) -> bool:
    """Whether a policy takes the likeliest token whatever the seed, by its name or by its parameters."""
    if policy.name == "greedy" or getattr(policy, "temperature", None) == 0:
        return True
    return leaves_one(vars(filters)) or (policy.name == "sample" and leaves_one(vars(policy)))


def described(level: str) -> str:
    """What a level does, in a few words."""
    found = LEVELS[check_effort(level)]
    if found is None:
        return "one text, as the policy decodes it"
    return f"texts are drawn until one answer is {found[0]} ahead, at most {found[1]}"


def check_effort(level: object) -> str:
    """Raises ParameterError for a level that there is not."""
    if not isinstance(level, str) or level not in LEVELS:
        raise ParameterError(f"effort={level!r} is unknown; known are {', '.join(LEVELS)}")
    return level


def check_effort_alone(search: object, effort: str | None, answer: object) -> None:
    """Raises ParameterError for an effort beside a search, and for an answer to read without an effort."""
    if effort is None and answer is not None:
        raise ParameterError("answer is read by a vote: give effort, or a search such as vote:n=8,answer=number")
    if effort is not None and search is not None:
        raise ParameterError("effort is a search of its own: give effort or search, not both")


def make_pool(level: str | None, ballots: int) -> Pool:
    """What the questions of one call share, so many ballots each on average. Raises ParameterError."""
    found = None if level is None else LEVELS[check_effort(level)]
    if found is None:
        raise ParameterError("ballots are those of a vote: give an effort of low, medium or high with them")
    return Pool(ballots, found[1])


def plan_effort(
    level: str,
    question: str,
    answer: str | Extractor | None = None,
    *,
    room: Capacity = ANY,
    pool: Pool | None = None,
) -> tuple[SearchPlan | None, tuple[str, ...]]:
    """The vote that a level holds about one question, None for one text, and notes for the reader.

    answer: a name of `EXTRACTORS` or a function, None to recognise it from the question and the first texts.
    room: where no further texts can be drawn later, all are drawn at once. pool: the ballots that this question shares
    with others. Raises ParameterError."""
    found, (sequences, waves) = LEVELS[check_effort(level)], room
    if found is None:
        return None, () if extractor(answer) is None else (UNREAD,)
    if pool is not None and not waves:
        raise ParameterError(
            "ballots cannot move between questions on this engine: it draws no texts of a prompt later"
        )
    if answer is None and is_open(question):
        if pool is not None:
            pool.answer_once()
        return None, ("effort: no vote was held, as the question is open; one text answers it",)
    if sequences < 3:
        return None, (
            f"effort: no vote was held, as there is room for {sequences} text(s) at a time; load more sequences",
        )
    lead, most = found
    most = most if waves else min(most, sequences)
    read = Recogniser(question) if answer is None else answer
    if pool is not None:
        pooled = PooledVote(n=most, answer=read, wave=1, first="greedy", max_sequences=2, member=pool.join())
        return SearchPlan((pooled,), f"effort {level}, {pool.each} ballots per question").about(question), ()
    vote = Vote(
        n=most,
        answer=read,
        stop=f"lead:{lead}",
        wave=0 if waves else most,
        first="greedy",
        max_sequences=min(most, lead + 1, sequences) if waves else most,
    )
    return SearchPlan((vote,), f"effort {level}").about(question), ()
